"""Devices: one row each, and what else was claimed under their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from edge.errors import IdentityRefused, NotFound, WriteConflict
from edge.ledger.sites import ensure_tenant, site_of
from edge.ledger.store import Book
from edge.ledger.tables import claims, devices
from edge.ledger.writer import Transaction
from edge.model.device import Device, DeviceClaim, DeviceState, Registration
from edge.model.site import Tenant
from edge.policy.identity import key_fingerprint


class Devices(Book):
    """Where each device is in its life."""

    def register(self, registration: Registration, *, at: datetime) -> Device:
        """Store a registration that was made `at`; answers the device as it is on record afterwards.

        A device that is new starts as REGISTERED. The same device (the same public key) changes its certificate and its
        facts with a newer registration and nothing with an older one; its state stays. Another key never replaces the
        one on record: it is kept among the `claims`, and the answer still has the registration of the first key.
        A quarantined device that is heard of anew starts as REGISTERED again: what was wrong may be mended.
        """
        return self._store.write(partial(_register, registration, at))

    def get(self, device_id: str) -> Device:
        """Raises NotFound."""
        with self._store.read() as connection:
            return _device(_row(connection, device_id))

    def list(
        self, *, state: DeviceState | None = None, tenant: str | None = None, site: str | None = None
    ) -> tuple[Device, ...]:
        """The devices that match all that is given, by id."""
        wanted = select(devices).order_by(devices.c.device_id)
        for column, value in (("state", state), ("tenant", tenant), ("site", site)):
            if value is not None:
                wanted = wanted.where(devices.c[column] == value)
        with self._store.read() as connection:
            return tuple(_device(row) for row in connection.execute(wanted).mappings())

    def of_site(self, site: str) -> Device | None:
        """The device that the site belongs to; the first by id if there are several."""
        found = self.list(site=site)
        return found[0] if found else None

    def move(  # noqa: PLR0913 - the state and what goes with it change in one act
        self,
        device_id: str,
        state: DeviceState,
        *,
        reason: str = "",
        site: str | None = None,
        tenant: str | None = None,
        expected: Sequence[DeviceState] | None = None,
    ) -> Device:
        """Move a device to a state. `reason` replaces the old one; a site or tenant that is None stays.

        With `expected` the device must be in one of these states, or WriteConflict is raised. The comparison and the
        change are one act, also between processes. Raises NotFound for a device or a site that is not known.
        """
        changes = {"state": state, "reason": reason, "site": site, "tenant": tenant}
        given = {field: value for field, value in changes.items() if value is not None}
        return self._store.write(lambda txn: _move(txn, device_id, given, expected))

    def touch(self, device_id: str, at: datetime) -> bool:
        """Note that the device was heard of `at`; an older time than the one on record changes nothing.

        Answers whether the device is known at all.
        """
        return self._store.write(lambda txn: _touch(txn, device_id, at))

    def claims(self, device_id: str) -> tuple[DeviceClaim, ...]:
        """What was registered under this id with another key, oldest first."""
        with self._store.read() as connection:
            return _claims(connection, device_id)

    def adopt(self, device_id: str, key: str) -> Device:
        """Make a claim the registration on record, and the one on record a claim; the device starts as REGISTERED.

        For the day a person or a check says that the other key is the true one. Raises NotFound when nobody claimed it,
        IdentityRefused when the device is connected: it is first decommissioned.
        """
        return self._store.write(lambda txn: _adopt(txn, device_id, key))


def _key_of(registration: Registration) -> str:
    try:
        return key_fingerprint(registration)
    except IdentityRefused:
        return f"unreadable:{sha256(registration.certificate.encode()).hexdigest()}"


def _row(connection: Connection, device_id: str, *, locked: bool = False) -> RowMapping:
    wanted = select(devices).where(devices.c.device_id == device_id)
    row = connection.execute(wanted.with_for_update() if locked else wanted).mappings().one_or_none()
    if row is None:
        raise NotFound("No such device", device=device_id)
    return row


def _device(row: RowMapping) -> Device:
    return Device.model_validate({column: value for column, value in row.items() if column != "key"})


def _change(txn: Transaction, device_id: str, changes: Mapping[str, Any]) -> Device:
    if not changes:
        return _device(_row(txn.connection, device_id))
    txn.connection.execute(update(devices).where(devices.c.device_id == device_id).values(**changes))
    return _device(_row(txn.connection, device_id))


def _register(registration: Registration, at: datetime, txn: Transaction) -> Device:
    key = _key_of(registration)
    try:
        known = _row(txn.connection, registration.device_id, locked=True)
    except NotFound:
        return _add(txn, registration, key, at)
    device = _device(known)
    if known["key"] != key:
        anew = _claim(txn, registration, key, at) and at > device.registered_at
        return _change(txn, device.device_id, _reopened(txn, device)) if anew else device
    if at <= device.registered_at:
        return device
    changes = {"registration": registration.model_dump(), "registered_at": at, **_reopened(txn, device)}
    if device.registration != registration:
        txn.audit("device.registered-again", device.device_id, {"key": key})
    return _change(txn, device.device_id, changes)


def _add(txn: Transaction, registration: Registration, key: str, at: datetime) -> Device:
    row = {
        "device_id": registration.device_id,
        "state": DeviceState.REGISTERED,
        "registration": registration.model_dump(),
        "key": key,
        "registered_at": at,
        "reason": "",
    }
    txn.connection.execute(insert(devices), row)
    txn.audit("device.registered", registration.device_id, {"key": key, "serial": registration.facts.serial})
    return _device(_row(txn.connection, registration.device_id))


def _reopened(txn: Transaction, device: Device) -> dict[str, Any]:
    """What changes of a quarantined device that is to be looked at again; nothing of another."""
    if device.state is not DeviceState.QUARANTINED:
        return {}
    txn.audit("device.moved", device.device_id, {"from": device.state, "state": DeviceState.REGISTERED})
    return {"state": DeviceState.REGISTERED, "reason": ""}


def _claim(txn: Transaction, registration: Registration, key: str, at: datetime) -> bool:
    """Remember the claim; answers whether it says anything new."""
    device_id = registration.device_id
    for claim in _claims(txn.connection, device_id):
        if claim.key == key:
            if at <= claim.last_at:
                return False
            same = (claims.c.device_id == device_id, claims.c.key == key)
            newest = {"registration": registration.model_dump(), "last_at": at}
            txn.connection.execute(update(claims).where(*same).values(**newest))
            return True
    row = {"device_id": device_id, "key": key, "registration": registration.model_dump(), "first_at": at, "last_at": at}
    txn.connection.execute(insert(claims), row)
    txn.audit("device.claimed", device_id, {"key": key})
    return True


def _claims(connection: Connection, device_id: str) -> tuple[DeviceClaim, ...]:
    wanted = select(claims).where(claims.c.device_id == device_id).order_by(claims.c.first_at, claims.c.key)
    return tuple(DeviceClaim.model_validate(dict(row)) for row in connection.execute(wanted).mappings())


def _move(txn: Transaction, device_id: str, given: Mapping[str, Any], expected: Sequence[DeviceState] | None) -> Device:
    device = _device(_row(txn.connection, device_id, locked=True))
    if expected is not None and device.state not in expected:
        wanted = " or ".join(expected)
        raise WriteConflict("The device is in another state", device=device_id, state=device.state, expected=wanted)
    before = device.model_dump()
    changes = {field: value for field, value in given.items() if value != before[field]}
    if not changes:
        return device
    if "tenant" in changes:
        ensure_tenant(txn, Tenant(name=changes["tenant"]))
    if "site" in changes:
        site_of(txn.connection, changes["site"])
    txn.audit("device.moved", device_id, {"from": device.state, "state": device.state, **changes})
    return _change(txn, device_id, changes)


def _touch(txn: Transaction, device_id: str, at: datetime) -> bool:
    try:
        device = _device(_row(txn.connection, device_id, locked=True))
    except NotFound:
        return False
    if device.last_contact is None or device.last_contact < at:
        _change(txn, device_id, {"last_contact": at})
    return True


def _adopt(txn: Transaction, device_id: str, key: str) -> Device:
    row = _row(txn.connection, device_id, locked=True)
    device = _device(row)
    claim = next((claim for claim in _claims(txn.connection, device_id) if claim.key == key), None)
    if claim is None:
        raise NotFound("Nobody claimed this key", device=device_id, key=key)
    if device.state is DeviceState.CONNECTED:
        raise IdentityRefused("A connected device keeps its key", device=device_id)
    same = (claims.c.device_id == device_id, claims.c.key == key)
    old = {"key": row["key"], "registration": row["registration"], "first_at": device.registered_at}
    txn.connection.execute(update(claims).where(*same).values(**old, last_at=device.registered_at))
    txn.audit("device.adopted", device_id, {"key": key, "instead_of": row["key"]})
    changes = {"key": key, "registration": claim.registration.model_dump(), "registered_at": claim.last_at}
    return _change(txn, device_id, {**changes, "state": DeviceState.REGISTERED, "reason": ""})
