"""What one run of onboarding works with: its blocks, its ledger, and the name under which it holds devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from datetime import timedelta
from uuid import uuid4

from prefect import runtime

from blocks.admission import DeviceAdmission
from blocks.arc import ArcSubscription
from blocks.credentials import SiteCredentials
from blocks.ledger import EdgeLedger
from blocks.load import load
from edge.ledger import Ledger
from edge.model.device import Device
from edge.model.step import StepKey
from edge.policy.onboarding import lease_name, onboarding_work
from tasks.arc import ArcConnection


class OnboardingJob:
    """One run of onboarding in this process. A plain class, so that Prefect does not look into it."""

    def __init__(
        self,
        ledger: Ledger,
        credentials: SiteCredentials,
        admission: DeviceAdmission,
        arc: ArcConnection | None,
        claim_s: float = 100.0,
    ) -> None:
        self.ledger = ledger
        self.holder = f"{runtime.flow_run.id}/{uuid4()}"
        """A process's own: a run that Prefect starts again is another holder than its dead self."""
        self.lasting = timedelta(seconds=claim_s)
        self.credentials = credentials
        self.trust = admission.trust()
        self.rules = admission.assignment_rules()
        self.baseline = admission.site_baseline()
        self.arc = arc

    def key(self, device: Device, step: str) -> StepKey:
        """The step's key, the same on every try."""
        return StepKey(work=onboarding_work(device), subject=device.device_id, step=step)

    @contextmanager
    def holding(self, device_id: str) -> Iterator[bool]:
        """Hold a device meanwhile; False when another run works on it right now."""
        name = lease_name(device_id)
        held = self.ledger.leases.take(name, by=self.holder, lasting=self.lasting)
        try:
            yield held
        finally:
            if held:
                self.ledger.leases.drop(name, by=self.holder)

    def holds(self, device_id: str) -> bool:
        """Whether the device is still this run's: a process that stood still for long may have lost it."""
        return self.ledger.leases.holds(lease_name(device_id), by=self.holder)


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
    memory = load(EdgeLedger, blocks["ledger"])
    with memory.client() as ledger, closing(arc) if arc else nullcontext():
        yield OnboardingJob(ledger, credentials, admission, arc, memory.claim_s)
