"""The queue of sites that were away and still have to get a version. At most one entry is open for a site and stamp."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, exc, func, insert, or_, select, update

from edge.errors import LedgerMismatch, NotFound
from edge.ledger.columns import Utc
from edge.ledger.store import Book
from edge.ledger.tables import catch_ups, devices
from edge.ledger.writer import Transaction
from edge.model.placement import Awaited, CatchUp, CatchUpState
from edge.policy.redact import text_without_secrets

_OPEN_STATES = (CatchUpState.QUEUED, CatchUpState.RUNNING, CatchUpState.QUARANTINED)
_OPEN = catch_ups.c.state.in_(_OPEN_STATES)
_OF = (catch_ups.c.site == bindparam("a"), catch_ups.c.stamp == bindparam("b"))
_GET = select(catch_ups).where(*_OF).order_by(catch_ups.c.sequence.desc()).limit(1)
_AWAITED = (
    select(devices.c.device_id, catch_ups.c.site, func.min(catch_ups.c.queued_at, type_=Utc).label("since"))
    .join(catch_ups, catch_ups.c.site == devices.c.site)
    .where(_OPEN, catch_ups.c.returned_at.is_(None))
    .group_by(devices.c.device_id, catch_ups.c.site)
)
_FIELDS = tuple(CatchUp.model_fields)


class CatchUps(Book):
    """What sites missed while they were away."""

    def queue(self, catch_up: CatchUp) -> CatchUp:
        """The site has to get this version. It takes the place of another version that is open there.

        The same version that is open already stays as it is, with its place in time.
        """
        return self._store.write(lambda txn: _queue(txn, catch_up))

    def get(self, site: str, stamp: str) -> CatchUp | None:
        """The latest entry of a site and stamp, open or not."""
        with self._store.read() as connection:
            row = connection.execute(_GET, {"a": site, "b": stamp}).mappings().one_or_none()
        return None if row is None else _catch_up(row)

    def open(self, *, site: str | None = None) -> tuple[CatchUp, ...]:
        """Entries that have not ended, the ones of sites that came back first in front: they are served in that order.

        Sites that are still away come last.
        """
        wanted = select(catch_ups).where(_OPEN)
        if site is not None:
            wanted = wanted.where(catch_ups.c.site == site)
        order = (catch_ups.c.returned_at.is_(None), catch_ups.c.returned_at, catch_ups.c.sequence)
        with self._store.read() as connection:
            return tuple(_catch_up(row) for row in connection.execute(wanted.order_by(*order)).mappings())

    def awaited(self) -> dict[str, Awaited]:
        """The devices of sites that have entries which wait for their return, and since when."""
        with self._store.read() as connection:
            return {row.device_id: Awaited(site=row.site, since=row.since) for row in connection.execute(_AWAITED)}

    def list(self, limit: int = 50) -> tuple[CatchUp, ...]:
        """The latest entries, newest first."""
        wanted = select(catch_ups).order_by(catch_ups.c.sequence.desc()).limit(limit)
        with self._store.read() as connection:
            return tuple(_catch_up(row) for row in connection.execute(wanted).mappings())

    def returned(self, site: str, at: datetime) -> int:
        """The site was heard of again, or need not wait any longer for the end of a lock; answers how many of its
        entries waited for that. The first time counts.
        """
        return self._store.write(lambda txn: _returned(txn, site, at))

    def begin(self, site: str, stamp: str, *, by_rollout: str) -> CatchUp:
        """This rollout brings it now; the same again changes nothing.

        Raises NotFound when nothing is open, LedgerMismatch when another rollout brings it or a person has to look
        first.
        """
        return self._store.write(lambda txn: _begin(txn, site, stamp, by_rollout))

    def end(
        self, site: str, stamp: str, state: CatchUpState, *, by_rollout: str = "", reason: str = ""
    ) -> CatchUp | None:
        """How it went: done, failed, or quarantined, which waits for a person.

        With `by_rollout` only what that rollout brings, or what nobody brings yet: an entry that was superseded
        meanwhile keeps its successor open. Answers the entry, or None when there was none to end.
        """
        return self._store.write(lambda txn: _end(txn, (site, stamp), state, by_rollout, reason))

    def requeue(
        self, site: str, stamp: str, *, by_rollout: str, reason: str = "", due: datetime | None = None
    ) -> CatchUp | None:
        """The rollout did not bring it, or not yet all of it: the site is due again from `due` on.

        None: it went away again, and waits for its next return.
        """
        return self._store.write(lambda txn: _requeue(txn, (site, stamp), by_rollout, (reason, due)))

    def approve(self, site: str, stamp: str, *, by: str) -> CatchUp:
        """A person let the surprising difference pass: it is queued again; a second time changes nothing.

        Raises NotFound when nothing is open, LedgerMismatch when it is not in quarantine.
        """
        return self._store.write(lambda txn: _approve(txn, site, stamp, by))


def _catch_up(row: RowMapping) -> CatchUp:
    return CatchUp.model_validate({field: row[field] for field in _FIELDS})


def _open_row(connection: Connection, site: str, stamp: str) -> RowMapping | None:
    wanted = select(catch_ups).where(*_OF, _OPEN).with_for_update()
    return connection.execute(wanted, {"a": site, "b": stamp}).mappings().one_or_none()


def _needed(connection: Connection, site: str, stamp: str) -> RowMapping:
    row = _open_row(connection, site, stamp)
    if row is None:
        raise NotFound("The site has nothing to catch up with", site=site, stamp=stamp)
    return row


def _change(txn: Transaction, row: RowMapping, action: str, changes: dict[str, Any], actor: str = "") -> CatchUp:
    txn.connection.execute(update(catch_ups).where(catch_ups.c.sequence == row["sequence"]).values(**changes))
    said = {"version": row["version"], **{key: value for key, value in changes.items() if isinstance(value, str)}}
    txn.audit(f"catch-up.{action}", f"{row['site']}/{row['stamp']}", said, actor=actor)
    return _catch_up(row).model_copy(update=changes)


def _queue(txn: Transaction, wanted: CatchUp) -> CatchUp:
    known = _open_row(txn.connection, wanted.site, wanted.stamp)
    if known is not None and known["digest"] == wanted.digest:
        return _catch_up(known)
    new = wanted
    if known is not None:
        ended = {"state": CatchUpState.SUPERSEDED, "ended_at": txn.at, "reason": f"By {wanted.version}"}
        _change(txn, known, "superseded", ended)
        new = wanted.model_copy(update={"returned_at": wanted.returned_at or known["returned_at"]})
    if not _inserted(txn.connection, new):  # another process was faster, and its entry can be seen now
        return _queue(txn, wanted)
    said = {"version": new.version, "missed": new.rollout_id, "objective_s": new.objective_s}
    txn.audit("catch-up.queued", f"{new.site}/{new.stamp}", said)
    return new


def _inserted(connection: Connection, new: CatchUp) -> bool:
    try:
        with connection.begin_nested():
            connection.execute(insert(catch_ups), dict(new))
    except exc.IntegrityError:
        return False
    return True


def _returned(txn: Transaction, site: str, at: datetime) -> int:
    later = or_(catch_ups.c.returned_at.is_(None), catch_ups.c.returned_at > at)
    waiting = update(catch_ups).where(catch_ups.c.site == site, _OPEN, later)
    count: int = txn.connection.execute(waiting.values(returned_at=at)).rowcount
    if count:
        txn.audit("catch-up.returned", site, {"entries": count, "at": at.isoformat()})
    return count


def _begin(txn: Transaction, site: str, stamp: str, by_rollout: str) -> CatchUp:
    row = _needed(txn.connection, site, stamp)
    if row["state"] == CatchUpState.RUNNING and row["by_rollout"] == by_rollout:
        return _catch_up(row)
    if row["state"] != CatchUpState.QUEUED:
        raise LedgerMismatch(
            "Catching up cannot begin", site=site, stamp=stamp, state=row["state"], by=row["by_rollout"]
        )
    return _change(txn, row, "began", {"state": CatchUpState.RUNNING, "by_rollout": by_rollout})


def _brought(txn: Transaction, key: tuple[str, str], by_rollout: str) -> RowMapping | None:
    row = _open_row(txn.connection, *key)
    if row is None or (by_rollout and row["by_rollout"] not in ("", by_rollout)):
        return None
    return row


def _end(txn: Transaction, key: tuple[str, str], state: CatchUpState, by_rollout: str, reason: str) -> CatchUp | None:
    row = _brought(txn, key, by_rollout)
    if row is None or row["state"] == state:
        return None if row is None else _catch_up(row)
    changes: dict[str, Any] = {"state": state, "reason": text_without_secrets(reason)}
    if by_rollout:
        changes["by_rollout"] = by_rollout
    if state not in _OPEN_STATES:
        changes["ended_at"] = txn.at
    return _change(txn, row, state, changes)


def _requeue(
    txn: Transaction, key: tuple[str, str], by_rollout: str, said: tuple[str, datetime | None]
) -> CatchUp | None:
    row = _brought(txn, key, by_rollout)
    if row is None or row["state"] != CatchUpState.RUNNING:
        return None
    reason, due = said
    changes = {"state": CatchUpState.QUEUED, "by_rollout": "", "returned_at": due}
    return _change(txn, row, "requeued", {**changes, "reason": text_without_secrets(reason)})


def _approve(txn: Transaction, site: str, stamp: str, by: str) -> CatchUp:
    row = _needed(txn.connection, site, stamp)
    if row["state"] != CatchUpState.QUARANTINED:
        if row["approved_by"]:
            return _catch_up(row)
        raise LedgerMismatch("Nothing here waits for approval", site=site, stamp=stamp, state=row["state"])
    changes = {"state": CatchUpState.QUEUED, "approved_by": by, "by_rollout": ""}
    return _change(txn, row, "approved", changes, actor=by)
