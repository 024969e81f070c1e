"""What the database says when it fails, in the words of our error tree. Nothing of SQLAlchemy leaves the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from edge.errors import CredentialRejected, EdgeError, InvalidInput, LedgerBusy, LedgerMismatch, WriteConflict

_DEADLOCK, _NOT_SERIAL = "40P01", "40001"
_BAD_LOGIN = ("28000", "28P01")
_NO_LOGIN = ("password authentication failed", "FATAL:  role", "no pg_hba.conf entry")
_UNUSABLE = (
    "readonly database",
    "unable to open database file",
    "not a database",
    "no such table",
    "malformed",
    "does not exist",
)


@contextmanager
def our_errors() -> Iterator[None]:
    """Raise SQLAlchemy's errors as ours, the original as their cause."""
    try:
        yield
    except exc.SQLAlchemyError as theirs:
        raise translate(theirs) from theirs
    except sqlite3.Error as theirs:
        # From a connection that is not SQLAlchemy's yet, while it is being set up.
        raise _by_text(str(theirs)) or LedgerBusy(f"The ledger's file cannot be read: {theirs}") from theirs


def translate(theirs: exc.SQLAlchemyError) -> EdgeError:
    """Our error for theirs. Only the database's own sentence is kept: statements and parameters stay out of it."""
    if not isinstance(theirs, exc.DBAPIError):
        busy = isinstance(theirs, exc.TimeoutError)
        return LedgerBusy("No free connection") if busy else InvalidInput(_said(theirs))
    said, state = _said(theirs.orig), str(getattr(theirs.orig, "sqlstate", None) or "")
    if state in (_DEADLOCK, _NOT_SERIAL):
        return WriteConflict(f"Two writers of the ledger met: {said}")
    if state in _BAD_LOGIN or any(words in said for words in _NO_LOGIN):
        return CredentialRejected(f"The ledger's database refuses the login: {said}")
    return _by_text(said) or _by_kind(theirs, said)


def _by_text(said: str) -> EdgeError | None:
    if any(words in said for words in _UNUSABLE):
        return LedgerMismatch(f"The ledger's database cannot be used: {said}")
    return None


def collided(error: Exception) -> bool:
    """Whether the database stopped the transaction because of another one. A second go then finds that one's rows."""
    theirs = error.__cause__
    return isinstance(theirs, exc.IntegrityError) or (
        isinstance(theirs, exc.DBAPIError) and isinstance(error, WriteConflict)
    )


def _by_kind(theirs: exc.DBAPIError, said: str) -> EdgeError:
    if isinstance(theirs, exc.IntegrityError):
        return LedgerMismatch(f"The ledger refuses the row: {said}")
    if isinstance(theirs, exc.DataError | exc.StatementError) and not isinstance(theirs, exc.OperationalError):
        return InvalidInput(f"The ledger cannot store the value: {said}")
    return LedgerBusy(f"The ledger's database did not do it: {said}")


def _said(theirs: BaseException | None) -> str:
    return str(theirs).strip().partition("\n")[0]
