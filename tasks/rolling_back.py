"""Takes sites back to what they were before a rollout: exactly the objects and fields that it changed."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from prefect import task
from prefect.cache_policies import NO_CACHE

from edge.clients.kubernetes import SiteClient
from edge.errors import EdgeError, NotFound
from edge.model.outcome import Cause, Outcome, Status
from edge.model.placement import Placement
from edge.model.site import Site
from edge.model.step import Detail, StepRecord, StepState
from edge.policy.rollout import not_taken_back
from tasks.fencing import fenced
from tasks.rollout import RolloutJob
from tasks.site_rollout import PREPARE, placement_before
from tasks.snapshot import restore_snapshot

ROLL_BACK = "roll-back"


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
        with (
            job.slot(site.name),
            job.credentials.client(site.name) as client,
            fenced(client, site.name, job.plan.rollout_id) as mine,
        ):
            job.ledger.steps.once(job.key(site.name, ROLL_BACK), lambda: _restore(job, mine, site))
        outcome = Outcome(
            subject=site.name,
            status=Status.ROLLED_BACK,
            cause=before.cause or _wave_failed(),
            seconds=before.seconds + monotonic() - started,
        )
    except EdgeError as error:
        outcome = not_taken_back(before, error)
    job.ledger.rollouts.site_ended(job.plan.rollout_id, outcome)
    return outcome


def _wave_failed() -> Cause:
    return Cause(code="rolled-back", message="Its wave broke the failure budget")


def _restore(job: RolloutJob, client: SiteClient, site: Site) -> Detail:
    """Without a finished first step nothing of the stamp was written."""
    prepared = _prepared(job, site.name)
    if prepared is None:
        return {"unchanged": True}
    try:
        done = restore_snapshot(
            client, job.plan.rollout_id, stamp=job.stamp.name, digest=str(prepared.detail.get("snapshot", ""))
        )
    except NotFound as missing:
        missing.remedy = "Roll the former version out to the site by name"
        raise
    _place_again(job, site.name, placement_before(prepared.detail))
    return done


def _prepared(job: RolloutJob, site: str) -> StepRecord | None:
    for record in job.ledger.steps.records(f"rollout:{job.plan.rollout_id}", site):
        if record.key.step == PREPARE and record.state is StepState.DONE:
            return record
    return None


def _place_again(job: RolloutJob, site: str, had: Placement | None) -> None:
    if had is None:
        job.ledger.placements.drop(site, job.stamp.name)
    else:
        job.ledger.placements.put(had)
