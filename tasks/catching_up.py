"""Sites that missed a version while they were away: who is back, and which rollouts bring them what they missed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from prefect import get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE

from edge.errors import EdgeError, InvalidInput, NotYet
from edge.ledger import Ledger
from edge.model.order import Blocks, RolloutOrder
from edge.model.placement import CatchUp, CatchUpState
from edge.model.rollout import ENDED, RolloutPlan, RolloutState
from edge.model.site import SiteSelector
from edge.policy.catching_up import catch_up_strategy, is_due, path_of
from tasks.rollout import Opened, RolloutJob, open_rollout

_LEASE: Final = "catch-up"
_LASTING: Final = timedelta(seconds=60)
_LOOK_S: Final = 0.1
_WENT_THROUGH: Final = (RolloutState.SUCCEEDED, RolloutState.FAILED)


class CatchUpJob:
    """One run of catching up. A plain class, so that Prefect does not look into it."""

    def __init__(self, ledger: Ledger, opened: Opened) -> None:
        self.ledger = ledger
        self.credentials = opened.credentials
        self.blocks = opened.blocks
        self.holder = f"{runtime.flow_run.id}/{uuid4()}"
        self.tried: set[tuple[str, str, str]] = set()
        """Site, stamp and version: each at most once in a run."""

    def away(self, sites: Sequence[str] = ()) -> tuple[str, ...]:
        """Sites that have something to catch up with and were not heard of since; `sites`: only of these."""
        waiting = {item.site for item in self.ledger.catch_ups.open() if item.returned_at is None}
        return tuple(sorted(waiting.intersection(sites) if sites else waiting))


@contextmanager
def open_catching_up(blocks: Blocks) -> Iterator[CatchUpJob]:
    """What catching up works with."""
    opened = Opened(blocks)
    with opened.ledger_block.client() as ledger:
        yield CatchUpJob(ledger, opened)


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="look for {sites[0]}")
def look_for(job: CatchUpJob, sites: tuple[str, ...]) -> int:
    """Ask these sites for a sign of life; answers how many gave one, which is on record then."""
    return sum(_is_back(job, site) for site in sites)


def _is_back(job: CatchUpJob, site: str) -> bool:
    try:
        with job.credentials.client(site) as client:
            client.version()
    except EdgeError:
        return False
    job.ledger.catch_ups.returned(site, datetime.now(UTC))
    return True


def begun_rollouts(job: CatchUpJob) -> Iterator[str]:
    """Begin a rollout for each version that sites are due to get next, one after the other; answers their ids.

    The queue is looked at anew for each of them: a site that took a step is due for the next one. Two runs never plan
    at once, so that a site is not planned for twice. Raises NotYet when another run plans for too long.
    """
    while True:
        with _alone(job):
            batch = next(iter(_batches(job).items()), None)
            if batch is None:
                return
            begun = _begin(job, *batch)
        if begun:
            yield begun


@contextmanager
def _alone(job: CatchUpJob) -> Iterator[None]:
    until = time.monotonic() + 2 * _LASTING.total_seconds()
    while not job.ledger.leases.take(_LEASE, by=job.holder, lasting=_LASTING):
        if time.monotonic() >= until:
            raise NotYet("Another run plans what sites catch up with", lease=_LEASE)
        time.sleep(_LOOK_S)
    try:
        yield
    finally:
        job.ledger.leases.drop(_LEASE, by=job.holder)


def _batches(job: CatchUpJob) -> dict[tuple[str, str], list[CatchUp]]:
    """What is due, by the rollout that was missed and the version that comes next."""
    ways = _Ways(job.ledger)
    found: dict[tuple[str, str], list[CatchUp]] = defaultdict(list)
    for item in job.ledger.catch_ups.open():
        version = ways.next_version(item) if is_due(item, datetime.now(UTC)) else ""
        if version and (item.site, item.stamp, version) not in job.tried:
            found[item.rollout_id, version].append(item)
    return found


def _begin(job: CatchUpJob, key: tuple[str, str], items: Sequence[CatchUp]) -> str:
    """The id of the rollout, which is on record then; empty when there is none."""
    missed, version = key
    job.tried.update((item.site, item.stamp, version) for item in items)
    order = _order(job.ledger.rollouts.get(missed).plan, version, [item.site for item in items])
    try:
        with open_rollout(order, job.blocks) as rollout:
            _put_on_record(rollout, items)
            return rollout.plan.rollout_id
    except InvalidInput as error:
        _refuse(job.ledger, items, error)
    except EdgeError as error:
        get_run_logger().warning("%s is caught up with later: %s", order.stamp, error)
    return ""


def _order(plan: RolloutPlan, version: str, sites: Sequence[str]) -> RolloutOrder:
    return RolloutOrder(
        stamp=f"{plan.stamp}@{version}",
        sites=SiteSelector(names=tuple(sorted(sites))),
        parameters=plan.parameters,
        strategy=catch_up_strategy(plan, sites),
    )


def _put_on_record(rollout: RolloutJob, items: Sequence[CatchUp]) -> None:
    for item in items:
        rollout.ledger.catch_ups.begin(item.site, item.stamp, by_rollout=rollout.plan.rollout_id)


def _refuse(ledger: Ledger, items: Sequence[CatchUp], error: InvalidInput) -> None:
    """Only the site that is at fault, if the error names one: the others are due at the next look."""
    site = error.where.get("site")
    for item in items:
        if site in (None, item.site):
            get_run_logger().warning("%s is not caught up with: %s", item.site, error)
            ledger.catch_ups.end(item.site, item.stamp, CatchUpState.FAILED, reason=error.what)


class _Ways:
    """By which version each site goes on. What many sites share is read once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._missed: dict[str, tuple[RolloutState, RolloutPlan]] = {}
        self._steps: dict[tuple[str | None, str], tuple[str, ...]] = {}

    def next_version(self, item: CatchUp) -> str:
        """The first of the versions on the way; empty when there is none now, or the entry was closed."""
        state, plan = self._rollout(item.rollout_id)
        if state not in _WENT_THROUGH:
            self._end(item, CatchUpState.SUPERSEDED, f"The rollout that it missed is {state}", when=state in ENDED)
            return ""
        has = self._ledger.placements.get(item.site, item.stamp)
        try:
            versions = self._path(has.version if has else None, item, plan)
        except InvalidInput as error:
            get_run_logger().warning("%s is not caught up with: %s", item.site, error)
            self._end(item, CatchUpState.FAILED, error.what)
            return ""
        if has is not None and not versions and has.digest == item.digest:
            self._end(item, CatchUpState.DONE, by_rollout=has.rollout_id)
            return ""
        return versions[0] if versions else item.version

    def _rollout(self, rollout_id: str) -> tuple[RolloutState, RolloutPlan]:
        if rollout_id not in self._missed:
            found = self._ledger.rollouts.get(rollout_id)
            self._missed[rollout_id] = found.state, found.plan
        return self._missed[rollout_id]

    def _path(self, have: str | None, item: CatchUp, plan: RolloutPlan) -> tuple[str, ...]:
        if (have, item.rollout_id) not in self._steps:
            known = self._ledger.stamps.list(item.stamp)
            self._steps[have, item.rollout_id] = path_of(have, item.version, known, plan.strategy.catch_up.path)
        return self._steps[have, item.rollout_id]

    def _end(
        self, item: CatchUp, state: CatchUpState, reason: str = "", *, by_rollout: str = "", when: bool = True
    ) -> None:
        if when:
            self._ledger.catch_ups.end(item.site, item.stamp, state, by_rollout=by_rollout, reason=reason)
