"""How a request is refused: a status, a word for the metrics, and a JSON body that names field and value."""

from __future__ import annotations

from enum import StrEnum

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
    CONFLICT = "conflict"
    ORIGIN = "origin"
    BUSY = "busy"
    FAULT = "fault"


STATUS = {
    Reason.UNAUTHORIZED: 401,
    Reason.TOO_LARGE: 413,
    Reason.TOO_SLOW: 408,
    Reason.CONTENT_TYPE: 415,
    Reason.MALFORMED: 400,
    Reason.UNUSABLE: 422,
    Reason.CONFLICT: 409,
    Reason.ORIGIN: 403,
    Reason.BUSY: 503,
    Reason.FAULT: 500,
}
_RETRY_AFTER_S = "2"


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


def answer_refusal(refused: Refused) -> JSONResponse:
    """The response. Nothing of the request was stored."""
    error = refused.error
    body = {
        "error": error.what,
        "code": error.code,
        "reason": refused.reason.value,
        "where": error.where,
        "remedy": error.remedy,
    }
    headers = {}
    if refused.reason is Reason.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if refused.reason is Reason.BUSY:
        headers["Retry-After"] = _RETRY_AFTER_S
    return JSONResponse(body, status_code=STATUS[refused.reason], headers=headers)
