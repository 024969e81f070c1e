"""Group commit: one thread writes for all threads of the process, so that a thousand small writes share few commits."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from edge.errors import LedgerBusy
from edge.ledger.chain import Draft, seal
from edge.ledger.engine import WRITES
from edge.ledger.faults import collided, our_errors

T = TypeVar("T")
_MOST = 256
"""Writes in one transaction. More would make the first of them wait for no gain."""


class Transaction:
    """What a write works with: the connection, and the audit rows that commit with it."""

    def __init__(self, connection: Connection, at: datetime, actor: str) -> None:
        self.connection = connection
        self.at = at
        self._actor = actor
        self.drafts: list[Draft] = []

    def audit(self, action: str, subject: str, detail: dict[str, Any] | None = None, actor: str = "") -> Draft:
        """Add a row to the audit trail. Its place in the chain is known once the transaction has committed."""
        draft = Draft(self.at, actor or self._actor, action, subject, detail or {})
        self.drafts.append(draft)
        return draft


Write = Callable[[Transaction], T]
"""One write. It may be run a second time in a new transaction, so it must keep nothing outside the database."""

_Job = tuple[Write[Any], "Future[Any]"]


class Writer:
    """Takes writes from many threads; each is answered after the commit that holds it.

    The thread is there so that nothing that happens to a caller, such as a time-out raised inside it, can hit a
    transaction that others share. It starts with the first write.
    """

    def __init__(self, engine: Engine, now: Callable[[], datetime], actor: str) -> None:
        self._engine = engine
        self._now = now
        self._actor = actor
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(self, write: Write[T]) -> T:
        """Do the write and answer what it returned, once it is durable. Its own errors are raised here."""
        answer: Future[T] = Future()
        with self._guard:
            if self._closed:
                raise RuntimeError("The ledger is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="edge-ledger-writer", daemon=True)
                self._thread.start()
            self._jobs.put((write, answer))
        return answer.result()

    @property
    def waiting(self) -> int:
        """How many writes are queued behind the transaction that is open."""
        return self._jobs.qsize()

    def close(self) -> None:
        """Finish what is queued, then stop. May be called twice."""
        with self._guard:
            self._closed = True
            thread, self._thread = self._thread, None
            self._jobs.put(None)
        if thread is not None:
            thread.join()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._commit([job, *self._queued()])

    def _queued(self) -> list[_Job]:
        jobs: list[_Job] = []
        while len(jobs) < _MOST - 1:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job is None:
                self._jobs.put(None)
                break
            jobs.append(job)
        return jobs

    def _commit(self, jobs: Sequence[_Job]) -> None:
        """All writes in one transaction; each waiting thread gets its answer or its error."""
        try:
            answers = self._transact([write for write, _ in jobs])
        except LedgerBusy as busy:
            for _, answer in jobs:
                answer.set_exception(_same(busy))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller that waits gets it
            self._commit_alone(jobs, error)
        else:
            for (_, future), value in zip(jobs, answers, strict=True):
                future.set_result(value)

    def _commit_alone(self, jobs: Sequence[_Job], error: Exception) -> None:
        """One write spoiled the transaction: do each by itself, so that the good ones go through.

        A write that is by itself already failed for good, unless it collided with another process: it gets a second go.
        """
        if len(jobs) > 1:
            for job in jobs:
                self._commit([job])
            return
        (write, answer) = jobs[0]
        try:
            if not collided(error):
                raise error
            answer.set_result(self._transact([write])[0])
        except Exception as final:  # noqa: BLE001 - as above
            answer.set_exception(final)

    def _transact(self, writes: Sequence[Write[Any]]) -> list[Any]:
        with our_errors(), self._engine.connect() as bare:
            connection = bare.execution_options(**{WRITES: True})
            with connection.begin():
                transaction = Transaction(connection, self._now(), self._actor)
                answers = [write(transaction) for write in writes]
                seal(connection, transaction.drafts)
        return answers


def _same(error: LedgerBusy) -> LedgerBusy:
    """Each waiting thread raises an error of its own, since raising changes it."""
    twin = copy.copy(error)
    twin.__cause__ = error.__cause__
    return twin
