"""Takes sites back to what they were before a rollout: exactly the objects and fields that it changed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from time import monotonic

from prefect import task
from prefect.cache_policies import NO_CACHE

from edge.errors import EdgeError, NotFound
from edge.model.outcome import Outcome, Status
from edge.model.placement import Placement
from edge.model.rollout import Delivery
from edge.model.site import Site
from edge.model.step import Detail
from edge.policy.rollout import not_taken_back, taken_back, untouched
from tasks.fencing import fenced
from tasks.rollout import RolloutJob
from tasks.site_gitops import PulledVisit
from tasks.site_visit import PREPARE, Visit, done_step, earlier_step, placement_before
from tasks.snapshot import restore_snapshot

ROLL_BACK = "roll-back"
_NOTHING: Detail = {"unchanged": True}


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="roll back {sites[0]}")
def roll_back_sites(job: RolloutJob, sites: Sequence[str]) -> int:
    """Take these sites back, one after the other; how each did is in the ledger. Answers how many came back."""
    before = job.outcomes()
    ended = [roll_back_site(job, job.ledger.sites.get(site), before[site]) for site in sites]
    return sum(outcome.status is Status.ROLLED_BACK for outcome in ended)


def roll_back_site(job: RolloutJob, site: Site, before: Outcome) -> Outcome:
    """Take one site back. A failure is an outcome: the site is as it was left, and the cause says so."""
    started = monotonic()
    try:
        with job.slot(site.name):
            done = job.ledger.steps.once(job.key(site.name, ROLL_BACK), partial(_restore, job, site))
        seconds = before.seconds + monotonic() - started
        outcome = untouched(before) if done.detail == _NOTHING else taken_back(before, seconds)
    except EdgeError as error:
        outcome = not_taken_back(before, error)
    job.end(outcome)
    return outcome


def _restore(job: RolloutJob, site: Site) -> Detail:
    """Without a finished first step nothing was changed, unless by an earlier try."""
    by_gitops = job.plan.strategy.delivery is Delivery.GITOPS
    prepared = done_step(job, site.name, PREPARE)
    if prepared is None and (by_gitops or Visit(job, site).is_half()):
        prepared = earlier_step(job, site.name, PREPARE)
    if prepared is None:
        return dict(_NOTHING)
    if by_gitops:
        done = PulledVisit(job, site).take_back(prepared.detail)
    else:
        done = _from_snapshot(job, site, str(prepared.detail.get("snapshot", "")))
    _place_again(job, site.name, placement_before(prepared.detail))
    return done


def _from_snapshot(job: RolloutJob, site: Site, digest: str) -> Detail:
    work = job.plan.rollout_id
    with job.credentials.client(site.name) as opened, fenced(opened, site.name, work) as client:
        try:
            return restore_snapshot(client, work, stamp=job.stamp.name, digest=digest)
        except NotFound as missing:
            missing.remedy = "Roll the former version out to the site by name"
            raise


def _place_again(job: RolloutJob, site: str, had: Placement | None) -> None:
    if had is None:
        job.ledger.placements.drop(site, job.stamp.name)
    else:
        job.ledger.placements.put(had)
