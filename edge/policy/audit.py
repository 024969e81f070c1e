"""The hash chain of the audit trail: each row's digest covers the row and the digest before it.

The digest is SHA-256 over the UTF-8 text of a JSON list (no spaces, keys sorted, other letters than ASCII as they are):
`[previous, sequence, at, actor, action, subject, detail]`, `at` in UTC as `YYYY-MM-DDTHH:MM:SS.ffffff+00:00`. Anybody
can check an exported trail with these two sentences and no code of ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC

from edge.errors import ChainBroken
from edge.model.audit import AuditEntry, VerifiedChain

NOTHING = VerifiedChain(count=0, head="0" * 64)
"""The chain before its first row."""


def canonical(value: object) -> str:
    """The one JSON text of a value. Raises ValueError for NaN and the infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(entry: AuditEntry) -> str:
    """What the entry's `digest` must be."""
    at = entry.at.astimezone(UTC).isoformat(timespec="microseconds")
    row = [entry.previous, entry.sequence, at, entry.actor, entry.action, entry.subject, entry.detail]
    return hashlib.sha256(canonical(row).encode()).hexdigest()


def append(chain: VerifiedChain, entry: AuditEntry) -> AuditEntry:
    """The entry as the chain's next row: its sequence, `previous` and `digest` are set, whatever they were."""
    linked = entry.model_copy(update={"sequence": chain.count + 1, "previous": chain.head})
    return linked.model_copy(update={"digest": digest_of(linked)})


def follow(chain: VerifiedChain, entry: AuditEntry) -> VerifiedChain:
    """The chain with one more row. Raises ChainBroken when the row is not the one that was written there."""
    expected = chain.count + 1
    if entry.sequence != expected:
        raise broken(expected, f"Row {expected} is missing: row {entry.sequence} comes after row {chain.count}")
    if entry.previous != chain.head:
        raise broken(expected, f"Row {expected} does not follow the row before it: one of the two was replaced")
    if digest_of(entry) != entry.digest:
        raise broken(expected, f"Row {expected} was edited: its digest is another")
    return VerifiedChain(count=expected, head=entry.digest)


def verify(entries: Iterable[AuditEntry], recorded: VerifiedChain, kept: VerifiedChain | None = None) -> VerifiedChain:
    """Check all rows, in order, against the head `recorded` beside them and one `kept` elsewhere at an earlier time.

    Raises ChainBroken, with the first bad row's number as `sequence`.
    """
    chain = NOTHING
    for entry in entries:
        chain = follow(chain, entry)
        if kept is not None and chain.count == kept.count and chain.head != kept.head:
            raise broken(
                chain.count, f"Row {chain.count} is not the one whose digest was kept: the trail was rewritten"
            )
    for head, name in ((recorded, "the recorded head"), (kept, "the kept head")):
        if head is not None and head.count > chain.count:
            raise broken(chain.count + 1, f"Rows are missing at the end: {name} counts {head.count} rows")
    if recorded != chain:
        raise broken(min(recorded.count, chain.count) + 1, "The last row is not the one that the recorded head names")
    return chain


def broken(sequence: int, what: str) -> ChainBroken:
    """The error for a bad row."""
    remedy = "Keep the database as it is, and compare it with a backup"
    return ChainBroken(what, remedy=remedy, sequence=sequence)
