"""A rollout is carried out by one run at a time. A run that is killed says nothing any more, and another takes over."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from edge.errors import NotYet, Transient
from tasks.waves import WavesJob

_RENEWALS = 5
"""Within the time after which a silent run is taken for dead: some may be missed."""
_LOOK_S = 0.2


@contextmanager
def holding(job: WavesJob, name: str, *, waits: bool = True) -> Iterator[None]:
    """Hold this name in the ledger meanwhile. Raises NotYet when another run holds it for longer than a dead one could.

    Without `waits` at once. Sites that a dead run had begun are free again when this is the rollout's own name.
    """
    _take(job, name, time.monotonic() + (job.lasting.total_seconds() * 1.2 if waits else 0.0))
    over = threading.Event()
    renewing = threading.Thread(target=_renew, args=(job, over), name="rollout-lease", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        over.set()
        renewing.join()
        job.ledger.leases.drop(name, by=job.holder)


def rollout_lease(rollout_id: str) -> str:
    """The name that whoever carries the rollout out holds."""
    return f"rollout:{rollout_id}"


def part_lease(rollout_id: str, wave: int, part: int) -> str:
    """The name that whoever carries out a part of a wave holds."""
    return f"{parts_prefix(rollout_id, wave)}{part}"


def parts_prefix(rollout_id: str, wave: int | None = None) -> str:
    """How the names of all parts of a wave begin, or of all waves."""
    return f"part:{rollout_id}:" if wave is None else f"part:{rollout_id}:{wave}:"


def free_dead_sites(job: WavesJob, sites: Collection[str] | None = None) -> None:
    """Sites that a run began which is dead by now can be begun again. Whoever asks holds the rollout, or the part.

    Without `sites` all of the rollout, but for those of parts that are still held by their runs.
    """
    rollout_id = job.plan.rollout_id
    if sites is None and job.ledger.leases.held(parts_prefix(rollout_id)):
        return
    facts, _ = job.facts()
    dead = facts.working if sites is None else facts.working.intersection(sites)
    if dead:
        job.ledger.rollouts.abandon(rollout_id, sorted(dead))


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
