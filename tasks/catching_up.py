"""Sites that missed a version while they were away: who is back, and which rollouts bring them what they missed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from edge.errors import EdgeError, InvalidInput
from edge.ledger import Ledger
from edge.model.order import Blocks, RolloutOrder
from edge.model.placement import CatchUp, CatchUpState
from edge.model.rollout import RolloutPlan
from edge.model.site import SiteSelector
from edge.policy.catching_up import catch_up_strategy, is_due, path_of
from tasks.rollout import Opened, RolloutJob


class CatchUpJob:
    """One run of catching up. A plain class, so that Prefect does not look into it."""

    def __init__(self, ledger: Ledger, opened: Opened) -> None:
        self.ledger = ledger
        self.credentials = opened.credentials

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


def due_orders(job: CatchUpJob) -> Iterator[RolloutOrder]:
    """A rollout for each version that sites are due to get next, by the gates of the rollout that they missed."""
    batches: dict[tuple[str, str], list[CatchUp]] = defaultdict(list)
    for item in job.ledger.catch_ups.open():
        if is_due(item, datetime.now(UTC)):
            version = _next_version(job.ledger, item)
            if version:
                batches[item.rollout_id, version].append(item)
    for (missed, version), items in batches.items():
        yield _order(job.ledger.rollouts.get(missed).plan, version, [item.site for item in items])


def _order(plan: RolloutPlan, version: str, sites: Sequence[str]) -> RolloutOrder:
    return RolloutOrder(
        stamp=f"{plan.stamp}@{version}",
        sites=SiteSelector(names=tuple(sorted(sites))),
        parameters=plan.parameters,
        strategy=catch_up_strategy(plan, sites),
    )


def _next_version(ledger: Ledger, item: CatchUp) -> str:
    """The first of the versions on the way; empty when the entry was closed, because there is none."""
    has = ledger.placements.get(item.site, item.stamp)
    path = ledger.rollouts.get(item.rollout_id).plan.strategy.catch_up.path
    try:
        versions = path_of(has.version if has else None, item.version, ledger.stamps.list(item.stamp), path)
    except InvalidInput as error:
        get_run_logger().warning("%s is not caught up with: %s", item.site, error)
        ledger.catch_ups.end(item.site, item.stamp, CatchUpState.FAILED, reason=error.what)
        return ""
    if has is not None and not versions and has.digest == item.digest:
        ledger.catch_ups.end(item.site, item.stamp, CatchUpState.DONE, by_rollout=has.rollout_id)
        return ""
    return versions[0] if versions else item.version


def begin(job: RolloutJob) -> None:
    """Put on record which entries this rollout brings to their version."""
    sites = {site for wave in job.plan.waves for site in wave.sites}
    for item in job.ledger.catch_ups.open():
        if item.site in sites and (item.stamp, item.digest) == (job.plan.stamp, job.plan.digest):
            job.ledger.catch_ups.begin(item.site, item.stamp, by_rollout=job.plan.rollout_id)
