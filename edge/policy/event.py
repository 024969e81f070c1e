"""Events as they arrive, CloudEvents 1.0 or Azure Event Grid's own schema, turned into what the platform acts on.

Two steps, because senders need to know the difference: `read_*` says whether the envelope is an event at all;
`understand` whether the platform can act on what is in it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, cast

import orjson
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.v1.event import CloudEvent
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from edge.errors import InvalidInput
from edge.model.base import Value
from edge.model.device import DeviceFacts, Endorsement, Origin, Registration
from edge.model.event import EventKey, IncomingEvent
from edge.model.names import DeviceId

MAX_AHEAD = timedelta(minutes=10)
"""How far a sender's clock may be ahead. A registration from the far future would make all later ones look old."""

MAX_FACT = 256
"""Characters of one thing that a device says of itself."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)

GRID_VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"
"""Event Grid asks with this type of event whether an endpoint wants its events."""


class EventType(StrEnum):
    """The types of events that are understood."""

    REGISTERED = "io.edge-platform.device.registered.v1"
    """A device asks to be let in; the data is a Registration."""
    RENEWED = "io.edge-platform.device.renewed.v1"
    """A device that is in has a new certificate; the data is a Renewal."""
    RESET = "io.edge-platform.device.reset.v1"
    """A device was wiped and asks to be let in anew; the data is a Registration with a proof by the key on record."""
    DEVICE_CREATED = "Microsoft.Devices.DeviceCreated"
    DEVICE_DELETED = "Microsoft.Devices.DeviceDeleted"
    DEVICE_CONNECTED = "Microsoft.Devices.DeviceConnected"
    DEVICE_DISCONNECTED = "Microsoft.Devices.DeviceDisconnected"
    DEVICE_TELEMETRY = "Microsoft.Devices.DeviceTelemetry"


ASKS = frozenset({EventType.REGISTERED, EventType.RENEWED, EventType.RESET})
"""Types that devices send themselves, with a registration in them."""

CONTACTS = frozenset({EventType.DEVICE_CONNECTED, EventType.DEVICE_DISCONNECTED, EventType.DEVICE_TELEMETRY})
"""Types that prove the device was in contact at the event's time. IoT Hub's registry sends the others by itself."""


class Renewal(Value):
    """The data of a renewal: the registration with the new certificate and its proof, and the old key's word for it."""

    registration: Registration
    endorsement: Endorsement


class Arrival(Value):
    """An event that is understood: about which device, and its registration when it holds one.

    `via` and `received_at` say how and when it came; `received_at` is what a challenge's end is held against.
    """

    event: IncomingEvent
    type: EventType
    device_id: DeviceId
    registration: Registration | None = None
    endorsement: Endorsement | None = None
    via: Origin = Origin.EVENT
    received_at: AwareDatetime | None = None

    @property
    def key(self) -> EventKey:
        """What the inbox knows the event by."""
        return (self.event.source, self.event.id)

    @property
    def is_contact(self) -> bool:
        """Whether the device was in contact at the event's time."""
        return self.type in CONTACTS


def read_cloud_event(attributes: Mapping[str, Any], *, received_at: datetime, place: str = "") -> IncomingEvent:
    """One CloudEvent as a mapping with its context attributes and `data` or `data_base64`.

    `place` stands before field names in errors, for instance `[2].`. Raises InvalidInput.
    """
    context = {name: value for name, value in attributes.items() if name not in {"data", "data_base64"}}
    # The package fills in an id, a version and a time that are missing. An invented id would defeat the check for
    # repeats, an invented time the order of registrations; so the time, which the standard leaves open, is asked for.
    for name in ("specversion", "id", "source", "type", "time"):
        if name not in context:
            raise InvalidInput("A CloudEvent lacks an attribute", field=place + name)
    context["time"] = _time(context["time"], place + "time", received_at)
    try:
        event = CloudEvent(context)
    except CloudEventValidationError as error:
        field, faults = next(iter(error.errors.items()))
        raise _invalid(str(faults[0]), place + field, context.get(field)) from error
    return _incoming(
        {
            "id": event.get_id(),
            "source": event.get_source(),
            "type": event.get_type(),
            "subject": event.get_subject() or "",
            "time": context["time"],
            "data": _data(attributes, place),
        },
        place,
    )


def read_grid_event(event: Mapping[str, Any], *, received_at: datetime, place: str = "") -> IncomingEvent:
    """One event in Event Grid's own schema. Its `topic` becomes the source. Raises InvalidInput."""
    for name in ("id", "eventType", "eventTime"):
        if name not in event:
            raise InvalidInput("An Event Grid event lacks a field", field=place + name)
    return _incoming(
        {
            "id": event["id"],
            "source": event.get("topic") or "eventgrid",
            "type": event["eventType"],
            "subject": event.get("subject") or "",
            "time": _time(event["eventTime"], place + "eventTime", received_at),
            "data": _data(event, place),
        },
        place,
    )


