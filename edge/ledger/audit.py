"""The audit trail: rows are added and read, never changed."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from edge.ledger.chain import Draft, head_of
from edge.ledger.store import Book
from edge.ledger.tables import audit
from edge.ledger.writer import Transaction
from edge.model.audit import AuditEntry, VerifiedChain
from edge.policy.audit import broken, verify

_CHUNK = 1000


class Audit(Book):
    """Who did what. The other books write here in the same transaction as the change itself."""

    def append(self, actor: str, action: str, subject: str, detail: dict[str, Any] | None = None) -> AuditEntry:
        """Add a row; `detail` is flat JSON without secrets (what looks like one is replaced)."""

        def write(txn: Transaction) -> Draft:
            return txn.audit(action, subject, detail, actor=actor)

        entry = self._store.write(write).entry
        assert entry is not None
        return entry

    def entries(self, after: int = 0, limit: int = 1000) -> tuple[AuditEntry, ...]:
        """Rows with a sequence over `after`, in order."""
        wanted = select(audit).where(audit.c.sequence > after).order_by(audit.c.sequence).limit(limit)
        with self._store.read() as connection:
            return tuple(_entry(row) for row in connection.execute(wanted).mappings())

    def about(self, subject: str) -> tuple[AuditEntry, ...]:
        """All rows of exactly this subject, in order."""
        wanted = select(audit).where(audit.c.subject == subject).order_by(audit.c.sequence)
        with self._store.read() as connection:
            return tuple(_entry(row) for row in connection.execute(wanted).mappings())

    def verify(self, head: VerifiedChain | None = None) -> VerifiedChain:
        """Check every row; answers how many there are, and the last digest.

        Who can write to the database can rewrite the whole trail. Keep the answer elsewhere, and give it as `head` the
        next time: then a rewritten or shortened trail is found too. Raises ChainBroken with the first bad `sequence`.
        """
        with self._store.read(snapshot=True) as connection:
            recorded = head_of(connection)
            # Closed at once also when a bad row ends the reading, or PostgreSQL's cursor would outlive it.
            with closing(_all(connection)) as entries:
                return verify(entries, recorded, head)


def _all(connection: Connection) -> Generator[AuditEntry, None, None]:
    streamed = connection.execution_options(yield_per=_CHUNK)
    with streamed.execute(select(audit).order_by(audit.c.sequence)) as rows:
        for row in rows.mappings():
            yield _entry(row)


def _entry(row: RowMapping) -> AuditEntry:
    fields = dict(row)
    try:
        fields["detail"] = json.loads(fields["detail"])
        return AuditEntry.model_validate(fields)
    except ValueError as theirs:
        raise broken(row["sequence"], f"Row {row['sequence']} was edited: it is no longer readable") from theirs
