"""Stores what arrived. When `take_in` returns, everything is in the ledger, and the sender may forget it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from edge.errors import IdentityRefused, InvalidInput, NotFound
from edge.gateway.life import check_life, is_past, live
from edge.gateway.refusal import Reason, Refused
from edge.ledger import Ledger
from edge.model.admission import Trust
from edge.model.base import Value
from edge.model.device import DeviceState, Origin, Registration
from edge.model.event import EventState, IncomingEvent
from edge.policy.event import Arrival, EventType, understand

log = logging.getLogger("edge.gateway.intake")


class Receipt(Value):
    """What became of the events of one request. `fresh` registrations are those that somebody has to act on."""

    accepted: int
    duplicate: int
    superseded: int
    fresh: int

    def told(self) -> dict[str, int]:
        """What the sender is told."""
        return self.model_dump(exclude={"fresh"})


def understand_all(
    events: Sequence[IncomingEvent], *, at: datetime | None = None, via: Origin = Origin.EVENT
) -> list[Arrival]:
    """What the events mean that came in `at`. Raises Refused when the platform cannot act on one of them; then none is
    stored.
    """
    places = [f"[{index}]." if len(events) > 1 else "" for index in range(len(events))]
    try:
        return [
            understand(event, place=place, via=via, received_at=at) for event, place in zip(events, places, strict=True)
        ]
    except InvalidInput as error:
        raise Refused(Reason.UNUSABLE, error) from error


def take_in(
    ledger: Ledger,
    arrivals: Sequence[Arrival],
    *,
    at: datetime,
    via: Origin = Origin.EVENT,
    trust: Trust | None = None,
) -> Receipt:
    """Store the events, then do what they say; raises the ledger's errors, and Refused for a renewal or reset whose
    device does not prove it.

    All or none of the events are stored. Telemetry is not kept, since it can be much: it only moves the time of the
    device's last contact. What an event says is done also when it was there before, because the gateway may have died
    in between; that changes nothing otherwise. A registration that is on record, or on its way, in these very words is
    not passed on once more when it comes as another event: a storm of them is one onboarding.
    """
    _refuse_unproven(ledger, arrivals, at, trust)
    kept = [arrival for arrival in arrivals if arrival.type is not EventType.DEVICE_TELEMETRY]
    known = _repeats(ledger, kept)
    new = ledger.inbox.add([arrival.event for arrival in kept], at=at, via=via) if kept else []
    repeats = {arrival.key for arrival, was, is_new in zip(kept, known, new, strict=True) if was and is_new}
    ledger.inbox.mark_handled(repeats, EventState.SUPERSEDED)
    others = [arrival for arrival in arrivals if arrival.key not in repeats]
    to_send = {arrival.key for arrival in settle(ledger, others, trust=trust)}
    first_time = [arrival for arrival, is_new in zip(kept, new, strict=True) if is_new]
    registrations = [
        arrival for arrival in first_time if arrival.type is not EventType.RENEWED and arrival.registration
    ]
    fresh = [arrival for arrival in registrations if arrival.key in to_send]
    duplicate = new.count(False)
    return Receipt(
        accepted=len(arrivals) - duplicate,
        duplicate=duplicate,
        superseded=len(registrations) - len(fresh),
        fresh=len(fresh),
    )


def settle(ledger: Ledger, arrivals: Sequence[Arrival], *, trust: Trust | None = None) -> list[Arrival]:
    """Register devices, renew and reset them, note contacts, and close the events that need no more; answers the ones
    to pass on.

    Safe to repeat, also for events that were closed long ago.
    """
    to_send = []
    closed: dict[EventState, list[Arrival]] = {EventState.HANDLED: [], EventState.SUPERSEDED: []}
    for arrival in arrivals:
        state = _settled(ledger, arrival, trust)
        if state is None:
            to_send.append(arrival)
        else:
            closed[state].append(arrival)
    for state, done in closed.items():
        keys = [arrival.key for arrival in done]
        if keys:
            ledger.inbox.mark_handled(keys, state)
    return to_send


def _repeats(ledger: Ledger, arrivals: Sequence[Arrival]) -> list[bool]:
    """For each, whether its registration is on record already or came before in this request.

    One that is newer than what is on record counts as a repeat only while nothing is to be mended: a device that was
    refused, or failed, may ask again in the same words.
    """
    asked: dict[str, Registration] = {}
    return [_is_repeat(ledger, arrival, asked) for arrival in arrivals]


def _is_repeat(ledger: Ledger, arrival: Arrival, asked: dict[str, Registration]) -> bool:
    if arrival.type is not EventType.REGISTERED or arrival.registration is None:
        return False
    if asked.get(arrival.device_id) == arrival.registration:
        return True
    asked[arrival.device_id] = arrival.registration
    try:
        device = ledger.devices.get(arrival.device_id)
    except NotFound:
        return False
    if device.registration == arrival.registration:
        on_its_way = device.state in {DeviceState.ONBOARDING, DeviceState.CONNECTED}
        return on_its_way or arrival.event.time <= device.registered_at
    claims = ledger.devices.claims(arrival.device_id)
    return any(claim.registration == arrival.registration and arrival.event.time <= claim.last_at for claim in claims)


def _settled(ledger: Ledger, arrival: Arrival, trust: Trust | None) -> EventState | None:
    """Do what one event says; answers how it is closed, or None when a run has to act on it."""
    if arrival.is_contact:  # of a device that never registered nothing is remembered
        ledger.devices.touch(arrival.device_id, arrival.event.time)
    if arrival.registration is None:
        return EventState.HANDLED
    try:
        live(ledger, arrival, trust=trust)
        if is_past(ledger, arrival.registration):
            return EventState.SUPERSEDED
    except (IdentityRefused, NotFound) as error:  # it was refused at the door, but for what has changed since
        log.warning("An event is laid aside: type %s, id %r, %s", arrival.type, arrival.event.id, error)
        return EventState.HANDLED
    device = ledger.devices.register(
        arrival.registration, at=arrival.event.time, received_at=arrival.received_at, via=arrival.via
    )
    if arrival.type is EventType.RENEWED:
        return EventState.HANDLED
    return EventState.SUPERSEDED if device.registered_at > arrival.event.time else None


def _refuse_unproven(ledger: Ledger, arrivals: Sequence[Arrival], at: datetime, trust: Trust | None) -> None:
    for arrival in arrivals:
        try:
            check_life(ledger, arrival, now=at, trust=trust)
        except (IdentityRefused, NotFound) as error:
            raise Refused(Reason.IDENTITY, error) from error
