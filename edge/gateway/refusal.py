"""How a request or a message is refused: a status, a word for the metrics, and JSON that names field and value."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from starlette.responses import JSONResponse

from edge.errors import EdgeError, InvalidInput, LedgerMismatch


class Reason(StrEnum):
    """Why requests are refused; the label `reason` in the metrics."""

    UNAUTHORIZED = "unauthorized"
    TOO_LARGE = "too-large"
    TOO_SLOW = "too-slow"
    CONTENT_TYPE = "content-type"
    MALFORMED = "malformed"
    UNUSABLE = "unusable"
    IDENTITY = "identity"
    """The sender may speak to the gateway, and the device does not prove what its event needs."""
    CONFLICT = "conflict"
    ORIGIN = "origin"
    TOO_MANY = "too-many"
    BUSY = "busy"
    FAULT = "fault"


STATUS = {
    Reason.UNAUTHORIZED: 401,
    Reason.TOO_LARGE: 413,
    Reason.TOO_SLOW: 408,
    Reason.CONTENT_TYPE: 415,
    Reason.MALFORMED: 400,
    Reason.UNUSABLE: 422,
    Reason.IDENTITY: 403,
    Reason.CONFLICT: 409,
    Reason.ORIGIN: 403,
    Reason.TOO_MANY: 429,
    Reason.BUSY: 503,
    Reason.FAULT: 500,
}
_RETRY_AFTER_S = {Reason.BUSY: "2", Reason.TOO_MANY: "60"}


class Refused(Exception):
    """Ends a request. `error` is what the sender is told; it never holds a secret."""

    def __init__(self, reason: Reason, error: EdgeError) -> None:
        self.reason = reason
        self.error = error
        super().__init__(str(error))


def refuse(reason: Reason, what: str, *, remedy: str = "", **where: object) -> Refused:
    """A refusal whose fault lies in the request."""
    return Refused(reason, InvalidInput(what, remedy=remedy, **where))


def refused_by_ledger(error: EdgeError) -> Refused:
    """A refusal because the ledger said no: the same key with other content, no answer, or a fault of ours."""
    if isinstance(error, LedgerMismatch):
        return Refused(Reason.CONFLICT, error)
    return Refused(Reason.BUSY if error.transient else Reason.FAULT, error)


def refusal_body(refused: Refused) -> dict[str, Any]:
    """What the sender is told, as JSON over HTTP and MQTT."""
    error = refused.error
    return {
        "error": error.what,
        "code": error.code,
        "reason": refused.reason.value,
        "where": error.where,
        "remedy": error.remedy,
    }


def answer_refusal(refused: Refused) -> JSONResponse:
    """The response. Nothing of the request was stored."""
    headers = {}
    if refused.reason is Reason.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if refused.reason in _RETRY_AFTER_S:
        headers["Retry-After"] = _RETRY_AFTER_S[refused.reason]
    return JSONResponse(refusal_body(refused), status_code=STATUS[refused.reason], headers=headers)
