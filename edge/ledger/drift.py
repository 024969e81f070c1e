"""Drift that is there now: what differs on which site, and since when the platform knows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import RowMapping, bindparam, delete, exists, insert, select, update

from edge.ledger.store import Book
from edge.ledger.tables import drift, placements, sites
from edge.ledger.writer import Transaction
from edge.model.drift import Finding
from edge.model.site import SiteState

_TIMES = {"first_seen", "last_seen"}
_SAME = drift.c.key == bindparam("a")
_SEEN = update(drift).where(_SAME).values(last_seen=bindparam("new_at"), finding=bindparam("new_finding"))
_PLACED = exists().where(placements.c.site == drift.c.site, placements.c.stamp == drift.c.stamp)
_LEFT = exists().where(sites.c.name == drift.c.site, sites.c.state == SiteState.DECOMMISSIONED)
_ANY = select(drift.c.key).where(drift.c.site == bindparam("a"), drift.c.stamp == bindparam("b")).limit(1)
_GONE = delete(drift).where(_SAME)


class Drifts(Book):
    """The findings of the last look at each site and stamp. The audit trail has when each came and went."""

    def record(
        self, site: str, stamp: str, findings: Sequence[Finding], *, mended: bool = False
    ) -> tuple[Finding, ...]:
        """This is all the drift that the site has now; answers it with when it was first seen.

        What was on record and is not among it is gone, `mended` by the platform or otherwise.
        """
        if not findings and self._is_clean(site, stamp):
            return ()
        return self._store.write(lambda txn: _record(txn, (site, stamp), findings, mended))

    def _is_clean(self, site: str, stamp: str) -> bool:
        """Most are: looking costs a tenth of writing."""
        with self._store.read() as connection:
            return connection.execute(_ANY, {"a": site, "b": stamp}).one_or_none() is None

    def list(self, *, site: str | None = None, limit: int = 10_000) -> tuple[Finding, ...]:
        """All drift, or one site's, by site, stamp and age. What left a site, or the fleet with it, is no drift."""
        order = (drift.c.site, drift.c.stamp, drift.c.first_seen, drift.c.key)
        wanted = select(drift).where(_PLACED, ~_LEFT).order_by(*order).limit(limit)
        if site is not None:
            wanted = wanted.where(drift.c.site == site)
        with self._store.read() as connection:
            return tuple(_finding(row) for row in connection.execute(wanted).mappings())


def _key(finding: Finding) -> str:
    parts = (finding.site, finding.stamp, finding.ref.model_dump_json(), finding.path, finding.kind)
    return sha256("\n".join(parts).encode()).hexdigest()


def _finding(row: RowMapping) -> Finding:
    times = {"first_seen": row["first_seen"], "last_seen": row["last_seen"]}
    return Finding.model_validate({**row["finding"], **times})


def _record(txn: Transaction, place: tuple[str, str], findings: Sequence[Finding], mended: bool) -> tuple[Finding, ...]:
    site, stamp = place
    wanted = select(drift).where(drift.c.site == site, drift.c.stamp == stamp)
    known = {row["key"]: row for row in txn.connection.execute(wanted).mappings()}
    now = {_key(finding): finding for finding in findings}
    for key in known.keys() - now.keys():
        txn.connection.execute(_GONE, {"a": key})
        _trail(txn, "drift.mended" if mended else "drift.gone", _finding(known[key]))
    return tuple(_seen(txn, key, finding, known.get(key)) for key, finding in now.items())


def _seen(txn: Transaction, key: str, finding: Finding, known: RowMapping | None) -> Finding:
    body = finding.model_dump(mode="json", exclude=_TIMES)
    first: datetime = txn.at if known is None else known["first_seen"]
    if known is None:
        row: dict[str, Any] = {"key": key, "site": finding.site, "stamp": finding.stamp, "finding": body}
        txn.connection.execute(insert(drift), {**row, "first_seen": txn.at, "last_seen": txn.at})
        _trail(txn, "drift.found", finding)
    else:
        txn.connection.execute(_SEEN, {"a": key, "new_at": txn.at, "new_finding": body})
    return finding.model_copy(update={"first_seen": first, "last_seen": txn.at})


def _trail(txn: Transaction, action: str, finding: Finding) -> None:
    said = {"kind": finding.kind, "object": str(finding.ref), "field": finding.path, "manager": finding.manager}
    txn.audit(action, f"{finding.site}/{finding.stamp}", said)
