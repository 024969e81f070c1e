"""A device that leaves takes no other one's place with it, and does not come back on the word for another one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from prefect.logging import disable_run_logger

from blocks.credentials import SiteCredentials
from edge.lab.ca import Authority
from edge.lab.device import LabDevice
from edge.ledger import Ledger
from edge.model.admission import Ownership, OwnershipKind, Trust
from edge.model.device import DeviceFacts, DeviceState, Registration
from edge.model.site import Site
from edge.policy.decommission import REVOKED_WHY
from edge.policy.identity import key_fingerprint
from tasks.coming_back import comes_back
from tasks.decommission import revoke
from tasks.decommission_job import LeaveJob

NONCE = "a-nonce-of-the-platform"
OWN, OTHER = "SN-1", "SN-2"
"""The device's serial number, and one that somebody owns."""


def word(name: str, serial: str) -> Ownership:
    """An operator's word that the serial number is the factory's."""
    row = {"ownership_id": name, "serial": serial, "tenant": "factory", "kind": OwnershipKind.LIST}
    return Ownership.model_validate({**row, "created_at": datetime.now(UTC)})


class Gone:
    """A device that was decommissioned, with its key revoked."""

    def __init__(self, ledger: Ledger, folder: Path, serial: str) -> None:
        self.ledger = ledger
        maker = Authority.open(folder / "maker", "Maker")
        maker.device(folder, "dev-1", serial)
        self.plays = LabDevice("dev-1", folder / "dev-1")
        self.trust = Trust(anchors=(maker.cert_file.read_text(),))
        self.registers(serial or "told")
        self.fingerprint = key_fingerprint(self.registration)
        now = datetime.now(UTC)
        ledger.revocations.revoke_key(self.fingerprint, device_id="dev-1", reason=f"{REVOKED_WHY}: sold", at=now)
        ledger.devices.release("dev-1", state=DeviceState.DECOMMISSIONED, ends=1)

    def registers(self, serial: str) -> None:
        self.plays.facts = DeviceFacts(serial=serial)
        self.registration: Registration = self.plays.registration({"nonce": NONCE})
        self.ledger.devices.register(self.registration, at=datetime.now(UTC))

    def certifies_itself(self, serial: str) -> None:
        """It keeps its key, and writes a certificate of its own for it."""
        key = self.plays.key
        parts = ((NameOID.COMMON_NAME, "dev-1"), (NameOID.SERIAL_NUMBER, serial))
        name = x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])
        now = datetime.now(UTC)
        made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        self.plays.certificate = made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()

    def owned(self, serial: str) -> None:
        self.ledger.ownerships.record(word(serial, serial))

    def state(self) -> DeviceState:
        return comes_back(self.ledger, self.ledger.devices.get("dev-1"), self.trust).state

    def is_revoked(self) -> bool:
        return bool(self.ledger.revocations.revoked([self.fingerprint]))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


def test_a_new_owners_word_for_its_own_serial_number_brings_it_back(ledger: Ledger, tmp_path: Path) -> None:
    gone = Gone(ledger, tmp_path, OWN)
    assert gone.state() is DeviceState.DECOMMISSIONED
    gone.owned(OWN)
    assert gone.state() is DeviceState.REGISTERED
    assert not gone.is_revoked()


@pytest.mark.parametrize(
    ("serial", "forges"),
    [
        pytest.param("", False, id="its-certificate-names-none"),
        pytest.param(OWN, False, id="its-certificate-names-another"),
        pytest.param(OWN, True, id="it-certifies-itself"),
    ],
)
def test_a_word_for_a_serial_number_that_it_only_tells_does_not(
    ledger: Ledger, tmp_path: Path, serial: str, forges: bool
) -> None:
    gone = Gone(ledger, tmp_path, serial)
    gone.owned(OTHER)
    if forges:
        gone.certifies_itself(OTHER)
    gone.registers(OTHER)
    assert ledger.devices.get("dev-1").registration == gone.registration
    assert gone.state() is DeviceState.DECOMMISSIONED
    assert gone.is_revoked()


def test_a_device_that_leaves_ends_no_word_on_which_another_came_in(ledger: Ledger, tmp_path: Path) -> None:
    facts = DeviceFacts(serial=OTHER)
    ledger.devices.register(Registration(device_id="dev-1", certificate="", facts=facts), at=datetime.now(UTC))
    ledger.sites.put(Site(name="s1", tenant="factory"))
    ledger.devices.move("dev-1", DeviceState.CONNECTED, tenant="factory", site="s1")
    own, others, free = (word(name, OTHER) for name in ("own", "others", "free"))
    for owned, device in ((own, "dev-1"), (others, "dev-2"), (free, None)):
        ledger.ownerships.record(owned)
        if device is not None:
            ledger.ownerships.use(owned.ownership_id, device_id=device, generation=1, at=datetime.now(UTC))
    with disable_run_logger():
        revoke(LeaveJob(ledger, SiteCredentials(folder=tmp_path), None), ledger.devices.get("dev-1"), "sold")
    ended = {one.ownership_id for one in ledger.ownerships.of_serial(OTHER) if one.ended_at is not None}
    assert ended == {"own", "free"}
