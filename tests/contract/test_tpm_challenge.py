"""From a device's question to a boot that is let in: the gateway's challenge, the ledger and the lab's TPM together."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from edge.errors import IdentityRefused
from edge.gateway.challenges import Challenges, read_request
from edge.gateway.refusal import Refused
from edge.gateway.settings import IntakeSettings
from edge.lab.ca import Authority
from edge.lab.device import LabDevice
from edge.lab.tpm import SoftTpm
from edge.ledger import Ledger
from edge.model.admission import Trust
from edge.policy.tpm import check_attestation

AT = datetime.now(UTC)


@pytest.fixture
def maker(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "maker", "Maker of TPMs")


@pytest.fixture
def device(tmp_path: Path, maker: Authority) -> LabDevice:
    Authority.open(tmp_path / "manufacturer", "Manufacturer").device(tmp_path, "gw-1", "SN-1")
    return LabDevice("gw-1", tmp_path / "gw-1", tpm=SoftTpm.made_by(maker, "SN-1"))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        yield ledger


def ask(ledger: Ledger, body: dict[str, Any]) -> dict[str, Any]:
    return Challenges(ledger, IntakeSettings()).give(read_request(body), at=AT)


def checked(ledger: Ledger, device: LabDevice, told: dict[str, Any], maker: Authority) -> str:
    trust = Trust(anchors=(), tpm_anchors=(maker.certificate.public_bytes(Encoding.PEM).decode(),))
    challenge = ledger.challenges.get(told["nonce"])
    attestation = device.registration(told).attestation
    return check_attestation(attestation, challenge=challenge, trust=trust, model="", ek_fingerprint="", now=AT)


def test_the_tpm_that_the_challenge_was_made_for_is_let_in(ledger: Ledger, device: LabDevice, maker: Authority) -> None:
    assert checked(ledger, device, ask(ledger, device.challenge_request()), maker) == ""


def test_a_challenge_that_was_asked_for_without_a_tpm_lets_in_none(
    ledger: Ledger, device: LabDevice, maker: Authority
) -> None:
    told = ask(ledger, {"device_id": "gw-1"})
    with pytest.raises(IdentityRefused, match="held no credential"):
        checked(ledger, device, told, maker)


def test_a_tpm_does_not_answer_for_another(ledger: Ledger, device: LabDevice, maker: Authority) -> None:
    told = ask(ledger, device.challenge_request())
    mine = SoftTpm.made_by(maker, "SN-2")
    del told["credential"]
    device.tpm = mine
    with pytest.raises(IdentityRefused, match="endorsement key is another"):
        checked(ledger, device, told, maker)


def test_a_challenge_for_what_is_no_tpm_is_refused_and_not_kept(ledger: Ledger, device: LabDevice) -> None:
    body = device.challenge_request()
    body["attestation"] = {**body["attestation"], "ak_public": "AAAA"}
    with pytest.raises(Refused):
        ask(ledger, body)
    assert ledger.challenges.unanswered() == 0
