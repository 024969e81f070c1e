"""Reservations: the site of a broken device, kept for the one that replaces it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from edge.errors import LedgerMismatch, NotFound
from edge.ledger.store import Book
from edge.ledger.tables import reservations, sites
from edge.ledger.writer import Transaction
from edge.model.device import Reservation


class Reservations(Book):
    """At most one for each device, and at most one open for each site."""

    def put(self, reservation: Reservation) -> Reservation:
        """Keep the site for the device; what was kept for the device before is replaced.

        Raises NotFound for a site that is not known, LedgerMismatch while the site is kept for another device.
        """
        return self._store.write(lambda txn: _put(txn, reservation))

    def of(self, device_id: str) -> Reservation | None:
        """What is kept for the device; a reservation that was used is still there."""
        with self._store.read() as connection:
            return _find(connection, device_id)

    def use(self, device_id: str, *, at: datetime) -> Reservation:
        """The device took its place; one that was used keeps its time. Raises NotFound."""
        return self._store.write(lambda txn: _use(txn, device_id, at))

    def drop(self, device_id: str) -> bool:
        """Keep nothing for the device any more; answers whether there was something."""
        return self._store.write(lambda txn: _drop(txn, device_id))


def _find(connection: Connection, device_id: str) -> Reservation | None:
    row = connection.execute(select(reservations).where(reservations.c.device_id == device_id)).mappings().one_or_none()
    return None if row is None else Reservation.model_validate(dict(row))


def _put(txn: Transaction, given: Reservation) -> Reservation:
    # The site's row is locked, so that two reservations of it come one after the other.
    site = select(sites.c.name).where(sites.c.name == given.site).with_for_update()
    if txn.connection.execute(site).one_or_none() is None:
        raise NotFound("No such site", site=given.site)
    other = select(reservations.c.device_id).where(
        reservations.c.site == given.site,
        reservations.c.device_id != given.device_id,
        reservations.c.used_at.is_(None),
    )
    holder = txn.connection.execute(other).scalars().first()
    if holder is not None:
        remedy = "Drop that reservation first"
        raise LedgerMismatch("The site is kept for another device", remedy=remedy, site=given.site, device=holder)
    known = _find(txn.connection, given.device_id)
    if known == given:
        return known
    txn.connection.execute(delete(reservations).where(reservations.c.device_id == given.device_id))
    txn.connection.execute(insert(reservations), given.model_dump())
    txn.audit("reservation.made", given.device_id, {"site": given.site, "replaces": given.replaces})
    return given


def _use(txn: Transaction, device_id: str, at: datetime) -> Reservation:
    known = _find(txn.connection, device_id)
    if known is None:
        raise NotFound("Nothing is reserved for the device", device=device_id)
    if known.used_at is not None:
        return known
    txn.connection.execute(update(reservations).where(reservations.c.device_id == device_id).values(used_at=at))
    txn.audit("reservation.used", device_id, {"site": known.site, "replaces": known.replaces})
    return known.model_copy(update={"used_at": at})


def _drop(txn: Transaction, device_id: str) -> bool:
    known = _find(txn.connection, device_id)
    if known is None:
        return False
    txn.connection.execute(delete(reservations).where(reservations.c.device_id == device_id))
    txn.audit("reservation.dropped", device_id, {"site": known.site, "replaces": known.replaces})
    return True
