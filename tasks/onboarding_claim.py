"""What a run has taken for itself, and that it says so for as long as it lives.

A run that is killed says nothing any more: its devices are free when its leases end, and the gateway sends its batch
again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from edge.errors import Transient
from edge.model.event import EventKey
from tasks.onboarding_job import OnboardingJob

_RENEWALS = 5
"""Within the time after which a silent run is taken for dead: some may be missed."""


@contextmanager
def holding_batch(job: OnboardingJob, batch: str) -> Iterator[tuple[EventKey, ...]]:
    """Take the batch's registrations for this run; answers which they are.

    None are left when another run has them, or they are done with. What the run holds, the batch and devices, is
    renewed meanwhile.
    """
    over = threading.Event()
    taken = _claim(job, batch) if batch else ()
    renewing = threading.Thread(target=_renew, args=(job, batch, over), name="onboarding-claims", daemon=True)
    renewing.start()
    try:
        yield taken
    finally:
        over.set()
        renewing.join()


def settle_batch(job: OnboardingJob, taken: tuple[EventKey, ...]) -> None:
    """The batch's registrations are done with: each device's state says how it ended."""
    if taken:
        job.ledger.inbox.mark_handled(taken)


def _claim(job: OnboardingJob, batch: str) -> tuple[EventKey, ...]:
    stale = datetime.now(UTC) - job.lasting
    return tuple(event.key for event in job.ledger.inbox.claim(batch, by=job.holder, stale_before=stale))


def _renew(job: OnboardingJob, batch: str, over: threading.Event) -> None:
    while not over.wait(job.lasting.total_seconds() / _RENEWALS):
        try:
            job.ledger.leases.renew(by=job.holder, lasting=job.lasting)
            if batch:
                job.ledger.inbox.renew(batch, by=job.holder)
        except Transient:  # the next time will do
            continue
