"""The inbox: events are stored before they are answered, and stay until a run has handled them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    RowMapping,
    bindparam,
    column,
    delete,
    func,
    or_,
    select,
    text,
    update,
)

from edge.errors import LedgerMismatch
from edge.ledger.columns import Json, Utc
from edge.ledger.store import Book, Row
from edge.ledger.tables import inbox
from edge.ledger.writer import Transaction
from edge.model.device import Origin
from edge.model.event import EventKey, EventState, IncomingEvent, StoredEvent
from edge.policy.audit import canonical

_THIS = (inbox.c.source == bindparam("a"), inbox.c.id == bindparam("b"))
_OPEN = (EventState.STORED, EventState.SENT)
_SEND = (
    update(inbox)
    .where(*_THIS, inbox.c.state.in_(_OPEN))
    .values(state=EventState.SENT, batch=bindparam("new_batch"), sent_at=bindparam("new_at"), sends=inbox.c.sends + 1)
)
_HAND_OVER = _SEND.values(claimed_at=None, claimed_by="")
_BATCH = update(inbox).where(*_THIS, inbox.c.state.in_(_OPEN)).values(batch=bindparam("new_batch"))
_HANDLE = update(inbox).where(*_THIS, inbox.c.state.in_(_OPEN)).values(state=bindparam("new_state"))
# As text, because SQLAlchemy compiles its own ON CONFLICT anew each time.
_ADD = (
    text("""
        INSERT INTO inbox (source, id, type, subject, time, data, digest, state, received_at, sends, claimed_by, via)
        VALUES (:source, :id, :type, :subject, :time, :data, :digest, 'stored', :received_at, 0, '', :via)
        ON CONFLICT (source, id) DO NOTHING
        RETURNING sequence
    """)
    .bindparams(bindparam("time", type_=Utc), bindparam("data", type_=Json), bindparam("received_at", type_=Utc))
    .columns(column("sequence", Integer))
)
_DIGEST = select(inbox.c.digest).where(*_THIS)


class Inbox(Book):
    """Events on their way from the gateway to a run."""

    def add(self, events: Sequence[IncomingEvent], *, at: datetime, via: Origin = Origin.EVENT) -> list[bool]:
        """Store all of them, or none; answers for each whether it is new (False: it was there before).

        `via` is the way by which they came; an event that was there before keeps its own.
        Raises LedgerMismatch when an event with the same source and id but another content is there.
        """
        return self._store.write(lambda txn: [_added(txn, event, at, via) for event in events])

    def keep(self, events: Sequence[IncomingEvent], *, at: datetime, via: Origin, batch: str, by: str) -> int:
        """Store new events as taken already: whoever keeps them passes them on itself, and no gateway does.

        All in one act. `by` must `renew` the batch; when it does not, a gateway takes its place. Raises LedgerMismatch
        as `add` does. Answers how many are new.
        """
        taken = {"state": EventState.SENT, "batch": batch, "claimed_by": by}
        return self._store.write(
            lambda txn: _keep(txn, [event for event in events if _added(txn, event, at, via)], taken)
        )

    def hand_over(self, keys: Iterable[EventKey], batch: str) -> int:
        """Pass kept events on in a batch of their own, which anybody may claim; answers how many are open."""
        return self._mark(_HAND_OVER, keys, new_batch=batch)

    def open_in(self, batches: Iterable[str]) -> tuple[StoredEvent, ...]:
        """Events of these batches that are not done with, oldest first."""
        return self._find(inbox.c.batch.in_(list(batches)), inbox.c.state.in_(_OPEN), limit=100_000)

    def purge(self, before: datetime) -> int:
        """Forget events received before then that nothing has to be done for any more; answers how many."""
        closed = inbox.c.state.not_in(_OPEN)
        old = delete(inbox).where(inbox.c.received_at < before, closed)
        return self._store.write(lambda txn: txn.connection.execute(old).rowcount)

    def pending(self, limit: int = 1000) -> tuple[StoredEvent, ...]:
        """Events that were never sent, oldest first."""
        return self._find(inbox.c.state == EventState.STORED, limit=limit)

    def put_in_batch(self, keys: Iterable[EventKey], batch: str) -> int:
        """They are about to be passed on in this batch: from now on it can be claimed; answers how many are open."""
        return self._mark(_BATCH, keys, new_batch=batch)

    def mark_sent(self, keys: Iterable[EventKey], batch: str) -> int:
        """They were passed on, in this batch, now; answers how many of them were still open."""
        return self._mark(_SEND, keys, new_batch=batch)

    def unclaimed(
        self, sent_before: datetime, *, claimed_before: datetime | None = None, limit: int = 1000
    ) -> tuple[StoredEvent, ...]:
        """Events that were sent before then and that no run has taken.

        With `claimed_before` also those that a run took before then, and has not handled: it may be dead.
        """
        lost: ColumnElement[bool] = inbox.c.claimed_at.is_(None)
        if claimed_before is not None:
            lost = or_(lost, inbox.c.claimed_at < claimed_before)
        return self._find(inbox.c.state == EventState.SENT, inbox.c.sent_at < sent_before, lost, limit=limit)

    def claim(self, batch: str, *, by: str = "", stale_before: datetime | None = None) -> tuple[StoredEvent, ...]:
        """Take what is still to do in a batch; answers the events, oldest first.

        `by` says who takes them, for instance the id of the run: what another has taken is left alone, unless that was
        before `stale_before`. Whoever claims again under the same name gets its own again.
        """
        return self._store.write(partial(_claim, batch, by, stale_before))

    def renew(self, batch: str, *, by: str) -> int:
        """Whoever claimed a batch still works on it; answers how many of its events are open."""
        mine = update(inbox).where(inbox.c.batch == batch, inbox.c.claimed_by == by, inbox.c.state.in_(_OPEN))
        return self._store.write(lambda txn: txn.connection.execute(mine.values(claimed_at=txn.at)).rowcount)

    def mark_handled(self, keys: Iterable[EventKey], state: EventState = EventState.HANDLED) -> int:
        """They are done with (HANDLED or SUPERSEDED); answers how many of them were still open."""
        return self._mark(_HANDLE, keys, new_state=state)

    def counts(self) -> dict[EventState, int]:
        """How many events there are in each state."""
        wanted = select(inbox.c.state, func.count()).group_by(inbox.c.state)
        with self._store.read() as connection:
            found = Counter({EventState(state): count for state, count in connection.execute(wanted)})
        return {state: found[state] for state in EventState}

    def _mark(self, change: Any, keys: Iterable[EventKey], **new: object) -> int:
        rows = [{"a": source, "b": name, **new} for source, name in keys]

        def write(txn: Transaction) -> int:
            at = {"new_at": txn.at} if change is _SEND or change is _HAND_OVER else {}
            return sum(txn.connection.execute(change, {**row, **at}).rowcount for row in rows)

        return self._store.write(write)

    def _find(self, *where: ColumnElement[bool], limit: int) -> tuple[StoredEvent, ...]:
        wanted = select(inbox).where(*where).order_by(inbox.c.sequence).limit(limit)
        with self._store.read() as connection:
            return tuple(_stored(row) for row in connection.execute(wanted).mappings())


def _added(txn: Transaction, event: IncomingEvent, at: datetime, via: Origin) -> bool:
    digest = _digest(event)
    row = {**event.model_dump(), "digest": digest, "received_at": at, "via": via}
    if txn.connection.execute(_ADD, row).one_or_none() is not None:
        return True
    known = txn.connection.execute(_DIGEST, {"a": event.source, "b": event.id}).scalar_one()
    if known != digest:
        raise LedgerMismatch("Another event came with this id before", source=event.source, id=event.id)
    return False


def _keep(txn: Transaction, new: Sequence[IncomingEvent], taken: Row) -> int:
    for event in new:
        this = (inbox.c.source == event.source, inbox.c.id == event.id)
        txn.connection.execute(update(inbox).where(*this).values(**taken, sent_at=txn.at, claimed_at=txn.at))
    return len(new)


def _claim(batch: str, by: str, stale_before: datetime | None, txn: Transaction) -> tuple[StoredEvent, ...]:
    free = or_(inbox.c.claimed_at.is_(None), inbox.c.claimed_by == by)
    if stale_before is not None:
        free = or_(free, inbox.c.claimed_at < stale_before)
    take = update(inbox).where(inbox.c.batch == batch, inbox.c.state.in_(_OPEN), free)
    rows = txn.connection.execute(take.values(claimed_at=txn.at, claimed_by=by).returning(inbox)).mappings()
    return tuple(_stored(row) for row in sorted(rows, key=lambda row: int(row["sequence"])))


def _digest(event: IncomingEvent) -> str:
    return sha256(canonical(event.model_dump(mode="json")).encode()).hexdigest()


def _stored(row: RowMapping) -> StoredEvent:
    event = IncomingEvent.model_validate({field: row[field] for field in IncomingEvent.model_fields})
    fields = {field: row[field] for field in StoredEvent.model_fields if field != "event"}
    return StoredEvent(event=event, **fields)
