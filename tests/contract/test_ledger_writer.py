"""Group commit: writes of many threads share transactions, and none pays for another's mistake."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, insert, select

from edge.errors import InvalidInput, LedgerBusy, LedgerMismatch
from edge.ledger import Ledger
from edge.ledger.engine import open_engine, utc_now
from edge.ledger.tables import tenants
from edge.ledger.writer import Transaction, Writer
from edge.model.site import Site
from edge.model.step import StepKey, StepState


def add(name: str) -> Callable[[Transaction], str]:
    def write(txn: Transaction) -> str:
        txn.connection.execute(insert(tenants), {"name": name, "display_name": ""})
        return name

    return write


class Queue:
    """A writer whose first transaction is held open until `release`, so that what is queued meets in the next one."""

    def __init__(self, url: str) -> None:
        self.engine: Engine = open_engine(url)
        self.commits = 0
        event.listen(self.engine, "commit", self._count)
        self.writer = Writer(self.engine, utc_now, "me")
        self._pool = ThreadPoolExecutor(64)
        self._held, self._release = threading.Event(), threading.Event()
        self._pool.submit(self.writer.run, self._hold)
        assert self._held.wait(30)

    def submit(self, *writes: Callable[[Transaction], str]) -> list[Future[str]]:
        """Queue the writes, each from a thread of its own, and come back when they wait."""
        futures = []
        for write in writes:
            before = self.writer.waiting
            futures.append(self._pool.submit(self.writer.run, write))
            while self.writer.waiting == before:
                threading.Event().wait(0.001)
        return futures

    def release(self) -> None:
        self._release.set()

    def close(self) -> None:
        self._release.set()
        self.writer.close()
        self._pool.shutdown()
        self.engine.dispose()

    def _hold(self, txn: Transaction) -> None:
        self._held.set()
        self._release.wait(30)

    def _count(self, _connection: object) -> None:
        self.commits += 1


@pytest.fixture
def queue(ledger_url: str) -> Iterator[Queue]:
    Ledger.open(ledger_url).close()
    made = Queue(ledger_url)
    yield made
    made.close()


def names(queue: Queue) -> list[str]:
    with queue.engine.connect() as connection:
        return list(connection.execute(select(tenants.c.name).order_by(tenants.c.name)).scalars())


def test_writes_that_wait_share_one_commit(queue: Queue) -> None:
    futures = queue.submit(*(add(f"t{number:02}") for number in range(40)))
    queue.release()
    assert [future.result() for future in futures] == [f"t{number:02}" for number in range(40)]
    assert queue.commits == 2
    assert len(names(queue)) == 40


def test_nobody_is_answered_before_the_commit(queue: Queue) -> None:
    (future,) = queue.submit(add("t1"))
    assert not future.done()
    assert names(queue) == []
    queue.release()
    assert future.result() == "t1"
    assert names(queue) == ["t1"]


def test_a_write_that_fails_does_not_take_the_others_with_it(queue: Queue) -> None:
    def refuse(txn: Transaction) -> str:
        add("spoiled")(txn)
        raise InvalidInput("No")

    futures = queue.submit(add("a"), refuse, add("b"), add("a"))
    queue.release()
    assert futures[0].result() == "a"
    with pytest.raises(InvalidInput):
        futures[1].result()
    assert futures[2].result() == "b"
    with pytest.raises(LedgerMismatch):
        futures[3].result()
    assert names(queue) == ["a", "b"]


def test_a_defect_in_a_write_reaches_its_caller_and_the_writer_goes_on(queue: Queue) -> None:
    def defect(txn: Transaction) -> str:
        return str(1 / 0)

    (future,) = queue.submit(defect)
    queue.release()
    with pytest.raises(ZeroDivisionError):
        future.result()
    assert queue.writer.run(add("after")) == "after"


def test_closing_finishes_what_waits(queue: Queue) -> None:
    futures = queue.submit(add("a"), add("b"))
    closer = threading.Thread(target=queue.writer.close)
    closer.start()
    queue.release()
    closer.join(30)
    assert [future.result() for future in futures] == ["a", "b"]
    with pytest.raises(RuntimeError):
        queue.writer.run(add("late"))


def test_a_lock_that_stays_makes_the_ledger_busy_and_then_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    key = StepKey(work="w", subject="s1", step="apply")
    with Ledger.open(f"sqlite:///{path}?timeout=0.05") as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerBusy):
            ledger.steps.once(key, dict)
        assert ledger.steps.records("w") == ()
        other.execute("ROLLBACK")
        other.close()
        assert ledger.steps.once(key, dict).state is StepState.DONE


def test_a_failure_is_raised_as_it_was_when_its_record_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    key = StepKey(work="w", subject="s1", step="apply")
    with Ledger.open(f"sqlite:///{path}?timeout=0.05") as ledger:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

        def effect() -> dict[str, str]:
            other.execute("BEGIN IMMEDIATE")
            raise InvalidInput("The effect's own error")

        with pytest.raises(InvalidInput, match="own error"):
            ledger.steps.once(key, effect)
        other.close()
        assert [record.state for record in ledger.steps.records("w")] == [StepState.INTENDED]


def test_two_ledgers_that_write_the_same_rows_at_once_both_succeed(ledger_url: str) -> None:
    names = [f"s{number}" for number in range(12)]
    keys = [StepKey(work="w", subject=name, step="apply") for name in names]

    def work(ledger: Ledger, place: int) -> None:
        order = range(12) if place % 2 else reversed(range(12))
        for number in order:
            ledger.sites.put(Site(name=names[number], tenant=f"tenant-{number}"))
            ledger.steps.once(keys[number], dict)

    with Ledger.open(ledger_url) as one, Ledger.open(ledger_url) as two, ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(work, ledger, place) for place in range(8) for ledger in (one, two)]:
            done.result()
        assert [site.name for site in one.sites.list()] == sorted(names)
        assert {record.state for record in two.steps.records("w")} == {StepState.DONE}
        assert [entry.action for entry in one.audit.entries()].count("site.added") == 12
        assert one.audit.verify() == two.audit.verify()
