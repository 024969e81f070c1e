"""Leases: who works on something right now. They end by themselves, so that a worker that dies holds nothing up."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from sqlalchemy import bindparam, delete, select, text, update

from edge.ledger.columns import Utc
from edge.ledger.store import Book
from edge.ledger.tables import leases
from edge.ledger.writer import Transaction

# As text, because SQLAlchemy compiles its own ON CONFLICT anew each time.
_TAKE = text("""
    INSERT INTO leases (name, holder, until) VALUES (:name, :holder, :until)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
    WHERE leases.holder = excluded.holder OR leases.until < :now
    RETURNING name
""").bindparams(bindparam("until", type_=Utc), bindparam("now", type_=Utc))


class Leases(Book):
    """At most one holder for each name at a time. A holder that says nothing for as long as it asked for loses it."""

    def take(self, name: str, *, by: str, lasting: timedelta) -> bool:
        """Hold the name from now on; False while another holds it. Whoever holds it already holds it longer.

        `by` must be one process's own: a process that comes back from the dead under its old name would hold what it
        no longer has.
        """
        return self._store.write(partial(_take, name, by, lasting))

    def renew(self, *, by: str, lasting: timedelta) -> int:
        """Hold longer what the holder still has, and not what another took; answers how many names."""

        def write(txn: Transaction) -> int:
            mine = update(leases).where(leases.c.holder == by)
            return txn.connection.execute(mine.values(until=txn.at + lasting)).rowcount

        return self._store.write(write)

    def drop(self, name: str, *, by: str) -> bool:
        """Hold it no longer; answers whether it was held."""
        mine = delete(leases).where(leases.c.name == name, leases.c.holder == by)
        return self._store.write(lambda txn: bool(txn.connection.execute(mine).rowcount))

    def holds(self, name: str, *, by: str) -> bool:
        """Whether it is held by this holder, and not yet over."""
        mine = select(leases.c.name).where(
            leases.c.name == name, leases.c.holder == by, leases.c.until >= self._store.now()
        )
        with self._store.read() as connection:
            return connection.execute(mine).one_or_none() is not None

    def kept(self, name: str, *, by: str) -> bool:
        """Whether nobody has taken it from this holder, be its time over or not."""
        mine = select(leases.c.name).where(leases.c.name == name, leases.c.holder == by)
        with self._store.read() as connection:
            return connection.execute(mine).one_or_none() is not None

    def held(self, prefix: str = "") -> frozenset[str]:
        """The names that somebody holds, of those that begin like that."""
        live = select(leases.c.name).where(
            leases.c.name.startswith(prefix, autoescape=True), leases.c.until >= self._store.now()
        )
        with self._store.read() as connection:
            return frozenset(connection.execute(live).scalars())


def _take(name: str, by: str, lasting: timedelta, txn: Transaction) -> bool:
    row = {"name": name, "holder": by, "until": txn.at + lasting, "now": txn.at}
    return txn.connection.execute(_TAKE, row).one_or_none() is not None
