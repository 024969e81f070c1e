"""A rollout is carried out by one run at a time. A run that is killed says nothing any more, and another takes over."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from edge.errors import NotYet, Transient
from edge.model.rollout import RolloutPlan, Wave
from edge.policy.rollout import concurrency_of
from edge.policy.rollout_leases import part_lease
from tasks.waves import WavesJob

_RENEWALS = 5
"""Within the time after which a silent run is taken for dead: some may be missed."""
_LOOK_S = 0.2


@contextmanager
def holding(job: WavesJob, name: str, *, waits: bool = True) -> Iterator[None]:
    """Hold this name in the ledger meanwhile. Raises NotYet when another run holds it for longer than a dead one could.

    Without `waits` at once.
    """
    _take(job, name, time.monotonic() + (job.lasting.total_seconds() * 1.2 if waits else 0.0))
    job.lease = name
    over = threading.Event()
    renewing = threading.Thread(target=_renew, args=(job, over), name="rollout-lease", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        over.set()
        renewing.join()
        job.ledger.leases.drop(name, by=job.holder)


def count_of_parts(plan: RolloutPlan, wave: Wave) -> int:
    """How many runs share the wave: no more than may work at once, so that none has nothing it may do."""
    return 1 if wave.canary else min(plan.strategy.runs, concurrency_of(plan, wave), len(wave.sites))


def sites_of_part(wave: Wave, part: int, of: int) -> tuple[str, ...]:
    """The wave's sites that this part has: every `of`-th one, so that parts are alike."""
    return wave.sites[part::of]


def free_dead_sites(job: WavesJob, sites: Collection[str] | None = None) -> None:
    """Sites that a run began which is dead by now can be begun again. Whoever asks holds the rollout, or the part.

    Without `sites` all of the rollout, but for those of parts that are still held by their runs.
    """
    facts, _ = job.facts()
    dead = facts.working.difference(_alive(job, facts.working)) if sites is None else facts.working.intersection(sites)
    if dead:
        job.ledger.rollouts.abandon(job.plan.rollout_id, sorted(dead))


def _alive(job: WavesJob, working: frozenset[str]) -> frozenset[str]:
    """Those that a part's run works on. A lease whose time is over is taken: a run that comes back has none then."""
    alive: set[str] = set()
    for wave in job.plan.waves:
        count = count_of_parts(job.plan, wave)
        for part in range(count if count > 1 else 0):
            mine = working & set(sites_of_part(wave, part, count))
            name = part_lease(job.plan.rollout_id, wave.index, part)
            if not mine:
                continue
            if job.ledger.leases.take(name, by=job.holder, lasting=job.lasting):
                job.ledger.leases.drop(name, by=job.holder)
            else:
                alive |= mine
    return frozenset(alive)


def _take(job: WavesJob, name: str, until: float) -> None:
    while not job.ledger.leases.take(name, by=job.holder, lasting=job.lasting):
        if time.monotonic() >= until:
            raise NotYet("Another run carries this rollout out", rollout=job.plan.rollout_id, lease=name)
        time.sleep(_LOOK_S)


def _renew(job: WavesJob, over: threading.Event) -> None:
    while not over.wait(job.lasting.total_seconds() / _RENEWALS):
        try:
            job.ledger.leases.renew(by=job.holder, lasting=job.lasting)
        except Transient:  # the next time will do
            continue
