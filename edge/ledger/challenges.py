"""Challenges: the nonces that were given out, and which registration answered each first.

A storm of devices asks for many, so they cost one row each and leave nothing on the audit trail.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, or_, select, update

from edge.ledger.store import Book
from edge.ledger.tables import challenges
from edge.ledger.writer import Transaction
from edge.model.admission import Challenge
from edge.model.device import Device

_ADD = insert(challenges)
_GET = select(challenges).where(challenges.c.nonce == bindparam("a"))
_UNANSWERED = select(func.count()).select_from(challenges).where(challenges.c.answered_at.is_(None))
_OPEN_OF = (challenges.c.device_id == bindparam("a"), challenges.c.answered_at.is_(None))
_NEWEST = select(challenges.c.nonce).where(*_OPEN_OF).order_by(challenges.c.issued_at.desc()).limit(bindparam("b"))
_FORGET = delete(challenges).where(*_OPEN_OF, challenges.c.nonce.not_in(_NEWEST))
_ANSWER = (
    update(challenges)
    .where(
        challenges.c.nonce == bindparam("a"),
        challenges.c.device_id == bindparam("b"),
        challenges.c.answered_at.is_(None),
    )
    .values(answered_at=bindparam("new_at"), answer=bindparam("new_answer"), generation=bindparam("new_generation"))
)


class Challenges(Book):
    """Nonces on their way to a device and back."""

    def issue(self, challenge: Challenge, *, most: int | None = None) -> Challenge:
        """Put a new challenge on record. Raises LedgerMismatch when its nonce was given out before.

        With `most`, the device keeps as many that are not answered, the newest, and older ones are forgotten.
        """
        self._store.write(lambda txn: _issue(txn, challenge, most))
        return challenge

    def unanswered(self) -> int:
        """How many challenges are on record that no device has answered."""
        with self._store.read() as connection:
            return connection.execute(_UNANSWERED).scalar_one()

    def get(self, nonce: str) -> Challenge | None:
        """The challenge with this nonce, whoever it was given to; None when there is none, or none any more."""
        with self._store.read() as connection:
            row = connection.execute(_GET, {"a": nonce}).mappings().one_or_none()
        return None if row is None else Challenge.model_validate(dict(row))

    def purge(self, before: datetime) -> int:
        """Forget challenges that expired before then; answers how many.

        The one that a device answered last is kept: its registration is checked against it whenever onboarding begins
        again, however late.
        """
        later = challenges.alias("later")
        answered_since = exists().where(
            later.c.device_id == challenges.c.device_id, later.c.answered_at > challenges.c.answered_at
        )
        useless = or_(challenges.c.answered_at.is_(None), answered_since)
        old = delete(challenges).where(challenges.c.expires_at < before, useless)
        return self._store.write(lambda txn: txn.connection.execute(old).rowcount)


def _issue(txn: Transaction, challenge: Challenge, most: int | None) -> None:
    txn.connection.execute(_ADD, challenge.model_dump())
    if most is not None:
        txn.connection.execute(_FORGET, {"a": challenge.device_id, "b": most})


def answer_challenge(txn: Transaction, nonce: str, *, device: Device, answer: str, at: datetime) -> None:
    """The first answer sticks; a nonce that was not given to this device is left alone."""
    known = {"a": nonce, "b": device.device_id}
    txn.connection.execute(_ANSWER, {**known, "new_at": at, "new_answer": answer, "new_generation": device.generation})


def answer_of(connection: Connection, nonce: str) -> str | None:
    """The digest of the registration that answered a nonce; empty while none has, None for an unknown nonce."""
    row = connection.execute(select(challenges.c.answer).where(challenges.c.nonce == nonce)).one_or_none()
    return None if row is None else str(row.answer)
