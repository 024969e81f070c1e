"""Which events are read, what they mean, and how a bad one is named."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge.errors import InvalidInput
from edge.model.event import IncomingEvent
from edge.policy.event import EventType, read_cloud_event, read_grid_event, understand

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
REGISTRATION = {"device_id": "dev-0001", "certificate": "PEM", "facts": {"serial": "SN-1", "model": "lab-gateway"}}


def cloud(**changes: Any) -> dict[str, Any]:
    event = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/factory/berlin",
        "type": EventType.REGISTERED.value,
        "subject": "dev-0001",
        "time": "2026-05-04T11:59:00Z",
        "data": REGISTRATION,
    }
    return {name: value for name, value in {**event, **changes}.items() if value is not ...}


def grid(**changes: Any) -> dict[str, Any]:
    event = {
        "id": "g-1",
        "topic": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/hub",
        "subject": "devices/dev-0001",
        "eventType": EventType.DEVICE_CONNECTED.value,
        "eventTime": "2026-05-04T11:59:00.1234567Z",
        "dataVersion": "1",
        "metadataVersion": "1",
        "data": {"deviceId": "dev-0001", "hubName": "hub"},
    }
    return {name: value for name, value in {**event, **changes}.items() if value is not ...}


def incoming(kind: str, data: dict[str, Any]) -> IncomingEvent:
    return IncomingEvent(id="1", source="s", type=kind, time=NOW, data=data)


def test_a_registration_is_read_with_its_device() -> None:
    arrival = understand(read_cloud_event(cloud(), received_at=NOW))
    assert arrival.type is EventType.REGISTERED
    assert arrival.registration is not None
    assert (arrival.device_id, arrival.registration.facts.serial) == ("dev-0001", "SN-1")
    assert not arrival.is_contact


def test_data_in_base64_is_the_same_as_plain_data() -> None:
    packed = base64.b64encode(json.dumps(REGISTRATION).encode()).decode()
    event = read_cloud_event(cloud(data=..., data_base64=packed), received_at=NOW)
    assert event == read_cloud_event(cloud(), received_at=NOW)


def test_times_become_utc() -> None:
    event = read_cloud_event(cloud(time="2026-05-04T13:59:00+02:00"), received_at=NOW)
    assert event.time.isoformat() == "2026-05-04T11:59:00+00:00"


def test_extension_attributes_are_allowed() -> None:
    event = read_cloud_event(cloud(traceparent="00-1", iothubdeviceid="x"), received_at=NOW)
    assert event.id == "e-1"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"id": ...}, "id", id="no-id"),
        pytest.param({"id": ""}, "id", id="empty-id"),
        pytest.param({"id": 7}, "id", id="id-is-a-number"),
        pytest.param({"id": "x" * 300}, "id", id="huge-id"),
        pytest.param({"id": "a\nb"}, "id", id="control-character"),
        pytest.param({"source": ...}, "source", id="no-source"),
        pytest.param({"type": ...}, "type", id="no-type"),
        pytest.param({"specversion": ...}, "specversion", id="no-version"),
        pytest.param({"specversion": "0.3"}, "specversion", id="old-version"),
        pytest.param({"subject": 5}, "subject", id="subject-is-a-number"),
        pytest.param({"time": ...}, "time", id="no-time"),
        pytest.param({"time": None}, "time", id="time-is-null"),
        pytest.param({"time": "yesterday"}, "time", id="bad-time"),
        pytest.param({"time": "2026-05-04T11:59:00"}, "time", id="time-without-offset"),
        pytest.param({"time": "2026-05-04T12:11:00Z"}, "time", id="future"),
        pytest.param({"time": "9999-12-31T23:59:59-23:00"}, "time", id="end-of-calendar"),
        pytest.param({"time": "0001-01-01T00:00:00+14:00"}, "time", id="start-of-calendar"),
        pytest.param({"time": 5}, "time", id="time-is-a-number"),
        pytest.param({"data": [1]}, "data", id="data-is-a-list"),
        pytest.param({"data": ..., "data_base64": "%%%"}, "data_base64", id="bad-base64"),
        pytest.param({"data": ..., "data_base64": "aGVsbG8="}, "data_base64", id="base64-of-no-json"),
        pytest.param({"Bad_Name": "x"}, "Bad_Name", id="bad-extension-name"),
    ],
)
def test_a_bad_envelope_is_named_by_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_cloud_event(cloud(**changes), received_at=NOW, place="[3].")
    assert caught.value.where["field"] == f"[3].{field}"


@pytest.mark.parametrize(
    ("data", "field"),
    [
        pytest.param({}, "data.device_id", id="empty"),
        pytest.param({**REGISTRATION, "device_id": "../etc/passwd"}, "data.device_id", id="path"),
        pytest.param({**REGISTRATION, "device_id": "a/b"}, "data.device_id", id="slash"),
        pytest.param({**REGISTRATION, "device_id": "a..b"}, "data.device_id", id="dots"),
        pytest.param({**REGISTRATION, "device_id": "dev-1\n"}, "data.device_id", id="newline"),
        pytest.param({**REGISTRATION, "extra": 1}, "data.extra", id="unknown-field"),
        pytest.param({**REGISTRATION, "certificate": "x" * 70000}, "data.certificate", id="huge-certificate"),
        pytest.param({**REGISTRATION, "facts": {"serial": ""}}, "data.facts.serial", id="empty-serial"),
        pytest.param(
            {**REGISTRATION, "facts": {"serial": "1", "architecture": "z80"}},
            "data.facts.architecture",
            id="architecture",
        ),
        pytest.param(
            {**REGISTRATION, "facts": {"serial": "1\x1b[2J"}}, "data.facts.serial", id="terminal-sequence-in-a-fact"
        ),
        pytest.param(
            {**REGISTRATION, "facts": {"serial": "1", "location": "hall 1\nforged line"}},
            "data.facts.location",
            id="line-end-in-a-fact",
        ),
        pytest.param(
            {**REGISTRATION, "facts": {"serial": "1", "hardware": {"bios\x9b": "1"}}},
            "data.facts.hardware",
            id="control-character-in-a-name",
        ),
        pytest.param(
            {**REGISTRATION, "facts": {"serial": "1", "hardware": {"cpu": "x" * 257}}},
            "data.facts.hardware.cpu",
            id="long-fact",
        ),
    ],
)
def test_a_bad_registration_is_named_by_its_field(data: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        understand(incoming(EventType.REGISTERED, data))
    assert caught.value.where["field"] == field
    assert len(caught.value.where["value"]) <= 200


PRIVATE = "-----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"certificate": PRIVATE}, "data.certificate", id="certificate"),
        pytest.param({"voucher": PRIVATE}, "data.voucher", id="voucher"),
        pytest.param({"facts": {"serial": "1", "hardware": {"key": PRIVATE}}}, "data.facts.hardware.key", id="fact"),
    ],
)
def test_a_private_key_that_a_device_sends_is_refused_and_not_repeated(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        understand(incoming(EventType.REGISTERED, {**REGISTRATION, **changes}))
    assert caught.value.where == {"field": field}
    assert "hunter2" not in str(caught.value)


def test_an_unknown_type_is_named_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput) as caught:
        understand(incoming("com.example.other", {}), place="[0].")
    assert caught.value.where == {"field": "[0].type", "value": "com.example.other"}
    assert EventType.REGISTERED in caught.value.remedy


def test_event_grids_own_schema_is_read() -> None:
    arrival = understand(read_grid_event(grid(), received_at=NOW))
    assert (arrival.device_id, arrival.type, arrival.is_contact) == ("dev-0001", EventType.DEVICE_CONNECTED, True)
    assert arrival.event.source.endswith("/IotHubs/hub")
    assert arrival.event.time == datetime(2026, 5, 4, 11, 59, 0, 123456, tzinfo=UTC)


def test_telemetry_names_its_device_in_the_system_properties() -> None:
    data = {"body": {"t": 20}, "systemProperties": {"iothub-connection-device-id": "dev-0002"}}
    assert understand(incoming(EventType.DEVICE_TELEMETRY, data)).device_id == "dev-0002"


@pytest.mark.parametrize(
    ("kind", "contact"),
    [
        pytest.param(EventType.DEVICE_CREATED, False, id="created-in-the-registry"),
        pytest.param(EventType.DEVICE_DELETED, False, id="deleted-from-the-registry"),
        pytest.param(EventType.DEVICE_CONNECTED, True, id="connected"),
        pytest.param(EventType.DEVICE_DISCONNECTED, True, id="disconnected"),
    ],
)
def test_only_the_devices_own_doings_are_contacts(kind: EventType, contact: bool) -> None:
    assert understand(incoming(kind, {"deviceId": "d"})).is_contact is contact


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"id": ...}, "id", id="no-id"),
        pytest.param({"eventType": ...}, "eventType", id="no-type"),
        pytest.param({"eventTime": ...}, "eventTime", id="no-time"),
        pytest.param({"eventTime": "soon"}, "eventTime", id="bad-time"),
        pytest.param({"data": "text"}, "data", id="data-is-text"),
        pytest.param({"subject": {"a": 1}}, "subject", id="subject-is-an-object"),
    ],
)
def test_a_bad_event_grid_event_is_named_by_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_grid_event(grid(**changes), received_at=NOW)
    assert caught.value.where["field"] == field


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({}, id="none"),
        pytest.param({"deviceId": "a/../b"}, id="path"),
        pytest.param({"deviceId": 5}, id="number"),
    ],
)
def test_an_azure_event_needs_a_usable_device_id(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        understand(incoming(EventType.DEVICE_CONNECTED, data))
    assert caught.value.where["field"] == "data.deviceId"


def test_a_clock_that_is_a_little_ahead_is_forgiven() -> None:
    ahead = NOW + timedelta(minutes=9)
    assert read_cloud_event(cloud(time=ahead.isoformat()), received_at=NOW).time == ahead
