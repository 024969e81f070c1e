"""Challenges over HTTP, and what a device proves with them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.errors import Rejected
from edge.lab.ca import Authority
from edge.lab.device import LabDevice, ask_for_challenge, register_all
from edge.lab.tpm import SoftTpm
from edge.model.device import Origin
from edge.policy.proof import claim_key, registration_digest
from tests.contract.served_gateway import LIMIT, TOKEN, Served, served

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, challenges_per_device=3, challenges_open=20) as running:
        yield running


@pytest.fixture
def maker(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "maker" / "ca", "Maker")


@pytest.fixture
def device(maker: Authority, tmp_path: Path) -> LabDevice:
    maker.device(tmp_path, "dev-0001", "SN-0001")
    return LabDevice("dev-0001", tmp_path / "dev-0001")


def test_a_challenge_is_fresh_and_on_record(gateway: Served) -> None:
    before = datetime.now(UTC)
    answers = [gateway.client.post("/challenges", json={"device_id": "dev-0001"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].headers["Cache-Control"] == "no-store"
    first, second = (answer.json() for answer in answers)
    assert set(first) == {"nonce", "expires_at"}
    assert (len(first["nonce"]), first["nonce"] != second["nonce"]) == (43, True)
    found = gateway.ledger.challenges.get(first["nonce"])
    assert found is not None
    assert (found.device_id, found.expires_at) == ("dev-0001", datetime.fromisoformat(first["expires_at"]))
    assert timedelta(seconds=890) < found.expires_at - before < timedelta(seconds=910)


def test_a_registration_answers_its_challenge(gateway: Served, device: LabDevice) -> None:
    sent = device.register_over_http(gateway.url, TOKEN)
    known = gateway.ledger.devices.get("dev-0001")
    assert known.registration == sent
    assert (known.via, known.registration.facts.serial) == (Origin.EVENT, "SN-0001")
    assert not claim_key(known.registration).startswith("unproven")
    assert sent.proof is not None
    challenge = gateway.ledger.challenges.get(sent.proof.nonce)
    assert challenge is not None
    assert (challenge.answer, challenge.generation) == (registration_digest(sent), 1)
    assert challenge.answered_at == gateway.ledger.inbox.pending()[0].received_at


def test_a_copied_certificate_only_claims_the_name(gateway: Served, device: LabDevice) -> None:
    register_all_of = list(register_all(gateway.client, [device]))
    copied = {"device_id": "dev-0001", "certificate": device.certificate, "facts": {"serial": "SN-0001"}}
    event = {**device.event(), "data": copied}
    assert (register_all_of, gateway.post(event).status_code) == ([1], 202)
    assert gateway.ledger.devices.get("dev-0001").registration.proof is not None
    assert [claim.key[:9] for claim in gateway.ledger.devices.claims("dev-0001")] == ["unproven:"]


def test_a_tpm_gets_a_credential_that_only_it_can_open(gateway: Served, device: LabDevice, maker: Authority) -> None:
    device.tpm = SoftTpm.made_by(maker, "SN-0001")
    challenge = ask_for_challenge(gateway.client, device)
    registration = device.registration(challenge)
    found = gateway.ledger.challenges.get(challenge["nonce"])
    assert found is not None
    assert registration.attestation is not None
    assert (len(found.activation), registration.attestation.activation) == (64, found.activation)
    assert found.ak_name
    assert gateway.post(device.event(challenge)).status_code == 202


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        pytest.param(b"{", 400, "body", id="no-json"),
        pytest.param(b"[]", 422, "body", id="no-object"),
        pytest.param(b"{}", 422, "device_id", id="no-device"),
        pytest.param(b'{"device_id": "../x"}', 422, "device_id", id="no-device-id"),
        pytest.param(b'{"device_id": "d", "more": 1}', 422, "more", id="unknown-field"),
        pytest.param(
            b'{"device_id": "d", "attestation": {"ek_certificate": "none", "ak_public": ""}}',
            422,
            "attestation.ek_certificate",
            id="bad-ek",
        ),
        pytest.param(b" " * (LIMIT + 1), 413, "body", id="too-large"),
    ],
)
def test_what_is_no_request_gets_no_challenge(gateway: Served, body: bytes, status: int, field: str) -> None:
    answer = gateway.client.post("/challenges", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["where"]["field"]) == (status, field)
    assert gateway.ledger.challenges.unanswered() == 0


def test_a_bad_attestation_key_is_named(gateway: Served, device: LabDevice, maker: Authority) -> None:
    keys = {"ek_certificate": SoftTpm.made_by(maker, "SN-0001").ek_certificate, "ak_public": "AAAA"}
    answer = gateway.client.post("/challenges", json={"device_id": "dev-0001", "attestation": keys})
    assert (answer.status_code, answer.json()["where"]["field"]) == (422, "attestation.ak_public")


def test_strangers_and_other_types_get_none(gateway: Served) -> None:
    asked = {"device_id": "dev-0001"}
    assert gateway.stranger.post("/challenges", json=asked).status_code == 401
    kind = {"Content-Type": "application/cloudevents+json"}
    assert gateway.client.post("/challenges", json=asked, headers=kind).status_code == 415
    assert gateway.ledger.challenges.unanswered() == 0


def test_who_asks_for_many_keeps_the_newest_few(gateway: Served) -> None:
    asked = {"device_id": "dev-0001"}
    nonces = [gateway.client.post("/challenges", json=asked).json()["nonce"] for _ in range(5)]
    kept = [gateway.ledger.challenges.get(nonce) is not None for nonce in nonces]
    assert (kept, gateway.ledger.challenges.unanswered()) == ([False, False, True, True, True], 3)


def test_there_is_an_end_to_the_challenges_of_all_devices_together(gateway: Served) -> None:
    answers = [gateway.client.post("/challenges", json={"device_id": f"dev-{number}"}) for number in range(22)]
    assert [answer.status_code for answer in answers] == [201] * 20 + [429] * 2
    assert (answers[-1].headers["Retry-After"], answers[-1].json()["reason"]) == ("60", "too-many")
    assert gateway.ledger.challenges.unanswered() == 20


def test_nothing_of_a_challenge_reaches_the_log(
    gateway: Served, device: LabDevice, maker: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    device.tpm = SoftTpm.made_by(maker, "SN-0001")
    challenge = ask_for_challenge(gateway.client, device)
    gateway.client.post("/challenges", content=b'{"device_id": 1}', headers=JSON)
    said: list[Any] = [challenge["nonce"], *challenge["credential"].values(), TOKEN]
    assert [secret for secret in said if secret in caplog.text] == []


def test_a_device_of_the_lab_says_why_it_is_refused(gateway: Served, device: LabDevice) -> None:
    device.device_id = "no id"
    with pytest.raises(Rejected) as refused:
        device.register_over_http(gateway.url, TOKEN)
    assert refused.value.where["status"] == "422"
