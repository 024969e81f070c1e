"""The step log: what was going to be done, what was done, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Integer, RowMapping, bindparam, column, delete, select, text, update

from edge.errors import EdgeError, InvalidInput, LedgerBusy, NotFound
from edge.ledger.columns import Json, Utc
from edge.ledger.store import Book, Row
from edge.ledger.tables import steps
from edge.ledger.writer import Transaction
from edge.model.outcome import Cause
from edge.model.step import Detail, StepKey, StepRecord, StepState, StepTiming
from edge.policy.redact import text_without_secrets, without_secrets
from edge.policy.timing import timings

_KEY = (steps.c.work == bindparam("a"), steps.c.subject == bindparam("b"), steps.c.step == bindparam("c"))
_GET = select(steps).where(*_KEY)
# As text, because SQLAlchemy compiles its own ON CONFLICT anew each time, which costs ten times what running it does.
# It makes the row, or begins it again unless it is done; only then does it return one.
_BEGIN = (
    text("""
        INSERT INTO steps (work, subject, step, state, tries, started_at, detail)
        VALUES (:work, :subject, :step, 'intended', 1, :started_at, :detail)
        ON CONFLICT (work, subject, step) DO UPDATE SET
            state = excluded.state, tries = steps.tries + 1, started_at = excluded.started_at,
            detail = excluded.detail, ended_at = NULL, cause = NULL
        WHERE steps.state <> 'done'
        RETURNING tries
    """)
    .bindparams(bindparam("started_at", type_=Utc), bindparam("detail", type_=Json))
    .columns(column("tries", Integer))
)
_ENDED: Row = {name: bindparam(f"new_{name}") for name in ("state", "ended_at", "detail", "cause")}
_END = update(steps).where(*_KEY, steps.c.state != StepState.DONE).values(**_ENDED)


class Steps(Book):
    """Every side effect, remembered under a key that is the same on every try."""

    def once(self, key: StepKey, effect: Callable[[], Detail]) -> StepRecord:
        """Run the effect, unless it is done already; answer its row.

        The row says `intended` before the effect starts. A process that dies in between leaves it so, and the next try
        runs the effect again: effects must be idempotent. After an EdgeError the row says `failed` with the cause, and
        the error goes on; after any other exception nobody knows what happened, and the row stays `intended`. Two
        processes that run the same step at the same time both run its effect; the first to finish is on record.
        """
        begun = self._store.write(partial(_intend, key))
        if begun.state is StepState.DONE:
            return begun
        try:
            detail = effect()
        except EdgeError as error:
            self._failed(begun, error)
            raise
        return self._done(begun, detail)

    def records(self, work: str, subject: str | None = None) -> tuple[StepRecord, ...]:
        """The rows of a piece of work, or of one subject in it, by subject and start."""
        wanted = select(steps).where(steps.c.work == work).order_by(steps.c.subject, steps.c.started_at, steps.c.step)
        if subject is not None:
            wanted = wanted.where(steps.c.subject == subject)
        with self._store.read() as connection:
            return tuple(_record(row) for row in connection.execute(wanted).mappings())

    def fleet(self, prefix: str, *, since: datetime | None = None) -> tuple[StepRecord, ...]:
        """The rows of all work whose name begins like that, by work, subject and start; `since`: begun then or later.

        How long a step takes over the whole fleet is read from these.
        """
        wanted = select(steps).where(steps.c.work.startswith(prefix, autoescape=True))
        if since is not None:
            wanted = wanted.where(steps.c.started_at >= since)
        ordered = wanted.order_by(steps.c.work, steps.c.subject, steps.c.started_at, steps.c.step)
        with self._store.read() as connection:
            return tuple(_record(row) for row in connection.execute(ordered).mappings())

    def forget(self, work: str, subject: str, only: Sequence[str] | None = None) -> int:
        """Remove a subject's rows, so that its steps run again; answers how many there were. `only`: of these steps."""
        rows = delete(steps).where(steps.c.work == work, steps.c.subject == subject)
        if only is not None:
            rows = rows.where(steps.c.step.in_(only))
        return self._store.write(lambda txn: _forget(txn, rows, work, subject))

    def timings(self, work: str) -> tuple[StepTiming, ...]:
        """How long each step took over all subjects, in the order in which steps began."""
        return timings(self.records(work))

    def _done(self, begun: StepRecord, detail: Detail) -> StepRecord:
        try:
            done = StepRecord.model_validate(
                {**dict(begun), "state": StepState.DONE, "detail": without_secrets(detail)}
            )
        except ValidationError as theirs:
            raise InvalidInput("A step's detail is not flat JSON", step=begun.key.step) from theirs
        return self._store.write(partial(_write_end, done))

    def _failed(self, begun: StepRecord, error: EdgeError) -> None:
        cause = Cause.of(error)
        cause = cause.model_copy(update={"message": text_without_secrets(cause.message)})
        left = without_secrets(error.left)
        failed = begun.model_copy(update={"state": StepState.FAILED, "cause": cause, "detail": left})
        # The error matters more than its record: a row that stays `intended` is begun again all the same.
        with suppress(LedgerBusy):
            self._store.write(partial(_write_end, failed))


def _intend(key: StepKey, txn: Transaction) -> StepRecord:
    row = {**key.model_dump(), "started_at": txn.at, "detail": {}}
    begun = txn.connection.execute(_BEGIN, row).one_or_none()
    if begun is None:
        return _get(txn.connection, key)
    return StepRecord(key=key, state=StepState.INTENDED, tries=begun.tries, started_at=txn.at)


def _write_end(ended: StepRecord, txn: Transaction) -> StepRecord:
    new: Row = {
        **_params(ended.key),
        "new_state": ended.state,
        "new_ended_at": txn.at,
        "new_detail": ended.detail,
        "new_cause": ended.cause.model_dump() if ended.cause else None,
    }
    if txn.connection.execute(_END, new).rowcount:
        return ended.model_copy(update={"ended_at": txn.at})
    return _get(txn.connection, ended.key)


def _params(key: StepKey) -> Row:
    return {"a": key.work, "b": key.subject, "c": key.step}


def _get(connection: Connection, key: StepKey) -> StepRecord:
    row = connection.execute(_GET, _params(key)).mappings().one_or_none()
    if row is None:
        raise NotFound("The step was forgotten while it ran", **key.model_dump())
    return _record(row)


def _record(row: RowMapping) -> StepRecord:
    fields = dict(row)
    key = StepKey(work=fields.pop("work"), subject=fields.pop("subject"), step=fields.pop("step"))
    return StepRecord(key=key, **fields)


def _forget(txn: Transaction, rows: Any, work: str, subject: str) -> int:
    count: int = txn.connection.execute(rows).rowcount
    if count:
        txn.audit("steps.forgotten", subject, {"work": work, "steps": count})
    return count
