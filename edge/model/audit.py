"""The audit trail: who did what, in rows chained by hash."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from edge.model.base import Value


class AuditEntry(Value):
    """One row. `previous` and `digest` are SHA-256 in hex; the first row's `previous` is 64 zeros."""

    sequence: int = Field(ge=1)
    at: AwareDatetime
    actor: str
    action: str
    subject: str
    detail: dict[str, str | int | float | bool | None] = {}
    previous: str
    digest: str


class VerifiedChain(Value):
    """A trail up to row `count`, whose digest is `head`. Kept elsewhere, it proves later that nothing was rewritten."""

    count: int = Field(ge=0)
    head: str = Field(pattern=r"^[0-9a-f]{64}$")
