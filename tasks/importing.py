"""The acts of an import: what of a file is new to the ledger, and putting it there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import uuid4

from edge.errors import NotFound
from edge.ledger import Ledger
from edge.model.base import Value
from edge.model.bulk import BadRow, ImportedDevice
from edge.model.device import Device, DeviceState, Origin
from edge.model.event import EventKey, IncomingEvent
from edge.policy.event import EventType

SOURCE = "/import"
_UNFINISHED = (DeviceState.REGISTERED, DeviceState.ONBOARDING)


class Import(Value):
    """What an import has put into the ledger, under the name by which it holds its registrations.

    `fresh` maps a device that is to be onboarded to its event; `known` are those that were there before, just so.
    """

    name: str
    fresh: dict[str, EventKey]
    known: tuple[str, ...]


def contradictions(ledger: Ledger, rows: Iterable[ImportedDevice]) -> tuple[BadRow, ...]:
    """Rows that give a device to another tenant than an owner on record."""
    found = []
    for row in rows:
        if row.ownership is None:
            continue
        owners = [one for one in ledger.ownerships.of_serial(row.ownership.serial) if one.ended_at is None]
        others = sorted({one.tenant for one in owners} - {row.ownership.tenant})
        if others:
            fault = f"The device belongs to {', '.join(others)}"
            device = row.registration.device_id
            found.append(
                BadRow(line=row.line, field="tenant", value=row.ownership.tenant, fault=fault, device_id=device)
            )
    return tuple(found)


def store_import(ledger: Ledger, rows: Sequence[ImportedDevice], *, at: datetime) -> Import:
    """Put the rows into the ledger: registrations with their events, owners, and the operator's own knowledge.

    What is there already in the same words changes nothing; when its onboarding has not ended, it goes on. The events
    are held by the import, which passes them on at its own pace: it must renew them.
    """
    name = f"import:{uuid4()}"
    events: list[IncomingEvent] = []
    known = []
    for row in rows:
        _store_beside(ledger, row)
        device, is_new = _register(ledger, row, at)
        if is_new or device.state in _UNFINISHED:
            events.append(_event(row, at))
        else:
            known.append(device.device_id)
    ledger.inbox.keep(events, at=at, via=Origin.IMPORT, batch=name, by=name)
    fresh = {str(event.data["device_id"]): (event.source, event.id) for event in events}
    return Import(name=name, fresh=fresh, known=tuple(known))


def _store_beside(ledger: Ledger, row: ImportedDevice) -> None:
    """Owner and inventory, when the row tells them and they are not on record."""
    if row.ownership is not None:
        owners = [one for one in ledger.ownerships.of_serial(row.ownership.serial) if one.ended_at is None]
        if not owners:
            ledger.ownerships.record(row.ownership)
    if row.inventory is not None and ledger.inventory.get(row.inventory.device_id) != row.inventory:
        ledger.inventory.put(row.inventory)


def _register(ledger: Ledger, row: ImportedDevice, at: datetime) -> tuple[Device, bool]:
    """The device on record, and whether the row says anything new of it."""
    told = row.registration
    try:
        device = ledger.devices.get(told.device_id)
    except NotFound:
        return ledger.devices.register(told, at=at, via=Origin.IMPORT), True
    claims = [claim.registration for claim in ledger.devices.claims(told.device_id)]
    if told in (device.registration.model_copy(update={"proof": None}), *claims):
        return device, False
    return ledger.devices.register(told, at=at, via=Origin.IMPORT), True


def _event(row: ImportedDevice, at: datetime) -> IncomingEvent:
    """The registration as an event of its own, so that whoever finds it knows what to do."""
    return IncomingEvent(
        id=str(uuid4()),
        source=SOURCE,
        type=EventType.REGISTERED,
        subject=row.registration.device_id,
        time=at,
        data=row.registration.model_dump(mode="json", exclude_unset=True),
    )
