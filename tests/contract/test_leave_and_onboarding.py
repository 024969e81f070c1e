"""A device that leaves and a run that lets it in: never both at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from blocks.admission import DeviceAdmission
from blocks.credentials import SiteCredentials
from edge.errors import IdentityRefused, NotYet
from edge.lab.ca import Authority
from edge.ledger import Ledger
from edge.model.device import DeviceFacts, DeviceState, Registration
from edge.model.outcome import Outcome, Status
from edge.policy.onboarding import lease_name
from tasks.decommission import decommission
from tasks.decommission_job import LeaveJob
from tasks.onboarding import onboard_devices
from tasks.onboarding_job import OnboardingJob

DEVICE, NOW, MINUTE = "dev-1", datetime(2026, 3, 1, tzinfo=UTC), timedelta(minutes=1)


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger that knows a device at no site."""
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        ledger.devices.register(Registration(device_id=DEVICE, certificate="", facts=DeviceFacts(serial="1")), at=NOW)
        yield ledger


def leaving(ledger: Ledger, folder: Path, **more: Any) -> LeaveJob:
    return LeaveJob(ledger, SiteCredentials(folder=folder), None, **more)


def onboard(ledger: Ledger, folder: Path) -> Outcome:
    maker = Authority.open(folder / "maker", "Maker").cert_file.read_text()
    admission = DeviceAdmission(trusted=maker, rules="rules: [{name: all, when: 'true', site: 'site-${device.id}'}]")
    job = OnboardingJob(ledger, SiteCredentials(folder=folder), admission, None)
    with disable_run_logger():
        (outcome,) = onboard_devices.fn(job, (DEVICE,))
    return outcome


def test_a_decommissioning_waits_for_an_onboarding_and_says_so_when_that_takes_too_long(
    known: Ledger, tmp_path: Path
) -> None:
    known.leases.take(lease_name(DEVICE), by="an onboarding", lasting=MINUTE)
    with pytest.raises(NotYet, match="an onboarding, still works") as caught:
        decommission.fn(leaving(known, tmp_path, wait_s=0.1), DEVICE, "sold", lost=False)
    assert "again when that run has ended" in caught.value.remedy
    assert known.devices.get(DEVICE).state is DeviceState.DECOMMISSIONING, "the access is revoked all the same"
    known.leases.drop(lease_name(DEVICE), by="an onboarding")
    assert decommission.fn(leaving(known, tmp_path), DEVICE, "sold", lost=False).owed == ()


def test_no_onboarding_begins_on_a_device_that_leaves(known: Ledger, tmp_path: Path) -> None:
    job = leaving(known, tmp_path)
    with job.alone(DEVICE):
        assert onboard(known, tmp_path).status is Status.HELD
        assert known.devices.get(DEVICE).state is DeviceState.REGISTERED, "nothing was begun"
    known.devices.move(DEVICE, DeviceState.DECOMMISSIONING)
    outcome = onboard(known, tmp_path)
    assert (outcome.status, outcome.cause and outcome.cause.code) == (Status.HELD, "decommissioned")
    assert known.devices.get(DEVICE).state is DeviceState.DECOMMISSIONING


def test_a_decommissioning_that_lost_its_device_does_no_further_step(known: Ledger, tmp_path: Path) -> None:
    job, later = leaving(known, tmp_path), datetime.now(UTC) + 2 * MINUTE
    with job.alone(DEVICE):
        with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", now=lambda: later) as other:
            assert other.leases.take(lease_name(DEVICE), by="another run", lasting=MINUTE)
        with pytest.raises(NotYet, match="no longer this run's"):
            job.once(known.devices.get(DEVICE), "wipe", lambda: pytest.fail("it was done all the same"))


def test_a_claim_is_not_adopted_while_the_device_leaves(known: Ledger, tmp_path: Path) -> None:
    maker = Authority.open(tmp_path / "maker", "Maker")
    maker.device(tmp_path, DEVICE, "1")
    certificate = (tmp_path / f"{DEVICE}.crt").read_text()
    claim = Registration(device_id=DEVICE, certificate=certificate, facts=DeviceFacts(serial="1"))
    known.devices.register(claim, at=NOW + MINUTE)
    (other,) = known.devices.claims(DEVICE)
    known.devices.move(DEVICE, DeviceState.DECOMMISSIONING)
    with pytest.raises(IdentityRefused, match="being decommissioned"):
        known.devices.adopt(DEVICE, other.key)
