"""What one run of onboarding works with: its blocks, its ledger, and the batch of registrations that it took."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from prefect import runtime

from blocks.admission import DeviceAdmission
from blocks.arc import ArcSubscription
from blocks.credentials import SiteCredentials
from blocks.ledger import EdgeLedger
from blocks.load import load
from edge.errors import Transient
from edge.ledger import Ledger
from edge.model.device import Device
from edge.model.event import EventKey
from edge.model.step import StepKey
from edge.policy.onboarding import onboarding_work
from tasks.arc import ArcConnection

RENEW_S = 20.0
"""How often a run says that it still works on the registrations it took, in seconds."""

STALE_AFTER = timedelta(seconds=100)
"""A run that has not said so for this long is taken for dead. The gateway waits a little longer (`reclaim_after_s`)."""


class OnboardingJob:
    """One run of onboarding in this process. A plain class, so that Prefect does not look into it."""

    def __init__(
        self,
        ledger: Ledger,
        credentials: SiteCredentials,
        admission: DeviceAdmission,
        arc: ArcConnection | None,
    ) -> None:
        self.ledger = ledger
        self.credentials = credentials
        self.trusted = admission.anchors()
        self.rules = admission.assignment_rules()
        self.arc = arc

    def key(self, device: Device, step: str) -> StepKey:
        """The step's key, the same on every try."""
        return StepKey(work=onboarding_work(device), subject=device.device_id, step=step)


@contextmanager
def open_onboarding(blocks: Mapping[str, str]) -> Iterator[OnboardingJob]:
    """What onboarding works with. `blocks` names the blocks `ledger`, `credentials`, `admission` and `arc`.

    Raises InvalidInput when one of them cannot be used: no device is touched then, and the registrations wait.
    """
    subscription = load(ArcSubscription, blocks["arc"])
    credentials = load(SiteCredentials, blocks["credentials"])
    admission = load(DeviceAdmission, blocks["admission"])
    arc = ArcConnection(subscription, credentials) if subscription.used else None
    if arc is not None:
        arc.prepare()
    with load(EdgeLedger, blocks["ledger"]).client() as ledger:
        yield OnboardingJob(ledger, credentials, admission, arc)


@contextmanager
def holding_batch(job: OnboardingJob, batch: str, *, renew_s: float = RENEW_S) -> Iterator[tuple[EventKey, ...]]:
    """Take the batch's registrations for this run, so that the gateway does not send them again while it is alive.

    The claim is renewed every `renew_s` seconds. A run that is killed renews no more, and the gateway sends what it
    held again.
    """
    if not batch:
        yield ()
        return
    by, over = str(runtime.flow_run.id), threading.Event()
    taken = job.ledger.inbox.claim(batch, by=by, stale_before=datetime.now(UTC) - STALE_AFTER)
    renewing = threading.Thread(target=_renew, args=(job.ledger, batch, by, over, renew_s), daemon=True)
    renewing.start()
    try:
        yield tuple(event.key for event in taken)
    finally:
        over.set()
        renewing.join()


def _renew(ledger: Ledger, batch: str, by: str, over: threading.Event, renew_s: float) -> None:
    while not over.wait(renew_s):
        try:
            ledger.inbox.renew(batch, by=by)
        except Transient:  # the next time will do: several may be missed
            continue


def settle_batch(job: OnboardingJob, taken: tuple[EventKey, ...]) -> None:
    """The batch's registrations are done with: each device's state says how it ended."""
    if taken:
        job.ledger.inbox.mark_handled(taken)
