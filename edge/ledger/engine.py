"""How the ledger talks to SQLite and PostgreSQL: connections, durability, and who waits for whom."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url

from edge.errors import InvalidInput, LedgerBusy

WRITES: Final = "edge_writes"
"""Execution option of connections whose transactions write."""
BUSY_S: Final = 30
"""How long a lock or a connection is waited for, in seconds."""
_POOL: Final = 8
_MAKING: Final = threading.Lock()
_SYNCHRONOUS: Final = {"normal", "full", "extra"}


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def open_engine(text: str) -> Engine:
    """An engine for the URL, `sqlite:///FILE` or `postgresql://…`.

    SQLite takes `?synchronous=full` (or `extra`): each commit is then on the disk before it is answered; and
    `?timeout=SECONDS`, how long a lock is waited for. Raises InvalidInput for any other URL; what is wrong is said
    without repeating the URL, since it may hold a password.
    """
    url = _parse(text)
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    if url.get_backend_name() == "postgresql":
        return _postgres(url)
    raise InvalidInput("The ledger needs SQLite or PostgreSQL", field="ledger_url", value=url.drivername)


def _parse(text: str) -> URL:
    try:
        url = make_url(text)
    except (exc.ArgumentError, ValueError):  # theirs repeats what it could not read, which may be the password
        url = None
    if url is None or "@" in (url.host or ""):
        remedy = "Write the characters @ : / of a password as %40 %3A %2F"
        raise InvalidInput("Not an SQLAlchemy URL", remedy=remedy, field="ledger_url")
    return url


def place_of(text: str) -> str:
    """The file, or the host, port and name of the database, at a URL that can be used; never a password."""
    url = _parse(text)
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    return f"{url.host or 'localhost'}:{url.port or 5432}/{url.database or ''}"


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _engine(url: URL, **options: Any) -> Engine:
    return create_engine(
        url,
        pool_size=_POOL,
        max_overflow=_POOL,
        pool_timeout=BUSY_S,
        hide_parameters=True,
        json_serializer=_json,
        json_deserializer=orjson.loads,
        **options,
    )


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise InvalidInput("The ledger needs a file", field="ledger_url", value=url.render_as_string())
    level = str(url.query.get("synchronous", "normal")).lower()
    if level not in _SYNCHRONOUS:
        raise InvalidInput("Not a level of synchronous", field="ledger_url", value=level)
    patience = {"timeout": _seconds(str(url.query.get("timeout", BUSY_S)))}
    _make_file(Path(url.database))
    engine = _engine(url.difference_update_query(["synchronous", "timeout"]), connect_args=patience)

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {level}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and writes later cannot wait for the lock: it fails at once.
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError as theirs:
        raise InvalidInput("Not a number of seconds", field="ledger_url", value=text) from theirs


def _make_file(path: Path) -> None:
    """Registrations are nobody else's business: the file is its owner's alone, and so are the log files beside it.

    A file that is there is not opened for that. Closing it again would end all locks that this process has on it, of
    other open ledgers too, and the next process that closes its ledger would delete the log under them.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _MAKING, suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as theirs:
        raise InvalidInput(f"The ledger's file cannot be opened: {theirs.strerror}", file=path) from theirs


def use_write_ahead_log(engine: Engine) -> None:
    """Switch a SQLite file to WAL, for good. The switch needs the file for itself and does not wait, so we do."""
    until = time.monotonic() + BUSY_S
    connection = engine.raw_connection()
    try:
        while not _switched(connection.cursor()):
            if time.monotonic() > until:
                raise LedgerBusy("The ledger's file is in use by a program that keeps its lock")
            time.sleep(0.02)
    finally:
        connection.close()


def _switched(cursor: Any) -> bool:
    try:
        (mode,) = cursor.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.OperationalError as theirs:
        if "locked" not in str(theirs):
            raise
        return False
    return bool(mode == "wal")


def _postgres(url: URL) -> Engine:
    if "+" not in url.drivername:
        url = url.set(drivername="postgresql+psycopg")
    patience = f"-c lock_timeout={BUSY_S}s -c statement_timeout={2 * BUSY_S}s -c timezone=UTC"
    try:
        return _engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10, "options": patience})
    except ModuleNotFoundError as theirs:
        remedy = "Install the package with its extra `postgres`"
        raise InvalidInput("The driver of PostgreSQL is not installed", remedy=remedy, field="ledger_url") from theirs
