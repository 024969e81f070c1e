"""Devices: one row each, and what else was claimed under their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import select, update

from edge.errors import IdentityRefused, NotFound, WriteConflict
from edge.ledger.registering import Incoming, change, claims_of, device_of, drop_claims, register, row_of
from edge.ledger.sites import ensure_tenant, site_of
from edge.ledger.store import Book
from edge.ledger.tables import claims, devices
from edge.ledger.writer import Transaction
from edge.model.device import Device, DeviceClaim, DeviceState, Origin, Registration
from edge.model.site import Tenant


class Devices(Book):
    """Where each device is in its life."""

    def register(
        self,
        registration: Registration,
        *,
        at: datetime,
        received_at: datetime | None = None,
        via: Origin = Origin.EVENT,
    ) -> Device:
        """Store a registration that was made `at`; answers the device as it is on record afterwards.

        A device that is new starts as REGISTERED. The same device (the same key, see `claim_key`) changes its
        certificate and its facts with a newer registration and nothing with an older one; its state stays. Another key
        never replaces the one on record: it is kept among the `claims`, and the answer still has the registration of
        the first key. Only the holder of a key replaces who named it without a proof, at once and whatever the times.
        A quarantined device that is heard of anew starts as REGISTERED again: what was wrong may be mended.

        A proof that holds answers its challenge in the same transaction, as of `received_at`; the first answer sticks.
        """
        given = Incoming.of(registration, at=at, received_at=received_at or at, via=via)
        return self._store.write(partial(register, given))

    def get(self, device_id: str) -> Device:
        """Raises NotFound."""
        with self._store.read() as connection:
            return device_of(row_of(connection, device_id))

    def list(
        self,
        *,
        state: DeviceState | None = None,
        tenant: str | None = None,
        site: str | None = None,
        states: Sequence[DeviceState] | None = None,
    ) -> tuple[Device, ...]:
        """The devices that match all that is given, by id. `states`: in any of these."""
        wanted = select(devices).order_by(devices.c.device_id)
        for column, value in (("state", state), ("tenant", tenant), ("site", site)):
            if value is not None:
                wanted = wanted.where(devices.c[column] == value)
        if states is not None:
            wanted = wanted.where(devices.c.state.in_(states))
        with self._store.read() as connection:
            return tuple(device_of(row) for row in connection.execute(wanted).mappings())

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

    def begin_anew(self, device_id: str, *, reason: str, generation: int | None = None) -> Device:
        """Begin another life of the device: as REGISTERED, at the same site and tenant.

        Name the `generation` that ends to be able to repeat it: a device that is beyond it stays as it is. Raises
        NotFound, and WriteConflict for a device that is leaving or has left.
        """
        return self._store.write(lambda txn: _begin_anew(txn, device_id, reason, generation))

    def release(self, device_id: str, *, state: DeviceState, reason: str = "", ends: int | None = None) -> Device:
        """Move the device to a state in which it belongs to no site and no tenant. Raises NotFound.

        `ends` is the generation that ends with that: what was proven in it counts in no later one. A device that is
        beyond it keeps its generation.
        """
        return self._store.write(lambda txn: _release(txn, device_id, (state, reason), ends))

    def renew(
        self, device_id: str, registration: Registration, *, at: datetime, instead_of: str | None = None
    ) -> Device:
        """Replace certificate, key and facts of a device, whose state stays: the caller has checked who it is.

        What the new key claimed is settled with that. `instead_of` is the key on whose word it was checked. Raises
        NotFound, and WriteConflict when another is on record by now, or the device is leaving or has left.
        """
        given = Incoming.of(registration, at=at, received_at=at, via=Origin.EVENT)
        return self._store.write(lambda txn: _renew(txn, device_id, given, instead_of))

    def touch(self, device_id: str, at: datetime) -> bool:
        """Note that the device was heard of `at`; an older time than the one on record changes nothing.

        Answers whether the device is known at all.
        """
        return self._store.write(lambda txn: _touch(txn, device_id, at))

    def claims(self, device_id: str) -> tuple[DeviceClaim, ...]:
        """What was registered under this id with another key, oldest first."""
        with self._store.read() as connection:
            return claims_of(connection, device_id)

    def adopt(self, device_id: str, key: str) -> Device:
        """Make a claim the registration on record, and the one on record a claim; the device starts as REGISTERED.

        For the day a person or a check says that the other key is the true one. Raises NotFound when nobody claimed it,
        IdentityRefused when the device is connected (it is first decommissioned) or on its way out.
        """
        return self._store.write(lambda txn: _adopt(txn, device_id, key))


def _move(txn: Transaction, device_id: str, given: Mapping[str, Any], expected: Sequence[DeviceState] | None) -> Device:
    device = device_of(row_of(txn.connection, device_id, locked=True))
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
    return change(txn, device_id, changes)


def _touch(txn: Transaction, device_id: str, at: datetime) -> bool:
    try:
        device = device_of(row_of(txn.connection, device_id, locked=True))
    except NotFound:
        return False
    if device.last_contact is None or device.last_contact < at:
        change(txn, device_id, {"last_contact": at})
    return True


def _adopt(txn: Transaction, device_id: str, key: str) -> Device:
    row = row_of(txn.connection, device_id, locked=True)
    device = device_of(row)
    claim = next((claim for claim in claims_of(txn.connection, device_id) if claim.key == key), None)
    if claim is None:
        raise NotFound("Nobody claimed this key", device=device_id, key=key)
    if device.state is DeviceState.CONNECTED:
        raise IdentityRefused("A connected device keeps its key", device=device_id)
    if device.state is DeviceState.DECOMMISSIONING:
        remedy = "Finish it first: `edge device decommission`"
        raise IdentityRefused("The device is being decommissioned", remedy=remedy, device=device_id)
    same = (claims.c.device_id == device_id, claims.c.key == key)
    old = {"key": row["key"], "registration": row["registration"], "via": row["via"]}
    txn.connection.execute(
        update(claims).where(*same).values(**old, first_at=device.registered_at, last_at=device.registered_at)
    )
    txn.audit("device.adopted", device_id, {"key": key, "instead_of": row["key"]})
    sent = claim.registration.model_dump(mode="json", exclude_unset=True)
    changes = {"key": key, "registration": sent, "via": claim.via, "registered_at": claim.last_at}
    return change(txn, device_id, {**changes, "state": DeviceState.REGISTERED, "reason": ""})


def _begin_anew(txn: Transaction, device_id: str, reason: str, generation: int | None) -> Device:
    device = device_of(row_of(txn.connection, device_id, locked=True))
    if generation is not None and device.generation > generation:
        return device
    _refuse_leaving(device)
    beyond = device.generation + 1
    txn.audit("device.begun-anew", device_id, {"from": device.state, "generation": beyond, "reason": reason})
    return change(txn, device_id, {"state": DeviceState.REGISTERED, "reason": "", "generation": beyond})


def _release(txn: Transaction, device_id: str, moved: tuple[DeviceState, str], ends: int | None) -> Device:
    device, (state, reason) = device_of(row_of(txn.connection, device_id, locked=True)), moved
    generation = device.generation + 1 if device.generation == ends else device.generation
    changes = {"state": state, "reason": reason, "site": None, "tenant": None, "generation": generation}
    if device.model_copy(update=changes) == device:
        return device
    left = {"site": device.site or "", "tenant": device.tenant or ""}
    txn.audit("device.released", device_id, {"from": device.state, "state": state, "reason": reason, **left})
    return change(txn, device_id, changes)


def _renew(txn: Transaction, device_id: str, given: Incoming, instead_of: str | None) -> Device:
    row = row_of(txn.connection, device_id, locked=True)
    same = (row["key"], device_of(row).registration) == (given.key, given.registration)
    if same:
        return device_of(row)
    _refuse_leaving(device_of(row))
    if instead_of not in {None, row["key"]}:
        raise WriteConflict("The device has another key by now", device=device_id, key=row["key"], expected=instead_of)
    txn.audit("device.renewed", device_id, {"key": given.key, "instead_of": row["key"]})
    drop_claims(txn, device_id, given.key)
    kept = {"via": row["via"]}
    return change(txn, device_id, {**given.stored, **kept, "registered_at": given.at})


def _refuse_leaving(device: Device) -> None:
    """Whoever looked before the device began to leave must look again."""
    if device.state in {DeviceState.DECOMMISSIONING, DeviceState.DECOMMISSIONED}:
        raise WriteConflict("The device is leaving or has left", device=device.device_id, state=device.state)
