"""What every book works with: reads beside each other, writes through the one writer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from edge.ledger.faults import our_errors
from edge.ledger.writer import Write, Writer

T = TypeVar("T")
Row = dict[str, Any]
"""Parameters of a statement."""


class Store:
    """An open database. `now` gives the time of every row."""

    def __init__(self, engine: Engine, now: Callable[[], datetime], actor: str) -> None:
        self.engine = engine
        self.now = now
        self._writer = Writer(engine, now, actor)

    @contextmanager
    def read(self, *, snapshot: bool = False) -> Iterator[Connection]:
        """A connection for reading. With `snapshot` all its reads see the same moment."""
        # SQLite gives every transaction a snapshot, asked or not.
        level = {"isolation_level": "REPEATABLE READ"} if snapshot and self.engine.dialect.name == "postgresql" else {}
        with our_errors(), self.engine.connect() as connection:
            yield connection.execution_options(**level)

    def write(self, write: Write[T]) -> T:
        """Do a write and come back when it is durable."""
        return self._writer.run(write)

    def close(self) -> None:
        """Finish the writes and give the connections back."""
        self._writer.close()
        self.engine.dispose()


class Book:
    """One topic of the ledger."""

    def __init__(self, store: Store) -> None:
        self._store = store
