"""How a piece of work on one site or device ended. The expected failure of one of many is a value, not an exception."""

from __future__ import annotations

from enum import StrEnum

from edge.errors import EdgeError, Transient
from edge.model.base import Value


class Status(StrEnum):
    """How it ended. The text is a contract: it stands in the ledger, in `--json` and in events."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPECTED_OFFLINE = "expected-offline"
    """The site is away, and its policy says that this is normal: it uses none of the failure budget."""
    QUARANTINED = "quarantined"
    """A device was refused; no later step ran."""
    HELD = "held"
    """The work stopped before this site was reached; nothing was changed there."""
    SKIPPED = "skipped"
    """Left alone by a rule that the cause names; nothing was changed there."""
    ROLLED_BACK = "rolled-back"
    """It was changed, and taken back to what it was before."""


class Cause(Value):
    """Why something failed: the stable code of `edge.errors`, a sentence, and what to do."""

    code: str
    message: str
    remedy: str = ""
    transient: bool = False
    reason: str = ""
    """Which of the ways in which this can happen, when the code has several: a `Refusal`, the codes of prechecks."""
    retry_after_s: float | None = None
    """Seconds after which a server asked to be tried again."""

    @property
    def said(self) -> str:
        """The message without the remedy that ends it, for tables that show the remedy beside it."""
        return self.message.removesuffix(f". {self.remedy}") if self.remedy else self.message

    @classmethod
    def of(cls, error: EdgeError) -> Cause:
        """The cause that an error describes. The message never holds a secret, because errors never do."""
        return cls(
            code=error.code,
            message=str(error),
            remedy=error.remedy,
            transient=error.transient,
            reason=error.where.get("reason") or error.where.get("codes", ""),
            retry_after_s=error.retry_after if isinstance(error, Transient) else None,
        )


class Outcome(Value):
    """What came of the work on one subject (a site or a device); `seconds` is wall-clock time spent on it."""

    subject: str
    status: Status
    cause: Cause | None = None
    seconds: float = 0.0
    detail: dict[str, str | int | float | bool | list[str]] = {}
    """Of a stamp that came only in part: the objects that were `applied`, that are `unsure` (sent, and no answer came),
    `not_applied`, `pruned`; of one that could not be taken back, those that are `back` and those that are `not_back`.
    """
