"""The step log: what was going to be done, what was done, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, RowMapping, bindparam, delete, select, update

from edge.errors import EdgeError, InvalidInput, NotFound
from edge.ledger.store import Book, Row
from edge.ledger.tables import steps
from edge.ledger.writer import Transaction
from edge.model.outcome import Cause
from edge.model.step import Detail, StepKey, StepRecord, StepState, StepTiming
from edge.policy.redact import text_without_secrets, without_secrets
from edge.policy.timing import timings

_KEY = (steps.c.work == bindparam("a"), steps.c.subject == bindparam("b"), steps.c.step == bindparam("c"))
_GET = select(steps).where(*_KEY)
_NOT_DONE = (*_KEY, steps.c.state != StepState.DONE)


class Steps(Book):
    """Every side effect, remembered under a key that is the same on every try."""

    def _prepare(self) -> None:
        """`_begin` makes the row, or begins it again unless it is done; only then does it return one."""
        begin = self._store.upsert(steps)
        again = {
            "state": StepState.INTENDED,
            "tries": steps.c.tries + 1,
            "started_at": begin.excluded.started_at,
            "ended_at": None,
            "cause": None,
        }
        keys = [steps.c.work, steps.c.subject, steps.c.step]
        not_done = steps.c.state != StepState.DONE
        self._begin = begin.on_conflict_do_update(index_elements=keys, set_=again, where=not_done).returning(
            steps.c.tries, steps.c.started_at
        )
        ended: Row = {name: bindparam(f"new_{name}") for name in ("state", "ended_at", "detail", "cause")}
        self._end = update(steps).where(*_NOT_DONE).values(**ended)

    def once(self, key: StepKey, effect: Callable[[], Detail]) -> StepRecord:
        """Run the effect, unless it is done already; answer its row.

        The row says `intended` before the effect starts. A process that dies in between leaves it so, and the next try
        runs the effect again: effects must be idempotent. After an EdgeError the row says `failed` with the cause, and
        the error goes on; after any other exception nobody knows what happened, and the row stays `intended`. Two
        processes that run the same step at the same time both run its effect; the first to finish is on record.
        """
        begun = self._store.write(partial(self._intend, key))
        if begun.state is StepState.DONE:
            return begun
        try:
            detail = effect()
        except EdgeError as error:
            self._end_as(begun, StepState.FAILED, {}, Cause.of(error))
            raise
        return self._end_as(begun, StepState.DONE, detail, None)

    def records(self, work: str, subject: str | None = None) -> tuple[StepRecord, ...]:
        """The rows of a piece of work, or of one subject in it, by subject and start."""
        wanted = select(steps).where(steps.c.work == work).order_by(steps.c.subject, steps.c.started_at, steps.c.step)
        if subject is not None:
            wanted = wanted.where(steps.c.subject == subject)
        with self._store.read() as connection:
            return tuple(_record(row) for row in connection.execute(wanted).mappings())

    def forget(self, work: str, subject: str) -> int:
        """Remove a subject's rows, so that its steps run again; answers how many there were."""
        rows = delete(steps).where(steps.c.work == work, steps.c.subject == subject)
        return self._store.write(lambda txn: _forget(txn, rows, work, subject))

    def timings(self, work: str) -> tuple[StepTiming, ...]:
        """How long each step took over all subjects, in the order in which steps began."""
        return timings(self.records(work))

    def _intend(self, key: StepKey, txn: Transaction) -> StepRecord:
        row = {**key.model_dump(), "state": StepState.INTENDED, "tries": 1, "started_at": txn.at, "detail": {}}
        begun = txn.connection.execute(self._begin, row).one_or_none()
        if begun is None:
            return _get(txn.connection, key)
        return StepRecord(key=key, state=StepState.INTENDED, tries=begun.tries, started_at=begun.started_at)

    def _end_as(self, begun: StepRecord, state: StepState, detail: Detail, cause: Cause | None) -> StepRecord:
        safe: Any = without_secrets(detail)
        if cause is not None:
            cause = cause.model_copy(update={"message": text_without_secrets(cause.message)})
        try:
            ended = StepRecord.model_validate({**begun.model_dump(), "state": state, "detail": safe, "cause": cause})
        except ValidationError as theirs:
            raise InvalidInput("A step's detail is not small JSON", step=begun.key.step) from theirs
        return self._store.write(partial(self._write_end, ended))

    def _write_end(self, ended: StepRecord, txn: Transaction) -> StepRecord:
        new: Row = {
            **_params(ended.key),
            "new_state": ended.state,
            "new_ended_at": txn.at,
            "new_detail": ended.detail,
            "new_cause": ended.cause.model_dump() if ended.cause else None,
        }
        if txn.connection.execute(self._end, new).rowcount:
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
