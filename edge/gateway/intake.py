"""Stores what arrived. When `take_in` returns, everything is in the ledger, and the sender may forget it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from edge.errors import InvalidInput
from edge.gateway.refusal import Reason, Refused
from edge.ledger import Ledger
from edge.model.base import Value
from edge.model.event import EventState, IncomingEvent
from edge.policy.event import Arrival, EventType, understand


class Receipt(Value):
    """What became of the events of one request. `fresh` registrations are those that somebody has to act on."""

    accepted: int
    duplicate: int
    superseded: int
    fresh: int


def understand_all(events: Sequence[IncomingEvent]) -> list[Arrival]:
    """What the events mean. Raises Refused when the platform cannot act on one of them; then none is stored."""
    try:
        return [understand(event, place=f"[{index}]." if len(events) > 1 else "") for index, event in enumerate(events)]
    except InvalidInput as error:
        raise Refused(Reason.UNUSABLE, error) from error


def take_in(ledger: Ledger, arrivals: Sequence[Arrival], *, at: datetime) -> Receipt:
    """Store the events, then do what they say; raises the ledger's errors.

    All or none of the events are stored. Telemetry is not kept, since it can be much: it only moves the time of the
    device's last contact. What an event says is done also when it was there before, because the gateway may have died
    in between; that changes nothing otherwise.
    """
    kept = [arrival for arrival in arrivals if arrival.type is not EventType.DEVICE_TELEMETRY]
    new = ledger.inbox.add([arrival.event for arrival in kept], at=at) if kept else []
    to_send = settle(ledger, arrivals)
    first_time = [arrival for arrival, is_new in zip(kept, new, strict=True) if is_new]
    registrations = [arrival for arrival in first_time if arrival.registration is not None]
    fresh = [arrival for arrival in registrations if arrival in to_send]
    duplicate = new.count(False)
    return Receipt(
        accepted=len(arrivals) - duplicate,
        duplicate=duplicate,
        superseded=len(registrations) - len(fresh),
        fresh=len(fresh),
    )


def settle(ledger: Ledger, arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Register devices, note contacts, and close the events that need no more; answers the ones to pass on.

    Safe to repeat, also for events that were closed long ago.
    """
    to_send = []
    closed: dict[EventState, list[Arrival]] = {EventState.HANDLED: [], EventState.SUPERSEDED: []}
    for arrival in arrivals:
        if arrival.is_contact:  # of a device that never registered nothing is remembered
            ledger.devices.touch(arrival.device_id, arrival.event.time)
        if arrival.registration is None:
            closed[EventState.HANDLED].append(arrival)
        elif ledger.devices.register(arrival.registration, at=arrival.event.time).registered_at > arrival.event.time:
            closed[EventState.SUPERSEDED].append(arrival)
        else:
            to_send.append(arrival)
    for state, done in closed.items():
        keys = [(arrival.event.source, arrival.event.id) for arrival in done]
        if keys:
            ledger.inbox.mark_handled(keys, state)
    return to_send
