"""Ownerships: which tenant a serial number belongs to, and which device came in on that."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from edge.errors import IdentityRefused, LedgerMismatch, NotFound
from edge.ledger.sites import ensure_tenant
from edge.ledger.store import Book
from edge.ledger.tables import ownerships
from edge.ledger.writer import Transaction
from edge.model.admission import Ownership, OwnershipKind
from edge.model.identity import Refusal
from edge.model.site import Tenant

_LIVED = {"used_by", "used_generation", "used_at", "ended_at"}
"""What happens to an ownership after it was recorded."""


class Ownerships(Book):
    """Vouchers and rows of allow-lists. Each lets in one device, until it is ended."""

    def record(self, ownership: Ownership) -> Ownership:
        """Keep it, and its tenant if that is new; answers what is on record: a use or an end is never taken back.

        The same again changes nothing; a row of a list is the same whenever the list is read. Raises LedgerMismatch
        when something else is on record under the id.
        """
        return self._store.write(lambda txn: _record(txn, ownership))

    def get(self, ownership_id: str) -> Ownership:
        """Raises NotFound."""
        with self._store.read() as connection:
            return _ownership(_row(connection, ownership_id))

    def of_serial(self, serial: str) -> tuple[Ownership, ...]:
        """Every ownership of a serial number, oldest first; ended ones too."""
        return self.list(serial=serial)

    def list(self, *, tenant: str | None = None, serial: str | None = None) -> tuple[Ownership, ...]:
        """The ownerships that match all that is given, oldest first."""
        wanted = select(ownerships).order_by(ownerships.c.created_at, ownerships.c.ownership_id)
        for column, value in (("tenant", tenant), ("serial", serial)):
            if value is not None:
                wanted = wanted.where(ownerships.c[column] == value)
        with self._store.read() as connection:
            return tuple(_ownership(row) for row in connection.execute(wanted).mappings())

    def use(self, ownership_id: str, *, device_id: str, generation: int, at: datetime) -> Ownership:
        """A device comes in on it, also in a later life of its own; once more for the same life changes nothing.

        Of two that use it at the same time, in whatever process, one wins. Raises NotFound, or IdentityRefused with the
        reason `voucher-used` (another device) or `not-owned` (it was ended).
        """
        used = {"used_by": device_id, "used_generation": generation, "used_at": at}
        return self._store.write(lambda txn: _use(txn, ownership_id, used))

    def end(self, ownership_id: str, *, at: datetime) -> Ownership:
        """Withdraw it: from now on it lets nobody in. One that is ended keeps its time. Raises NotFound."""

        def write(txn: Transaction) -> Ownership:
            known = _row(txn.connection, ownership_id, locked=True)
            return _ownership(known) if known["ended_at"] else _end(txn, known, at)

        return self._store.write(write)

    def end_for_device(self, device_id: str, *, at: datetime) -> int:
        """End everything that a device came in on; answers how many there were."""
        open_ones = select(ownerships).where(ownerships.c.used_by == device_id, ownerships.c.ended_at.is_(None))

        def write(txn: Transaction) -> int:
            rows = txn.connection.execute(open_ones.with_for_update()).mappings().all()
            return len([_end(txn, row, at) for row in rows])

        return self._store.write(write)


def _row(connection: Connection, ownership_id: str, *, locked: bool = False) -> RowMapping:
    wanted = select(ownerships).where(ownerships.c.ownership_id == ownership_id)
    row = connection.execute(wanted.with_for_update() if locked else wanted).mappings().one_or_none()
    if row is None:
        raise NotFound("No such ownership is recorded", ownership=ownership_id)
    return row


def _ownership(row: RowMapping) -> Ownership:
    return Ownership.model_validate(dict(row))


def _record(txn: Transaction, given: Ownership) -> Ownership:
    ensure_tenant(txn, Tenant(name=given.tenant))
    try:
        known = _ownership(_row(txn.connection, given.ownership_id))
    except NotFound:
        txn.connection.execute(insert(ownerships), given.model_dump())
        detail = {"serial": given.serial, "tenant": given.tenant, "kind": given.kind, "issuer": given.issuer}
        txn.audit("ownership.recorded", given.ownership_id, detail)
        return given
    if _content(known) != _content(given):
        raise LedgerMismatch(
            "Another ownership is recorded under this id",
            remedy="Check who made it; give a changed list a new name",
            ownership=given.ownership_id,
            serial=known.serial,
        )
    return known


def _content(ownership: Ownership) -> dict[str, Any]:
    read_anew = {"created_at"} if ownership.kind is OwnershipKind.LIST else set()
    return ownership.model_dump(exclude=_LIVED | read_anew)


def _use(txn: Transaction, ownership_id: str, used: dict[str, Any]) -> Ownership:
    known = _ownership(_row(txn.connection, ownership_id, locked=True))
    if (known.used_by, known.used_generation) == (used["used_by"], used["used_generation"]):
        return known
    where = {"ownership": ownership_id, "serial": known.serial, "device": used["used_by"]}
    if known.used_by not in {None, used["used_by"]}:
        what = f"It let in {known.used_by}"
        raise IdentityRefused(
            what, remedy="Ask the owner for a new voucher", reason=Refusal.VOUCHER_USED.value, **where
        )
    if known.ended_at is not None:
        what = "The ownership was ended"
        raise IdentityRefused(what, remedy="Record a new one", reason=Refusal.NOT_OWNED.value, **where)
    this = ownerships.c.ownership_id == ownership_id
    txn.connection.execute(update(ownerships).where(this).values(**used))
    txn.audit("ownership.used", ownership_id, {"device": used["used_by"], "generation": used["used_generation"]})
    return known.model_copy(update=used)


def _end(txn: Transaction, known: RowMapping, at: datetime) -> Ownership:
    this = ownerships.c.ownership_id == known["ownership_id"]
    txn.connection.execute(update(ownerships).where(this).values(ended_at=at))
    txn.audit("ownership.ended", known["ownership_id"], {"serial": known["serial"], "device": known["used_by"] or ""})
    return _ownership(known).model_copy(update={"ended_at": at})