def understand(
    event: IncomingEvent, *, place: str = "", via: Origin = Origin.EVENT, received_at: datetime | None = None
) -> Arrival:
    """What an event means. Raises InvalidInput for an unknown type, a bad registration or a bad device id."""
    try:
        kind = EventType(event.type)
    except ValueError as error:
        known = ", ".join(EventType)
        raise _invalid("Events of this type are not taken", place + "type", event.type, f"Send {known}") from error
    came = {"event": event, "type": kind, "via": via, "received_at": received_at}
    if kind not in ASKS:
        return Arrival.model_validate({**came, "device_id": _azure_device(event, kind, place)})
    registration, endorsement = _asked(event, kind, f"{place}data.")
    said = {"device_id": registration.device_id, "registration": registration, "endorsement": endorsement}
    return Arrival.model_validate({**came, **said})


def _asked(event: IncomingEvent, kind: EventType, place: str) -> tuple[Registration, Endorsement | None]:
    try:
        if kind is EventType.RENEWED:
            renewal = Renewal.model_validate(event.data)
            registration, endorsement, place = renewal.registration, renewal.endorsement, f"{place}registration."
        else:
            registration, endorsement = Registration.model_validate(event.data), None
    except ValidationError as error:
        raise _first_fault(error, place) from error
    if kind is not EventType.REGISTERED and registration.proof is None:
        remedy = "Ask for a challenge and sign the registration with it (docs/gateway.md)"
        raise InvalidInput("This type of event needs a proof", field=f"{place}proof", remedy=remedy)
    _refuse_private_key(registration, place)
    _check_facts(registration.facts, f"{place}facts.")
    return registration, endorsement


def _refuse_private_key(registration: Registration, place: str) -> None:
    """A mistake at the sender must not put a secret into the ledger."""
    shown = {"certificate": registration.certificate, "voucher": registration.voucher}
    if registration.attestation is not None:
        shown["attestation.ek_certificate"] = registration.attestation.ek_certificate
    for field, text in (*shown.items(), *((f"facts.{name}", text) for name, text in _texts(registration.facts))):
        if "PRIVATE KEY" in text:
            remedy = "Send certificates alone, and give the device a new key: this one has been shown"
            raise InvalidInput("A private key stands here", field=place + field, remedy=remedy)


def _check_facts(facts: DeviceFacts, place: str) -> None:
    """Facts go into logs, tables and labels: as plain text of a length that fits."""
    for name, text in _texts(facts):
        if _CONTROL.search(text):
            raise _invalid("A fact has control characters", place + name, text)
        if len(text) > MAX_FACT:
            raise _invalid(f"A fact has more than {MAX_FACT} characters", place + name, text)


def _texts(facts: DeviceFacts) -> Iterator[tuple[str, str]]:
    """Each text of the facts, with its field."""
    for name, value in facts:
        if isinstance(value, str):
            yield name, value
    for word, value in facts.hardware.items():
        yield "hardware", word
        yield f"hardware.{word[:64]}", value


_DEVICE_ID: TypeAdapter[str] = TypeAdapter(DeviceId)


def _azure_device(event: IncomingEvent, kind: EventType, place: str) -> str:
    if kind is EventType.DEVICE_TELEMETRY:
        field = "data.systemProperties.iothub-connection-device-id"
        properties = event.data.get("systemProperties")
        found = properties.get("iothub-connection-device-id") if isinstance(properties, dict) else None
    else:
        field, found = "data.deviceId", event.data.get("deviceId")
    try:
        return _DEVICE_ID.validate_python(found)
    except ValidationError as error:
        raise _invalid("This is no device id", place + field, found) from error


def _incoming(fields: dict[str, Any], place: str) -> IncomingEvent:
    for name in ("id", "source", "type", "subject"):
        if isinstance(fields[name], str) and _CONTROL.search(fields[name]):
            raise _invalid("A field has control characters", place + name, fields[name])
    try:
        return IncomingEvent.model_validate(fields)
    except ValidationError as error:
        raise _first_fault(error, place) from error


def _data(attributes: Mapping[str, Any], place: str) -> dict[str, Any]:
    data = attributes.get("data")
    if data is None and "data_base64" in attributes:
        data = _decoded(attributes["data_base64"], place)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise _invalid("The event's data must be a JSON object", f"{place}data", data)
    return cast("dict[str, Any]", data)


def _decoded(text: object, place: str) -> object:
    try:
        return orjson.loads(base64.b64decode(str(text), validate=True))
    except (binascii.Error, ValueError) as error:
        raise _invalid("This is no base64 of JSON", f"{place}data_base64", text) from error


def _time(text: object, field: str, received_at: datetime) -> datetime:
    """An RFC 3339 time as UTC. Digits after microseconds, as Azure sends, are cut off."""
    try:
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", str(text).strip().upper()))
    except ValueError as error:
        raise _invalid("This is no RFC 3339 time", field, text) from error
    if found.tzinfo is None:
        raise _invalid("The time lacks its offset from UTC", field, text)
    if not EARLIEST <= found <= received_at + MAX_AHEAD:
        raise _invalid("The event's time lies in the future or too far back", field, text, "Set the sender's clock")
    return found.astimezone(UTC)


def _first_fault(error: ValidationError, place: str) -> InvalidInput:
    fault: Any = error.errors(include_url=False, include_context=False)[0]
    return _invalid(fault["msg"], place + ".".join(str(part) for part in fault["loc"]), fault.get("input"))


def _invalid(what: str, field: str, value: object, remedy: str = "") -> InvalidInput:
    """Values are shortened: an error goes back to the sender and into logs."""
    return InvalidInput(what, field=field, value=str(value)[:200], remedy=remedy)
