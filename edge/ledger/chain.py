"""Where audit rows get their place in the chain. Only one transaction at a time can be here, in whatever process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from edge.errors import InvalidInput
from edge.ledger.tables import audit, audit_head
from edge.model.audit import AuditEntry, VerifiedChain
from edge.policy.audit import append, canonical
from edge.policy.redact import without_secrets


@dataclass
class Draft:
    """A row before it has its place; `entry` is the row as committed."""

    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    entry: AuditEntry | None = None


_HEAD = select(audit_head.c.count, audit_head.c.digest).where(audit_head.c.id == 1)
# On SQLite the transaction holds the only write lock already, and the clause means nothing there.
_LOCKED_HEAD = _HEAD.with_for_update()
_MOVE_HEAD = update(audit_head).values(count=bindparam("new_count"), digest=bindparam("new_digest"))
_ADD = insert(audit)


def head_of(connection: Connection) -> VerifiedChain:
    """The head that is recorded beside the rows."""
    count, digest = connection.execute(_HEAD).one()
    return VerifiedChain(count=count, head=digest)


def seal(connection: Connection, drafts: Sequence[Draft]) -> None:
    """Chain the drafts to the end of the trail.

    It is the last thing a transaction does: the head stays locked only from here to the commit, and no row is locked
    after it, so writers cannot wait for each other in a circle.
    """
    if not drafts:
        return
    count, digest = connection.execute(_LOCKED_HEAD).one()
    chain = VerifiedChain(count=count, head=digest)
    rows = []
    for draft in drafts:
        entry = draft.entry = append(chain, _unplaced(draft))
        chain = VerifiedChain(count=entry.sequence, head=entry.digest)
        rows.append({**entry.model_dump(), "detail": canonical(entry.detail)})
    connection.execute(_ADD, rows)
    connection.execute(_MOVE_HEAD, {"new_count": chain.count, "new_digest": chain.head})


def _unplaced(draft: Draft) -> AuditEntry:
    blank: dict[str, Any] = {"sequence": 1, "previous": "", "digest": "", "detail": without_secrets(draft.detail)}
    try:
        entry = AuditEntry(at=draft.at, actor=draft.actor, action=draft.action, subject=draft.subject, **blank)
        canonical(entry.detail)
    except ValueError as theirs:
        raise InvalidInput("An audit row's detail is flat JSON", action=draft.action, subject=draft.subject) from theirs
    return entry
