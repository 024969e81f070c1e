"""Renewals, resets and storms: what the same device sends again, and what somebody else sends in its name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.gateway.intake import Receipt, settle, take_in, understand_all
from edge.gateway.refusal import Refused
from edge.lab.ca import Authority
from edge.lab.device import LabDevice, ask_for_challenge, cloud_event, sent
from edge.ledger import Ledger
from edge.model.admission import Trust
from edge.model.device import DeviceState
from edge.model.event import EventState, IncomingEvent
from edge.policy.event import EventType, read_cloud_event
from edge.policy.proof import claim_key
from tests.contract.served_gateway import Served, served

NAME = "dev-0001"
STORM = 5000


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


@pytest.fixture
def maker(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "maker" / "ca", "Maker")


@pytest.fixture
def another(maker: Authority, tmp_path: Path) -> Callable[[str], LabDevice]:
    """The device with a certificate and key of its own in each folder."""

    def made(folder: str) -> LabDevice:
        maker.device(tmp_path / folder, NAME, "SN-0001")
        return LabDevice(NAME, tmp_path / folder / NAME)

    return made


@pytest.fixture
def device(gateway: Served, another: Callable[[str], LabDevice]) -> LabDevice:
    """A device that is connected."""
    known = another("first")
    assert gateway.post(known.event(challenge(gateway, known))).status_code == 202
    gateway.ledger.devices.move(NAME, DeviceState.CONNECTED)
    return known


def challenge(gateway: Served, device: LabDevice) -> dict[str, Any]:
    return ask_for_challenge(gateway.client, device)


def key_on_record(ledger: Ledger) -> str:
    return claim_key(ledger.devices.get(NAME).registration)


def test_a_renewal_changes_the_key_and_not_the_state(
    gateway: Served, device: LabDevice, another: Callable[[str], LabDevice]
) -> None:
    new = another("second")
    event = device.renewal_event(new, challenge(gateway, new))
    assert [gateway.post(event).json()["duplicate"] for _ in range(2)] == [0, 1]
    known = gateway.ledger.devices.get(NAME)
    assert (known.registration.certificate, known.state, known.generation) == (
        new.certificate,
        DeviceState.CONNECTED,
        1,
    )
    assert gateway.ledger.devices.claims(NAME) == ()
    assert gateway.ledger.inbox.counts()[EventState.HANDLED] == 1


def test_what_was_sent_before_a_renewal_claims_nothing_after_it(
    gateway: Served, another: Callable[[str], LabDevice]
) -> None:
    old, new = another("first"), another("second")
    before = old.event(challenge(gateway, old))
    gateway.post(before)
    gateway.post(old.renewal_event(new, challenge(gateway, new)))
    assert gateway.post(before).json()["duplicate"] == 1
    assert gateway.post({**before, "id": "as-a-new-event"}).json()["superseded"] == 1
    assert gateway.ledger.devices.get(NAME).registration.certificate == new.certificate
    assert gateway.ledger.devices.claims(NAME) == ()


def test_a_claim_is_passed_on_though_another_key_is_on_record(
    gateway: Served, another: Callable[[str], LabDevice]
) -> None:
    for folder in ("impostor", "true"):
        device = another(folder)
        assert gateway.post(device.event(challenge(gateway, device))).json()["superseded"] == 0
    pending = gateway.ledger.inbox.pending()
    arrivals = understand_all([stored.event for stored in pending], at=datetime.now(UTC))
    assert len(settle(gateway.ledger, arrivals)) == 2  # as the dispatcher does once more
    assert len(gateway.ledger.devices.claims(NAME)) == 1
    same = pending[1].event.model_dump(mode="json", exclude={"subject"})
    again = {**same, "specversion": "1.0", "id": "again"}
    assert gateway.post(again).json()["superseded"] == 1


def test_a_reset_begins_another_life_and_is_passed_on(gateway: Served, device: LabDevice) -> None:
    event = device.reset_event(challenge(gateway, device))
    for duplicate in (0, 1):
        assert gateway.post(event).json()["duplicate"] == duplicate
        known = gateway.ledger.devices.get(NAME)
        assert (known.state, known.generation) == (DeviceState.REGISTERED, 2)
    assert [stored.event.type for stored in gateway.ledger.inbox.pending()] == [EventType.REGISTERED, EventType.RESET]
    assert known.registration.proof is not None
    found = gateway.ledger.challenges.get(known.registration.proof.nonce)
    assert found is not None
    assert found.generation == 2


def refused_events(gateway: Served, device: LabDevice, thief: LabDevice) -> dict[str, dict[str, Any]]:
    """Events that must change nothing, by what is wrong with them."""
    used = challenge(gateway, device)
    spent = gateway.post(device.event(used))
    assert spent.status_code == 202
    gateway.ledger.devices.move(NAME, DeviceState.CONNECTED)
    fresh = challenge(gateway, device)
    unknown = {"nonce": "a-nonce-that-nobody-was-given"}
    by_itself = thief.renewal_event(thief, challenge(gateway, thief))
    return {
        "reset by another key": thief.reset_event(challenge(gateway, thief)),
        "reset with a used nonce": cloud_event(EventType.RESET, sent(device.registration(used)) | {"voucher": "v"}),
        "reset with an unknown nonce": device.reset_event(unknown),
        "renewal endorsed by the new key": by_itself,
        "renewal with an unknown nonce": device.renewal_event(thief, unknown),
        "reset of a changed registration": cloud_event(
            EventType.RESET, sent(device.registration(fresh)) | {"facts": {"serial": "SN-0001", "location": "moon"}}
        ),
    }


def test_who_cannot_prove_it_changes_nothing(
    gateway: Served, device: LabDevice, another: Callable[[str], LabDevice]
) -> None:
    events = refused_events(gateway, device, another("thief"))
    before, stored = gateway.ledger.devices.get(NAME), gateway.stored()
    for wrong, event in events.items():
        answer = gateway.post(event)
        assert (answer.status_code, answer.json()["reason"]) == (403, "identity"), wrong
        assert answer.json()["where"]["reason"], wrong
    assert gateway.ledger.devices.get(NAME) == before
    assert (gateway.stored(), gateway.ledger.devices.claims(NAME)) == (stored, ())


def test_a_revoked_key_neither_resets_nor_renews(
    gateway: Served, device: LabDevice, another: Callable[[str], LabDevice]
) -> None:
    fingerprint = key_on_record(gateway.ledger)
    gateway.ledger.revocations.revoke_key(fingerprint, device_id=NAME, reason="stolen", at=datetime.now(UTC))
    new = another("second")
    for event in (
        device.reset_event(challenge(gateway, device)),
        device.renewal_event(new, challenge(gateway, new)),
    ):
        answer = gateway.post(event)
        assert (answer.status_code, answer.json()["where"]["reason"]) == (403, "revoked")
    assert gateway.ledger.devices.get(NAME).state is DeviceState.CONNECTED


def test_a_renewal_needs_a_certificate_of_a_trusted_maker(
    another: Callable[[str], LabDevice], maker: Authority, tmp_path: Path
) -> None:
    other = Authority.open(tmp_path / "other" / "ca", "Other maker")
    other.device(tmp_path / "foreign", NAME, "SN-0001")
    device, foreign = another("first"), LabDevice(NAME, tmp_path / "foreign" / NAME)
    trust = Trust(anchors=(maker.cert_file.read_text(),))
    (tmp_path / "trusting").mkdir()
    with served(tmp_path / "trusting", trust=trust) as gateway:
        gateway.post(device.event(challenge(gateway, device)))
        refused = gateway.post(device.renewal_event(foreign, challenge(gateway, foreign)))
        assert (refused.status_code, refused.json()["where"]["reason"]) == (403, "unknown-issuer")
        new = another("second")
        assert gateway.post(device.renewal_event(new, challenge(gateway, new))).status_code == 202
        assert gateway.ledger.devices.get(NAME).registration.certificate == new.certificate


def test_a_late_answer_is_refused(gateway: Served, device: LabDevice) -> None:
    given = challenge(gateway, device)
    late = datetime.now(UTC) + timedelta(hours=1)
    arrivals = understand_all([read_cloud_event(device.reset_event(given), received_at=late)], at=late)
    with pytest.raises(Refused) as refused:
        take_in(gateway.ledger, arrivals, at=late)
    assert refused.value.error.where["reason"] == "challenge-expired"


def test_a_device_that_is_not_known_has_nothing_to_renew(gateway: Served, another: Callable[[str], LabDevice]) -> None:
    device = another("first")
    for event in (
        device.reset_event(challenge(gateway, device)),
        device.renewal_event(device, challenge(gateway, device)),
    ):
        answer = gateway.post(event)
        assert (answer.status_code, answer.json()["code"]) == (403, "not-found")
    assert gateway.stored() == 0


@pytest.mark.parametrize("kind", [EventType.RENEWED, EventType.RESET])
def test_without_a_proof_nobody_renews_or_resets(gateway: Served, device: LabDevice, kind: EventType) -> None:
    bare = sent(device.registration())
    word = {"algorithm": "ES256", "signature": ""}
    data, place = ({"registration": bare, "endorsement": word}, "data.registration.proof")
    if kind is EventType.RESET:
        data, place = bare, "data.proof"
    answer = gateway.post(cloud_event(kind, data))
    assert (answer.status_code, answer.json()["where"]["field"]) == (422, place)


def test_a_gateway_that_died_over_a_renewal_finishes_it_later(
    gateway: Served, device: LabDevice, another: Callable[[str], LabDevice]
) -> None:
    new, now = another("second"), datetime.now(UTC)
    event = read_cloud_event(device.renewal_event(new, challenge(gateway, new)), received_at=now)
    gateway.ledger.inbox.add([event], at=now)  # and here it died
    found = [stored for stored in gateway.ledger.inbox.pending() if stored.event.type == EventType.RENEWED]
    assert settle(gateway.ledger, understand_all([found[0].event], at=found[0].received_at)) == []
    assert gateway.ledger.devices.get(NAME).registration.certificate == new.certificate
    assert gateway.ledger.inbox.counts()[EventState.HANDLED] == 1


def test_a_device_that_was_refused_may_ask_again_in_the_same_words(gateway: Served, device: LabDevice) -> None:
    first = device.event(challenge(gateway, device))
    gateway.post(first)
    gateway.ledger.devices.move(NAME, DeviceState.QUARANTINED, reason="not owned yet")
    later = {**first, "id": "later", "time": (datetime.now(UTC) + timedelta(seconds=5)).isoformat()}
    assert gateway.post(later).json()["superseded"] == 0
    assert gateway.ledger.devices.get(NAME).state is DeviceState.REGISTERED


def storm(ledger: Ledger, events: list[IncomingEvent]) -> list[Receipt]:
    at = datetime.now(UTC)
    return [
        take_in(ledger, understand_all(events[start : start + 250], at=at), at=at)
        for start in range(0, len(events), 250)
    ]


@pytest.mark.parametrize("ids", [pytest.param(1, id="one-id"), pytest.param(STORM, id="new-ids")])
def test_a_storm_of_one_registration_makes_one_device(
    ids: int, another: Callable[[str], LabDevice], tmp_path: Path
) -> None:
    event = read_cloud_event(another("first").event(), received_at=datetime.now(UTC))
    events = [event.model_copy(update={"id": f"storm-{number % ids}"}) for number in range(STORM)]
    with Ledger.open(f"sqlite:///{tmp_path / 'storm.db'}") as ledger:
        receipts = storm(ledger, events)
        assert sum(receipt.accepted for receipt in receipts) == ids
        assert [known.device_id for known in ledger.devices.list()] == [NAME]
        assert [entry.action for entry in ledger.audit.entries()] == ["device.registered"]
        assert [stored.event.id for stored in ledger.inbox.pending(STORM)] == ["storm-0"]  # one onboarding
        assert ledger.inbox.counts()[EventState.SUPERSEDED] == ids - 1


def test_a_storm_over_http_is_answered_and_makes_one_device(gateway: Served, device: LabDevice) -> None:
    again = device.event(challenge(gateway, device))
    kind = "application/cloudevents-batch+json"
    answers = [gateway.post([again] * 30, kind).json() for _ in range(5)]
    assert [(said["accepted"], said["duplicate"]) for said in answers] == [(1, 29)] + [(0, 30)] * 4
    new = [gateway.post([{**again, "id": f"{batch}-{number}"} for number in range(30)], kind) for batch in range(5)]
    assert [answer.json()["superseded"] for answer in new] == [30] * 5
    assert [known.device_id for known in gateway.ledger.devices.list()] == [NAME]
    assert gateway.ledger.devices.claims(NAME) == ()
    assert json.loads(gateway.client.get("/readyz").content)["ledger"] == "ok"
