"""The gateway on a loopback port: what it takes, what it refuses and how, with nothing stored when it refuses."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from pydantic import SecretStr

from edge.errors import InvalidInput
from edge.gateway.senders import sign
from edge.gateway.settings import GatewaySettings
from edge.model.event import EventState
from tests.contract.served_gateway import KEY, LIMIT, NEXT_KEY, NEXT_TOKEN, STRUCTURED, TOKEN, Served, served

REGISTERED = "io.edge-platform.device.registered.v1"
BATCH = "application/cloudevents-batch+json"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def event(device: str = "dev-0001", **changes: Any) -> dict[str, Any]:
    facts = {"serial": f"SN-{device}", "model": "lab-gateway"}
    made = {
        "specversion": "1.0",
        "id": f"registered-{device}",
        "source": "/factory",
        "type": REGISTERED,
        "time": "2026-05-04T12:00:00Z",
        "data": {"device_id": device, "certificate": "not looked at here", "facts": facts},
    }
    return {**made, **changes}


def grid(kind: str, data: dict[str, Any], **changes: Any) -> dict[str, Any]:
    time_text = "2026-05-04T12:00:00.1234567Z"
    return {
        "id": "g-1",
        "topic": "/hub",
        "subject": "s",
        "eventType": kind,
        "eventTime": time_text,
        "data": data,
        **changes,
    }


def contact(kind: str, device: str, **changes: Any) -> dict[str, Any]:
    return grid(f"Microsoft.Devices.{kind}", {"deviceId": device, "hubName": "hub"}, **changes)


def test_a_structured_event_is_stored_before_it_is_answered(gateway: Served) -> None:
    answer = gateway.post(event())
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "duplicate": 0, "superseded": 0})
    assert [stored.event.id for stored in gateway.ledger.inbox.pending()] == ["registered-dev-0001"]
    assert gateway.ledger.devices.get("dev-0001").registration.facts.serial == "SN-dev-0001"


def test_what_the_cloudevents_package_sends_is_taken_in_both_modes(gateway: Served) -> None:
    for number, pack in enumerate((to_structured_event, to_binary_event)):
        attributes = {"type": REGISTERED, "source": "/fabrik/münchen 1", "subject": "d", "id": f"e {number}"}
        made = CloudEvent({**attributes, "datacontenttype": "application/json"}, event(f"dev-{number}")["data"])
        message = pack(made)
        answer = gateway.client.post("/events", content=message.body, headers=message.headers)
        assert answer.status_code == 202, answer.text
    stored = gateway.ledger.inbox.pending()
    assert [(found.event.id, found.event.source) for found in stored] == [
        ("e 0", "/fabrik/münchen 1"),
        ("e 1", "/fabrik/münchen 1"),
    ]


def test_a_batch_is_taken_as_a_whole(gateway: Served) -> None:
    answer = gateway.post([event(f"dev-{number}") for number in range(50)], BATCH)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 50)
    assert len(gateway.ledger.devices.list()) == 50


def test_one_bad_event_in_a_batch_is_named_and_nothing_is_stored(gateway: Served) -> None:
    answer = gateway.post([event("dev-1"), event("../dev-2"), event("dev-3")], BATCH)
    assert answer.status_code == 422
    assert answer.json()["where"] == {"field": "[1].data.device_id", "value": "../dev-2"}
    assert gateway.stored() == 0
    assert gateway.ledger.devices.list() == ()


def test_the_same_event_twice_is_taken_once(gateway: Served) -> None:
    gateway.post(event())
    answer = gateway.post(event())
    assert (answer.status_code, answer.json()) == (202, {"accepted": 0, "duplicate": 1, "superseded": 0})
    assert gateway.stored() == 1


def test_the_same_id_with_other_content_is_a_conflict(gateway: Served) -> None:
    gateway.post(event())
    answer = gateway.post([event("dev-2"), event("dev-9", id="registered-dev-0001")], BATCH)
    assert (answer.status_code, answer.json()["reason"]) == (409, "conflict")
    assert answer.json()["where"]["id"] == "registered-dev-0001"
    assert gateway.stored() == 1


def test_the_same_id_from_another_source_is_another_event(gateway: Served) -> None:
    gateway.post(event())
    assert gateway.post(event("dev-2", id="registered-dev-0001", source="/other")).json()["accepted"] == 1


def test_an_older_registration_that_comes_late_is_kept_but_not_acted_on(gateway: Served) -> None:
    newer = event(id="newer", time="2026-05-04T12:00:00Z")
    older = event(id="older", time="2026-05-04T11:00:00Z")
    older["data"]["facts"]["model"] = "an older model"
    gateway.post(newer)
    answer = gateway.post(older)
    assert (answer.status_code, answer.json()["superseded"]) == (202, 1)
    assert gateway.ledger.devices.get("dev-0001").registration.facts.model == "lab-gateway"
    assert gateway.ledger.inbox.counts()[EventState.SUPERSEDED] == 1
    assert [stored.event.id for stored in gateway.ledger.inbox.pending()] == ["newer"]


def test_another_key_under_a_known_name_never_replaces_the_first(gateway: Served) -> None:
    gateway.post(event())
    other = event(id="other-key", time="2026-05-04T13:00:00Z")
    other["data"]["certificate"] = "of another device"
    assert gateway.post(other).status_code == 202
    assert gateway.ledger.devices.get("dev-0001").registration.certificate == "not looked at here"
    assert [claim.registration.certificate for claim in gateway.ledger.devices.claims("dev-0001")] == [
        "of another device"
    ]
    assert [stored.event.id for stored in gateway.ledger.inbox.pending()] == ["registered-dev-0001", "other-key"]


def test_event_grids_contacts_move_the_last_contact_forward_only(gateway: Served) -> None:
    gateway.post(event())
    late, early = "2026-05-04T15:00:00Z", "2026-05-04T14:00:00Z"
    connected = contact("DeviceConnected", "dev-0001", eventTime=late)
    gone = contact("DeviceDisconnected", "dev-0001", id="g-2", eventTime=early)
    unknown = contact("DeviceConnected", "dev-unknown", id="g-3")
    answer = gateway.post([connected, gone, unknown], "application/json", **{"aeg-event-type": "Notification"})
    assert (answer.status_code, answer.json()["accepted"]) == (202, 3)
    assert gateway.ledger.devices.get("dev-0001").last_contact == datetime(2026, 5, 4, 15, tzinfo=UTC)
    assert len(gateway.ledger.inbox.pending()) == 1


def test_telemetry_counts_as_contact_and_is_not_kept(gateway: Served) -> None:
    gateway.post(event())
    data = {"body": {"temperature": 20}, "systemProperties": {"iothub-connection-device-id": "dev-0001"}}
    answer = gateway.post(grid("Microsoft.Devices.DeviceTelemetry", data), "application/json")
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    assert gateway.ledger.devices.get("dev-0001").last_contact is not None
    assert gateway.stored() == 1


def test_azure_events_in_the_cloudevents_schema_are_taken_too(gateway: Served) -> None:
    gateway.post(event())
    connected = event(id="c", type="Microsoft.Devices.DeviceConnected", data={"deviceId": "dev-0001"})
    assert gateway.post(connected).status_code == 202
    assert gateway.ledger.devices.get("dev-0001").last_contact == datetime(2026, 5, 4, 12, tzinfo=UTC)


def test_event_grids_validation_is_answered_with_its_code(gateway: Served) -> None:
    asked = grid(
        "Microsoft.EventGrid.SubscriptionValidationEvent", {"validationCode": "512d38b6", "validationUrl": "https://x"}
    )
    answer = gateway.post([asked], "application/json", **{"aeg-event-type": "SubscriptionValidation"})
    assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})
    assert gateway.stored() == 0


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([grid("Microsoft.EventGrid.SubscriptionValidationEvent", {})], id="without-code"),
        pytest.param(
            [
                grid("Microsoft.EventGrid.SubscriptionValidationEvent", {"validationCode": "1"}),
                contact("DeviceConnected", "d", id="g-2"),
            ],
            id="among-others",
        ),
    ],
)
def test_a_validation_of_another_shape_is_refused(gateway: Served, events: list[dict[str, Any]]) -> None:
    assert gateway.post(events, "application/json").status_code == 400


def test_event_grid_may_show_its_token_in_the_query(gateway: Served) -> None:
    headers = {"Content-Type": "application/json"}
    body = json.dumps([contact("DeviceConnected", "d")])
    assert gateway.stranger.post(f"/events?token={TOKEN}", content=body, headers=headers).status_code == 202
    assert gateway.stranger.post("/events?token=wrong", content=body, headers=headers).status_code == 401


def test_the_options_handshake_allows_known_origins_only(gateway: Served) -> None:
    asked = {"WebHook-Request-Origin": "eventgrid.azure.net", "WebHook-Request-Rate": "120"}
    answer = gateway.stranger.options("/events", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
    assert int(answer.headers["WebHook-Allowed-Rate"]) > 0
    refused = gateway.stranger.options("/events", headers={"WebHook-Request-Origin": "evil.example"})
    assert refused.status_code == 403
    assert "WebHook-Allowed-Origin" not in refused.headers


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"Authorization": "Bearer wrong"}, id="wrong-token"),
        pytest.param({"Authorization": "Bearer"}, id="empty-token"),
        pytest.param({"Authorization": f"Bearer {TOKEN}x"}, id="longer-token"),
        pytest.param({"Authorization": f"Basic {TOKEN}"}, id="other-scheme"),
        pytest.param({"X-Edge-Signature": "sha256=00", "X-Edge-Timestamp": "0"}, id="old-signature"),
        pytest.param({"X-Edge-Signature": "sha256=00"}, id="signature-without-time"),
        pytest.param({"X-Edge-Signature": "", "X-Edge-Timestamp": str(int(time.time()))}, id="empty-signature"),
    ],
)
def test_who_does_not_prove_itself_stores_nothing(gateway: Served, headers: dict[str, str]) -> None:
    sent = {"Content-Type": STRUCTURED, **headers}
    answer = gateway.stranger.post("/events", content=json.dumps(event()), headers=sent)
    assert (answer.status_code, answer.json()["reason"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert gateway.stored() == 0


@pytest.mark.parametrize("token", [pytest.param(TOKEN, id="first"), pytest.param(NEXT_TOKEN, id="next")])
def test_every_active_token_is_good(gateway: Served, token: str) -> None:
    headers = {"Content-Type": STRUCTURED, "Authorization": f"Bearer {token}"}
    assert gateway.stranger.post("/events", content=json.dumps(event()), headers=headers).status_code == 202


def signed(body: bytes, headers: dict[str, str], *, key: str = KEY, at: float | None = None) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    return {**headers, "X-Edge-Timestamp": stamp, "X-Edge-Signature": sign(key.encode(), stamp, headers, body)}


@pytest.mark.parametrize("key", [pytest.param(KEY, id="first"), pytest.param(NEXT_KEY, id="next")])
def test_a_signed_request_needs_no_token(gateway: Served, key: str) -> None:
    body = json.dumps(event()).encode()
    headers = signed(body, {"Content-Type": STRUCTURED}, key=key)
    assert gateway.stranger.post("/events", content=body, headers=headers).status_code == 202


def test_a_sender_may_sign_with_two_keys_while_they_change(gateway: Served) -> None:
    body = json.dumps(event()).encode()
    headers = signed(body, {"Content-Type": STRUCTURED})
    headers["X-Edge-Signature"] = f"sha256={'0' * 64}, {headers['X-Edge-Signature']}"
    assert gateway.stranger.post("/events", content=body, headers=headers).status_code == 202


@pytest.mark.parametrize(
    ("key", "age", "tail"),
    [
        pytest.param("another-key-altogether", 0, b"", id="foreign-key"),
        pytest.param(KEY, 301, b"", id="too-old"),
        pytest.param(KEY, -301, b"", id="too-new"),
        pytest.param(KEY, 0, b" ", id="changed-body"),
    ],
)
def test_a_signature_that_does_not_fit_is_refused(gateway: Served, key: str, age: float, tail: bytes) -> None:
    body = json.dumps(event()).encode()
    headers = signed(body, {"Content-Type": STRUCTURED}, key=key, at=time.time() - age)
    assert gateway.stranger.post("/events", content=body + tail, headers=headers).status_code == 401
    assert gateway.stored() == 0


def test_a_signature_covers_the_attributes_of_the_binary_mode(gateway: Served) -> None:
    whole = event()
    body = json.dumps(whole.pop("data")).encode()
    plain = {"Content-Type": "application/json", **{f"ce-{name}": value for name, value in whole.items()}}
    headers = signed(body, plain)
    assert gateway.stranger.post("/events", content=body, headers=headers).status_code == 202
    headers["ce-time"] = "2026-05-04T11:00:00Z"
    assert gateway.stranger.post("/events", content=body, headers=headers).status_code == 401


def test_a_body_that_is_too_large_is_refused_by_its_declared_length(gateway: Served) -> None:
    answer = gateway.post(b"x" * (LIMIT + 1))
    assert (answer.status_code, answer.json()["where"]["limit"]) == (413, str(LIMIT))


def test_a_body_that_is_too_large_is_refused_while_it_streams(gateway: Served) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(LIMIT // 1024 + 2):
            yield b"x" * 1024

    answer = gateway.client.post("/events", content=endless(), headers={"Content-Type": STRUCTURED})
    assert answer.status_code == 413


def test_a_body_that_does_not_come_is_not_waited_for(gateway: Served) -> None:
    def slow() -> Iterator[bytes]:
        yield b"{"
        time.sleep(1.0)
        yield b"}"

    answer = gateway.client.post("/events", content=slow(), headers={"Content-Type": STRUCTURED})
    assert answer.status_code == 408


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        pytest.param("text/plain", {}, id="text"),
        pytest.param("", {}, id="none"),
        pytest.param("application/cloudevents+avro", {}, id="avro"),
        pytest.param(STRUCTURED, {"Content-Encoding": "gzip"}, id="packed"),
    ],
)
def test_other_content_types_are_refused(gateway: Served, kind: str, more: dict[str, str]) -> None:
    assert gateway.post(event(), kind, **more).status_code == 415


def test_parameters_of_the_content_type_do_not_matter(gateway: Served) -> None:
    assert gateway.post(event(), "Application/CloudEvents+JSON; charset=utf-8").status_code == 202


@pytest.mark.parametrize(
    ("body", "kind", "field"),
    [
        pytest.param(b"{", STRUCTURED, "body", id="half-json"),
        pytest.param(b"\xff\xfe", STRUCTURED, "body", id="no-utf-8"),
        pytest.param(b"[" * 2000, BATCH, "body", id="deep"),
        pytest.param(b'{"a": NaN}', STRUCTURED, "body", id="nan"),
        pytest.param(b'{"id": "\\u0000"}', STRUCTURED, "body", id="nul"),
        pytest.param(b"[]", STRUCTURED, "body", id="list-for-one"),
        pytest.param(b"[]", BATCH, "body", id="empty-batch"),
        pytest.param(b"{}", BATCH, "body", id="object-for-batch"),
        pytest.param(b"[5]", BATCH, "[0]", id="number-in-batch"),
        pytest.param(b"{}", STRUCTURED, "specversion", id="empty-event"),
        pytest.param(b"{}", "application/json", "id", id="empty-grid-event"),
    ],
)
def test_what_is_no_event_is_refused_with_the_field(gateway: Served, body: bytes, kind: str, field: str) -> None:
    answer = gateway.post(body, kind)
    assert (answer.status_code, answer.json()["where"]["field"]) == (400, field)
    assert gateway.stored() == 0


def test_an_unknown_type_is_refused_by_name(gateway: Served) -> None:
    answer = gateway.post(event(type="com.example.other"))
    assert (answer.status_code, answer.json()["where"]) == (422, {"field": "type", "value": "com.example.other"})


def test_binary_mode_without_an_id_is_refused(gateway: Served) -> None:
    headers = {"ce-specversion": "1.0", "ce-source": "s", "ce-type": REGISTERED, "ce-time": "2026-05-04T12:00:00Z"}
    answer = gateway.post({}, "application/json", **headers)
    assert (answer.status_code, answer.json()["where"]["field"]) == (400, "ce-id")


def test_health_and_readiness_answer_without_a_token(gateway: Served) -> None:
    assert gateway.stranger.get("/healthz").status_code == 200
    answer = gateway.stranger.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ledger": "ok", "dispatcher": "off"})


def test_metrics_count_what_happened(gateway: Served) -> None:
    gateway.post(event())
    gateway.post(event())
    gateway.post(b"{")
    text = gateway.stranger.get("/metrics").text
    assert f'edge_gateway_events_accepted_total{{type="{REGISTERED}"}} 2.0' in text
    assert "edge_gateway_events_duplicate_total 1.0" in text
    assert 'edge_gateway_requests_rejected_total{reason="malformed"} 1.0' in text
    assert "edge_gateway_pending 1.0" in text
    assert "edge_gateway_request_seconds_count 3.0" in text


def test_secrets_are_in_no_log(gateway: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    gateway.post(event())
    gateway.stranger.post(f"/events?token={TOKEN}x", content=b"", headers={"Content-Type": STRUCTURED})
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("edge", "uvicorn.error"))]
    assert any("unauthorized" in line for line in ours)
    assert not any(TOKEN in line or KEY in line for line in ours)


@pytest.mark.parametrize(
    ("tokens", "says"),
    [pytest.param((), "let nobody in", id="none"), pytest.param(("short",), "fewer than 16", id="short")],
)
def test_a_gateway_without_good_secrets_does_not_start(tokens: tuple[str, ...], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        GatewaySettings(tokens=tuple(SecretStr(token) for token in tokens))
