"""Stamps: every version that was ever used, with its files."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from edge.errors import LedgerMismatch, NotFound
from edge.ledger.store import Book
from edge.ledger.tables import stamps
from edge.ledger.writer import Transaction
from edge.model.stamp import Stamp


class Stamps(Book):
    """A version is recorded once; its content never changes after that."""

    def record(self, stamp: Stamp) -> Stamp:
        """Keep this version. The same again changes nothing; another content raises LedgerMismatch."""
        return self._store.write(lambda txn: _record(txn, stamp))

    def get(self, name: str, version: str) -> Stamp:
        """Raises NotFound."""
        with self._store.read() as connection:
            found = _find(connection, name, version)
        if found is None:
            raise NotFound("No such stamp is recorded", stamp=name, version=version)
        return found

    def list(self, name: str | None = None) -> tuple[Stamp, ...]:
        """All versions, or those of one stamp, in the order in which they were recorded."""
        wanted = select(stamps.c.content).order_by(stamps.c.name, stamps.c.recorded_at, stamps.c.version)
        if name is not None:
            wanted = wanted.where(stamps.c.name == name)
        with self._store.read() as connection:
            return tuple(Stamp.model_validate(content) for content in connection.execute(wanted).scalars())


def _find(connection: Connection, name: str, version: str) -> Stamp | None:
    wanted = select(stamps.c.content).where(stamps.c.name == name, stamps.c.version == version)
    content = connection.execute(wanted).scalar_one_or_none()
    return None if content is None else Stamp.model_validate(content)


def _record(txn: Transaction, stamp: Stamp) -> Stamp:
    known = _find(txn.connection, stamp.name, stamp.version)
    if known is None:
        row = {
            "name": stamp.name,
            "version": stamp.version,
            "digest": stamp.digest,
            "content": stamp.model_dump(mode="json"),
        }
        txn.connection.execute(insert(stamps), {**row, "recorded_at": txn.at})
        txn.audit("stamp.recorded", f"{stamp.name}@{stamp.version}", {"digest": stamp.digest})
        return stamp
    if known.digest != stamp.digest:
        raise LedgerMismatch(
            "This version of the stamp is recorded with another content",
            remedy="Give the changed stamp a new version",
            stamp=stamp.name,
            version=stamp.version,
            recorded=known.digest,
            given=stamp.digest,
        )
    return known
