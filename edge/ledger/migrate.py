"""Bring a database's tables up to date, one process at a time."""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from edge.errors import LedgerMismatch
from edge.ledger.engine import WRITES, use_write_ahead_log
from edge.ledger.faults import our_errors
from edge.ledger.tables import REVISION

_ADVISORY_LOCK = 7_305_201_141
"""Any number that other users of the same PostgreSQL database do not take."""
# Alembic keeps the migration that runs in a variable of its module.
_one_at_a_time = threading.Lock()


def prepare(engine: Engine, *, migrate: bool) -> None:
    """Make the database fit this version of the platform, or raise LedgerMismatch.

    Two processes that open a fresh database at once both come back with all tables made. Without `migrate` nothing is
    changed, and a database that does not fit is an error.
    """
    with our_errors():
        if engine.dialect.name == "sqlite":
            use_write_ahead_log(engine)
        with engine.connect() as connection:
            fits = revision_of(connection) == REVISION
        if fits:
            return
        if not migrate:
            remedy = "Open it once with migrations allowed"
            raise LedgerMismatch("The ledger's tables are not those of this version", remedy=remedy, needed=REVISION)
        with _one_at_a_time, engine.connect() as bare:
            connection = bare.execution_options(**{WRITES: True})
            with connection.begin():
                _upgrade(connection)


def revision_of(connection: Connection) -> str | None:
    """The revision that the database says it has; None: it has no tables yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    if revision_of(connection) == REVISION:
        return
    _run_alembic(connection)


def _run_alembic(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - a fifth of a second that only a new or old database needs
    from alembic.config import Config  # noqa: PLC0415 - as above
    from alembic.util import CommandError  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as theirs:
        remedy = "Use the version that wrote it, or a newer one"
        raise LedgerMismatch(f"The ledger cannot be upgraded: {theirs}", remedy=remedy) from theirs
