"""What one run of decommissioning works with: its blocks, its ledger, and the device that it holds alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from blocks.arc import ArcSubscription
from blocks.credentials import SiteCredentials
from blocks.ledger import EdgeLedger
from blocks.load import load
from edge.errors import InvalidInput, NotYet, Transient
from edge.ledger import Ledger
from edge.model.decommission import LeaveProof
from edge.model.device import Device
from edge.model.site import Site
from edge.model.step import Detail, StepRecord
from edge.policy.decommission import leave_key, leave_work, proof_of
from edge.policy.onboarding import lease_name
from tasks.arc import ArcConnection

HOLD_S = 30.0
"""A run that says nothing for so many seconds has died: the next one goes on."""
WAIT_S = 120.0
"""How long to wait for an onboarding that works on the device: it stops before its next step."""


class LeaveJob:
    """One run of decommissioning in this process. A plain class, so that Prefect does not look into it."""

    def __init__(
        self,
        ledger: Ledger,
        credentials: SiteCredentials,
        arc: ArcConnection | None,
        hold_s: float = HOLD_S,
        wait_s: float = WAIT_S,
    ) -> None:
        self.ledger = ledger
        self.lasting = timedelta(seconds=hold_s)
        self.wait_s = wait_s
        self.credentials = credentials
        self.arc = arc
        self._by = ""
        """Under which name this run holds the device; empty: it does not, and only what needs no hold is done."""

    def once(self, device: Device, step: str, effect: Callable[[], Detail]) -> StepRecord:
        """Do the step, unless it is done. Raises NotYet when the run stood still so long that it lost the device."""
        if self._by and not self.ledger.leases.holds(lease_name(device.device_id), by=self._by):
            raise NotYet("The device is no longer this run's to decommission", device=device.device_id)
        return self.ledger.steps.once(leave_key(device, step), effect)

    def proof(self, device: Device) -> LeaveProof:
        """What is proven and what is owed by now."""
        return proof_of(device, self.ledger.steps.records(leave_work(device)))

    def site(self, device: Device) -> Site | None:
        """The site that the device is, or was, at; None when it never had one."""
        name = self.proof(device).site
        return self.ledger.sites.get(name) if name else None

    def refuse_taken(self, device: Device, site: Site) -> None:
        """Raise InvalidInput when another device has the site by now: nothing there is this one's any more."""
        for other in self.ledger.devices.list(site=site.name):
            if other.device_id != device.device_id:
                raise InvalidInput(
                    "The site is another device's by now: nothing is removed there",
                    remedy="Wipe the old cluster by hand, if it is ever seen again",
                    device=device.device_id,
                    site=site.name,
                    other=other.device_id,
                )

    @contextmanager
    def alone(self, device_id: str) -> Iterator[None]:
        """Hold the device meanwhile. Raises NotYet when another run still works on it after `wait_s` seconds."""
        name, by, over = lease_name(device_id), f"decommission/{uuid4()}", threading.Event()
        until = time.monotonic() + self.wait_s
        while not self.ledger.leases.take(name, by=by, lasting=self.lasting):
            if time.monotonic() > until:
                what = f"Another run, such as an onboarding, still works on the device after {self.wait_s:g} s"
                remedy = "Its access is revoked already; say `edge device decommission` again when that run has ended"
                raise NotYet(what, remedy=remedy, device=device_id)
            time.sleep(0.2)
        self._by = by
        renewing = threading.Thread(target=self._renew, args=(by, over), name="decommission-lease", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            over.set()
            renewing.join()
            self._by = ""
            self.ledger.leases.drop(name, by=by)

    def _renew(self, by: str, over: threading.Event) -> None:
        while not over.wait(self.lasting.total_seconds() / 4):
            with suppress(Transient):  # the next time will do
                self.ledger.leases.renew(by=by, lasting=self.lasting)


@contextmanager
def open_leaving(blocks: Mapping[str, str]) -> Iterator[LeaveJob]:
    """What decommissioning works with. `blocks` names the blocks `ledger`, `credentials` and `arc`."""
    subscription = load(ArcSubscription, blocks["arc"])
    credentials = load(SiteCredentials, blocks["credentials"])
    arc = ArcConnection(subscription, credentials) if subscription.used else None
    with load(EdgeLedger, blocks["ledger"]).client() as ledger:
        yield LeaveJob(ledger, credentials, arc)


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)
