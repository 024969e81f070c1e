"""Sites that ask not to be touched, or not to be watched, until a moment."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import RowMapping, bindparam, delete, select, text

from edge.ledger.columns import Utc
from edge.ledger.store import Book
from edge.ledger.tables import site_holds
from edge.ledger.writer import Transaction
from edge.model.placement import HoldKind, SiteHold

# As text, because SQLAlchemy compiles its own ON CONFLICT anew each time.
_PUT = text("""
    INSERT INTO site_holds (site, kind, until, reason, held_by) VALUES (:site, :kind, :until, :reason, :by)
    ON CONFLICT (site, kind) DO UPDATE SET
        until = excluded.until, reason = excluded.reason, held_by = excluded.held_by
""").bindparams(bindparam("until", type_=Utc))


class Holds(Book):
    """At most one hold of each kind for a site. One that is over is as good as none."""

    def put(self, hold: SiteHold) -> None:
        """Hold the site from now on; a new hold takes the place of an earlier one."""
        self._store.write(lambda txn: _put(txn, hold))

    def get(self, site: str, kind: HoldKind, *, now: datetime) -> SiteHold | None:
        """The hold that is in force, or None."""
        wanted = select(site_holds).where(
            site_holds.c.site == site, site_holds.c.kind == kind, site_holds.c.until > now
        )
        with self._store.read() as connection:
            row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else _hold(row)

    def all(self, kind: HoldKind, *, now: datetime) -> dict[str, SiteHold]:
        """All holds of a kind that are in force, by site."""
        wanted = select(site_holds).where(site_holds.c.kind == kind, site_holds.c.until > now)
        with self._store.read() as connection:
            rows = connection.execute(wanted.order_by(site_holds.c.site)).mappings()
            return {row["site"]: _hold(row) for row in rows}

    def drop(self, site: str, kind: HoldKind, *, by: str = "") -> bool:
        """Let the site go; answers whether it was held. `by` goes onto the audit trail."""
        return self._store.write(lambda txn: _drop(txn, site, kind, by))


def _hold(row: RowMapping) -> SiteHold:
    return SiteHold(site=row["site"], kind=row["kind"], until=row["until"], reason=row["reason"], by=row["held_by"])


def _put(txn: Transaction, hold: SiteHold) -> None:
    txn.connection.execute(_PUT, dict(hold))
    said = {"kind": hold.kind, "until": hold.until.isoformat(), "reason": hold.reason}
    txn.audit("site.held", hold.site, said, actor=hold.by)


def _drop(txn: Transaction, site: str, kind: HoldKind, by: str) -> bool:
    rows = delete(site_holds).where(site_holds.c.site == site, site_holds.c.kind == kind)
    had = bool(txn.connection.execute(rows).rowcount)
    if had:
        txn.audit("site.released", site, {"kind": kind}, actor=by)
    return had
