"""Mends drift: applies again what is ours, and nothing else, under the rules of the rollout that put it there.

The first site of each rollout is its canary, and is mended alone. After that a budget of failures holds: when it is
broken, what is left is told and not touched.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from edge.clients.kubernetes import SiteClient, ref_of
from edge.errors import EdgeError, NotYet, OperationFailed
from edge.model.drift import DriftLook, DriftStatus
from edge.model.kube import KubeObject
from edge.model.outcome import Status
from edge.model.placement import HoldKind, Placement
from edge.model.rollout import Strategy
from edge.model.site import Site
from edge.model.step import Detail, StepKey
from edge.policy.apply_order import phases
from edge.policy.drift_report import MENDABLE, to_apply
from edge.policy.groups import in_groups
from edge.policy.health import health_of
from edge.policy.rollout import count_of, offline_status
from edge.policy.windows import is_open
from tasks.applying import SERVED_WITHIN_S, await_health
from tasks.drift import DriftJob, Seen, failed, inspect, on_record
from tasks.fencing import fenced


class Mending:
    """The sites that drifted of one rollout, and how many of them may fail to be mended."""

    def __init__(self, job: DriftJob, strategy: Strategy, placements: Sequence[Placement]) -> None:
        self.job, self.strategy, self.placements = job, strategy, placements
        self.budget = count_of(strategy.failure_budget, len(placements))
        self.slots = threading.BoundedSemaphore(max(1, count_of(strategy.concurrency, len(placements))))
        self._guard = threading.Lock()
        self._failures = 0
        self.is_broken = False

    def count(self, error: EdgeError, site: Site) -> None:
        """Count a failure against the budget, unless the site is away and may be."""
        if offline_status(error, site.when_offline) is Status.EXPECTED_OFFLINE:
            return
        with self._guard:
            self._failures += 1
            self.is_broken = self.is_broken or self._failures > self.budget

    def stop(self) -> None:
        """Nothing more is mended."""
        with self._guard:
            self.is_broken = True

    @property
    def failures(self) -> int:
        """How many could not be mended so far."""
        return self._failures


Submit = Callable[[Mending, tuple[Placement, ...]], PrefectFuture[Any]]


def mend_all(job: DriftJob, looks: Sequence[DriftLook], submit: Submit) -> tuple[list[DriftLook], bool]:
    """Mend what drifted; all looks as they are then, and whether every budget held."""
    drifted = {(look.site, look.stamp) for look in looks if _is_mendable(look)}
    placements = [one for some in job.placements.values() for one in some if (one.site, one.stamp) in drifted]
    after: dict[tuple[str, str], DriftLook] = {}
    held = True
    for rollout_id in dict.fromkeys(one.rollout_id for one in placements):
        mending = _mending(job, [one for one in placements if one.rollout_id == rollout_id])
        for look in _mend_one_rollout(mending, submit):
            after[look.site, look.stamp] = look
        held = held and not mending.is_broken
    return [_with_findings(look, after.get((look.site, look.stamp))) for look in looks], held


def _is_mendable(look: DriftLook) -> bool:
    return look.status is DriftStatus.DRIFTED and any(one.kind in MENDABLE for one in look.findings)


def _mending(job: DriftJob, placements: Sequence[Placement]) -> Mending:
    plan = job.plan(placements[0].rollout_id)
    strategy = job.order.strategy or (plan.strategy if plan else Strategy())
    return Mending(job, strategy, placements)


def _mend_one_rollout(mending: Mending, submit: Submit) -> list[DriftLook]:
    """One first, alone; the others once that has worked."""
    reasons = {(one.site, one.stamp): _why_not(mending, one) for one in mending.placements}
    closed = [_left(one, reasons[one.site, one.stamp]) for one in mending.placements if reasons[one.site, one.stamp]]
    free = [one for one in mending.placements if not reasons[one.site, one.stamp]]
    if not free:
        return closed
    looks: list[DriftLook] = [*closed, *submit(mending, (free[0],)).result()]
    if mending.failures:
        mending.stop()
    groups = in_groups([str(place) for place in range(1, len(free))])
    futures = [submit(mending, tuple(free[int(place)] for place in group)) for group in groups]
    return [*looks, *(look for future in futures for look in future.result())]


def _left(placement: Placement, why: str) -> DriftLook:
    return DriftLook(site=placement.site, stamp=placement.stamp, status=DriftStatus.DRIFTED, why=why)


def _with_findings(before: DriftLook, after: DriftLook | None) -> DriftLook:
    """What was not mended keeps what was found."""
    if after is None:
        return before
    if after.status is DriftStatus.MENDED:
        return after.model_copy(update={"mended": tuple(one for one in before.findings if one.kind in MENDABLE)})
    if after.findings:
        return after
    return after.model_copy(update={"findings": before.findings, "ignored": before.ignored})


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="mend {placements[0].site}")
def mend_sites(mending: Mending, placements: tuple[Placement, ...]) -> list[DriftLook]:
    """Mend these, one after the other. One that fails, or may not be touched now, is an answer."""
    return [_in_a_slot(mending, placement) for placement in placements]


def _in_a_slot(mending: Mending, placement: Placement) -> DriftLook:
    with mending.slots:
        why = _why_not(mending, placement)
        if why:
            return _left(placement, why)
        try:
            look = _mend(mending, placement)
        except EdgeError as error:
            if isinstance(error, NotYet) and "holder" in error.where:
                return _left(placement, f"Not mended: {error.where['holder']} is at work there")
            mending.count(error, mending.job.sites[placement.site])
            return failed(placement, error)
        return look


def _mend(mending: Mending, placement: Placement) -> DriftLook:
    """Look once more, apply what differs, wait until it works, and look what is left.

    The rights of a run that was overtaken are gone with its lease: what it still wants to write raises FencedOff.
    """
    job, site = mending.job, placement.site
    with job.credentials.client(site) as client, fenced(client, site, job.holder) as mine:
        if job.ledger.placements.get(site, placement.stamp) != placement:
            return _left(placement, "Not mended: something else was put there meanwhile")
        seen = inspect(job, mine, placement)
        key = StepKey(work=job.work, subject=site, step=f"mend {placement.stamp}")
        job.ledger.steps.once(key, partial(_apply, mine, seen, mending.strategy.site_deadline_s))
        look = on_record(job, placement, inspect(job, mine, placement), mended=True)
    left = [one for one in look.findings if one.kind in MENDABLE]
    if left:
        what = "It differs again right after it was applied: something at the site changes it"
        remedy = "Find out who, or ignore the field"
        raise OperationFailed(what, remedy=remedy, site=site, object=left[0].ref, field=left[0].path)
    return look.model_copy(update={"status": DriftStatus.MENDED})


def _apply(client: SiteClient, seen: Sequence[Seen], within_s: float) -> Detail:
    """By server-side apply with force for the fields that are ours. What a rule ignores stays with whoever has it."""
    wanted = [_mended(one) for one in seen if _needs_mending(one)]
    answers: list[KubeObject] = []
    for phase in phases(wanted):
        applied = [client.apply(obj, force=True) for obj in phase]
        answers += applied
        definitions = [obj for obj in applied if obj["kind"] == "CustomResourceDefinition"]
        if definitions:
            client.wait_for(definitions, health_of, within_s=SERVED_WITHIN_S)
    await_health(client, answers, within_s)
    return {"objects": [str(ref_of(obj)) for obj in wanted]}


def _needs_mending(seen: Seen) -> bool:
    return any(told.kind in MENDABLE and not ignored for _, told, ignored in seen.found)


def _mended(seen: Seen) -> KubeObject:
    """What is applied. A field that is ignored and still ours as well is sent along, or it would be given up."""
    alone = [one.place for one, told, ignored in seen.found if ignored and told.kind in MENDABLE and one.place]
    return to_apply(seen.wanted, alone)


def _why_not(mending: Mending, placement: Placement) -> str:
    """Why it may not be touched now; empty when it may."""
    job, site, now = mending.job, mending.job.sites[placement.site], datetime.now(UTC)
    if mending.is_broken:
        return "Not mended: too many others could not be"
    if job.is_pulled(placement):
        return "Not mended: the site pulls it, and mends it by itself"
    hold = job.ledger.holds.get(site.name, HoldKind.ROLLOUTS, now=now)
    if hold is not None:
        return f"Not mended: the site is held until {hold.until.isoformat(timespec='minutes')}: {hold.reason}"
    if not is_open(mending.strategy.windows, site.time_zone, now):
        return "Not mended: no maintenance window is open there"
    return ""
