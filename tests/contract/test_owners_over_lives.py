"""A device with a voucher over its lives: reset, decommissioned, and sold. Each is asked as onboarding asks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from blocks.admission import DeviceAdmission
from blocks.credentials import SiteCredentials
from edge.errors import IdentityRefused
from edge.lab.ca import Authority
from edge.ledger import Ledger
from edge.model.device import DeviceFacts, DeviceState, Registration
from edge.policy.voucher import Voucher, issue_voucher
from tasks.admission import assigned, identify
from tasks.coming_back import comes_back, let_back
from tasks.decommission import decommission
from tasks.decommission_job import LeaveJob
from tasks.onboarding_job import OnboardingJob

DEVICE, HOUR = "dev-1", timedelta(hours=1)
RULES = "rules: [{name: owners, when: 'true', site: 'site-${device.id}', tenant: '${owner.tenant}'}]"
POLICY = '{proof: "off", ownership: required}'


class Desk:
    """A device of a maker, whoever signs vouchers for it, and the platform's answer to it."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger, self.folder = ledger, folder
        self.signer = Authority.open(folder / "signer", "Vouchers")
        maker = Authority.open(folder / "maker", "Maker")
        maker.device(folder, DEVICE, "SN-1")
        voucher_trusted, trusted = self.signer.cert_file.read_text(), maker.cert_file.read_text()
        admission = DeviceAdmission(trusted=trusted, voucher_trusted=voucher_trusted, policy=POLICY, rules=RULES)
        self.job = OnboardingJob(ledger, SiteCredentials(folder=folder), admission, None)

    def voucher(self, tenant: str, *, ago: timedelta = timedelta()) -> str:
        made = datetime.now(UTC) - ago
        content = Voucher(created_on=made, expires_on=made + 30 * 24 * HOUR, serial_number="SN-1", tenant=tenant)
        key = load_pem_private_key(self.signer.cert_file.with_suffix(".key").read_bytes(), None)
        return issue_voucher(content, key, [self.signer.certificate])

    def register(self, voucher: str) -> None:
        certificate = (self.folder / f"{DEVICE}.crt").read_text()
        facts = DeviceFacts(serial="SN-1")
        registration = Registration(device_id=DEVICE, certificate=certificate, facts=facts, voucher=voucher)
        self.ledger.devices.register(registration, at=datetime.now(UTC))

    def let_in(self) -> str:
        """The tenant that the device comes to. Raises IdentityRefused."""
        device = comes_back(self.ledger, self.ledger.devices.get(DEVICE), self.job.trust)
        grounds = identify(self.job, device)
        tenant = assigned(self.job, device).tenant
        assert grounds["owner"] == tenant
        self.ledger.devices.move(DEVICE, DeviceState.CONNECTED, tenant=tenant)
        return tenant

    def leave(self) -> None:
        job = LeaveJob(self.ledger, SiteCredentials(folder=self.folder), None)
        assert decommission.fn(job, DEVICE, "sold", lost=False).owed == ()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        yield Desk(ledger, tmp_path)


def refusal(act: Any) -> str:
    with pytest.raises(IdentityRefused) as refused:
        act()
    return refused.value.where["reason"]


def test_after_a_reset_the_same_voucher_lets_the_device_in_to_the_same_owner(desk: Desk) -> None:
    voucher = desk.voucher("plant-a", ago=HOUR)
    desk.register(voucher)
    assert desk.let_in() == "plant-a"
    assert desk.ledger.devices.begin_anew(DEVICE, reason="reset").generation == 2
    desk.register(voucher)
    assert desk.let_in() == "plant-a"
    (owned,) = desk.ledger.ownerships.of_serial("SN-1")
    assert (owned.used_by, owned.used_generation) == (DEVICE, 2)


def test_a_decommissioned_device_stays_out_with_its_old_voucher_also_when_it_is_opened_by_hand(desk: Desk) -> None:
    voucher = desk.voucher("plant-a", ago=HOUR)
    desk.register(voucher)
    desk.let_in()
    desk.leave()
    desk.register(voucher)
    left = desk.ledger.devices.get(DEVICE)
    assert comes_back(desk.ledger, left, desk.job.trust).state is DeviceState.DECOMMISSIONED
    let_back(desk.ledger, left)
    assert refusal(desk.let_in) == "voucher-used"


@pytest.mark.parametrize(
    "ago",
    [pytest.param(timedelta(minutes=30), id="sold-before-it-left"), pytest.param(timedelta(), id="sold-afterwards")],
)
def test_a_new_voucher_lets_a_decommissioned_device_in_to_its_new_owner(desk: Desk, ago: timedelta) -> None:
    desk.register(desk.voucher("plant-a", ago=HOUR))
    desk.let_in()
    desk.leave()
    desk.register(desk.voucher("plant-b", ago=ago))
    assert desk.let_in() == "plant-b"


def test_an_owner_before_the_last_one_does_not_get_it_back_by_an_older_paper(desk: Desk) -> None:
    desk.register(desk.voucher("plant-a", ago=HOUR))
    desk.let_in()
    desk.leave()
    desk.register(desk.voucher("plant-z", ago=2 * HOUR))
    let_back(desk.ledger, desk.ledger.devices.get(DEVICE))
    assert refusal(desk.let_in) == "voucher-used"
