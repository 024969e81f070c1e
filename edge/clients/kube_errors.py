"""What went wrong between us and an API server, in our own words.

Two doors: `from_answer` for an answer that is not 2xx, `from_exception` for no answer at all. Nothing of the vendor's
exception text is copied, since it may name proxies with passwords. What Kubernetes says in a Status is copied, but not
about Secrets.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Any

import orjson
import urllib3.exceptions as http
from kubernetes.client.exceptions import ApiException

from edge.errors import (
    CredentialRejected,
    EdgeError,
    FencedOff,
    InvalidInput,
    NotFound,
    NotYet,
    OwnershipConflict,
    Rejected,
    ServerFault,
    SiteSilent,
    SiteUnfit,
    SiteUnreachable,
    Throttled,
    WriteConflict,
)
from edge.policy.fencing import POLICY_NAME

_FULL = re.compile(r"database space exceeded|disk is full|no space left on device")
_FENCE = f"ValidatingAdmissionPolicy '{POLICY_NAME}'"

Where = Mapping[str, str]
"""Words for `EdgeError.where`: site, object, url."""

_LONGEST = 1000
_MANAGER = re.compile(r'conflict with "((?:[^"\\]|\\.)+)"')
_NO_RIGHT = re.compile(r'User "[^"]*" cannot ')


class Gone(NotFound):
    """410: this position of a list or watch is too old. The client starts again by itself; callers do not see it."""


class PathUnknown(NotFound):
    """404, and not about an object: the server does not know the path, so the kind is not there or lives elsewhere."""


def from_answer(code: int, body: bytes, headers: Mapping[str, str], where: Where) -> EdgeError:
    """The error that an answer with HTTP `code` (not 2xx) stands for."""
    status = _status_of(body)
    special = _told_by_words(code, str(status.get("message", "")), where)
    if special is not None:
        return special
    message = _message(code, status, where)
    if code == 409:
        return _conflict(status, message, where)
    if code == 403:
        return _forbidden(status, message, where)
    if code >= 500 or code in (408, 429):
        return _server_side(code, message, where, _pause(status, headers))
    return _client_side(code, status, message, where)


def _told_by_words(code: int, said: str, where: Where) -> EdgeError | None:
    """Two refusals that only the server's words tell from others, for Secrets too."""
    if code in (403, 422) and _FENCE in said:
        return FencedOff(
            "The site refuses this run's token: another run has taken the site over",
            remedy="Nothing was written by this request; the other run goes on",
            **where,
        )
    if code >= 500 and _FULL.search(said):
        return SiteUnfit("The site's disk is full", remedy="Free room on the site", reason="disk-full", **where)
    return None


def _client_side(code: int, status: dict[str, Any], message: str, where: Where) -> EdgeError:
    if code == 401:
        return CredentialRejected(message, remedy="Renew the site's credential", **where)
    if code == 404:
        return (NotFound if _names_an_object(status) else PathUnknown)(message, **where)
    if code == 410:
        return Gone(message, **where)
    if code in (400, 413, 415, 422):
        return Rejected(message, causes=_causes(status), **where)
    if 300 <= code < 400:
        return InvalidInput(
            message, remedy="Redirects are not followed, since they would carry the credential elsewhere", **where
        )
    return Rejected(message, **where)


def _server_side(code: int, message: str, where: Where, pause: float | None) -> EdgeError:
    if code == 429:
        return Throttled(message, retry_after=pause, **where)
    # A field that the schema does not have makes server-side apply answer 500; it will never do otherwise.
    if code == 500 and "failed to create typed patch object" in message:
        return Rejected(message, **where)
    fault = ServerFault(message, **where)
    fault.retry_after = pause
    return fault


def _conflict(status: dict[str, Any], message: str, where: Where) -> EdgeError:
    causes = [cause for cause in _raw_causes(status) if cause.get("reason") == "FieldManagerConflict"]
    if not causes:
        return WriteConflict(message, **where)
    managers = {name for cause in causes for name in _MANAGER.findall(str(cause.get("message", "")))}
    fields = [str(cause.get("field", "")) for cause in causes]
    return OwnershipConflict(
        "Another field manager owns what is applied",
        remedy="Let that manager drop the fields, leave them out of the stamp, or apply with force",
        managers=", ".join(sorted(managers)),
        fields=", ".join(fields),
        **where,
    )


def _forbidden(status: dict[str, Any], message: str, where: Where) -> EdgeError:
    """403 says three things: no right, refused by admission or quota, or the namespace is on its way out."""
    if any(cause.get("reason") == "NamespaceTerminating" for cause in _raw_causes(status)):
        return NotYet(message, remedy="The namespace must be gone before it can be used again", **where)
    said = str(status.get("message", ""))
    if _NO_RIGHT.search(said) or not re.search(r"is forbidden|denied", said):
        return CredentialRejected(message, remedy="Grant the site's credential this right", **where)
    return Rejected(message, causes=_causes(status), **where)


def _status_of(body: bytes) -> dict[str, Any]:
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return status if isinstance(status, dict) and status.get("kind") == "Status" else {}


def _message(code: int, status: dict[str, Any], where: Where) -> str:
    """One sentence. A Secret's own text may stand in the server's words, so for Secrets only the reason is kept."""
    said = str(status.get("message", ""))
    if str(where.get("object", "")).startswith("Secret "):
        said = str(status.get("reason", ""))
    said = " ".join(said.split())[:_LONGEST].rstrip(".")
    return f"The API server answered {code}: {said}" if said else f"The API server answered {code}"


def _raw_causes(status: dict[str, Any]) -> list[dict[str, Any]]:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return [cause for cause in causes if isinstance(cause, dict)] if isinstance(causes, list) else []


def _causes(status: dict[str, Any]) -> str | None:
    """Field and reason of each cause; the message stands in the sentence already."""
    found = [f"{cause.get('field', '?')} ({cause.get('reason', '?')})" for cause in _raw_causes(status)]
    return ", ".join(found)[:_LONGEST] or None


def _pause(status: dict[str, Any], headers: Mapping[str, str]) -> float | None:
    details = status.get("details")
    asked = headers.get("Retry-After") or (details.get("retryAfterSeconds") if isinstance(details, dict) else None)
    try:
        return max(0.0, float(asked)) if asked is not None else None
    except (TypeError, ValueError):
        return None  # an HTTP date: clocks at the edge are wrong too often to trust it


def _names_an_object(status: dict[str, Any]) -> bool:
    details = status.get("details")
    return isinstance(details, dict) and bool(details.get("name"))


def from_exception(theirs: Exception, where: Where) -> EdgeError:
    """The error that a failed exchange stands for."""
    tls = _tls_fault(theirs)
    if tls is not None:
        return _from_tls(tls, where)
    if isinstance(theirs, http.ReadTimeoutError):
        return SiteSilent("The site did not answer in time", **where)
    if isinstance(theirs, http.NewConnectionError | http.ConnectTimeoutError | http.ProxyError):
        return SiteUnreachable(f"No connection to the site ({_short(theirs)})", **where)
    if isinstance(theirs, http.LocationValueError):
        return InvalidInput("The site's address is not usable", **where)
    if isinstance(theirs, http.HTTPError | OSError):
        return SiteUnreachable(f"The connection to the site was cut ({_short(theirs)})", **where)
    return ServerFault(f"The site's answer could not be understood ({_short(theirs)})", **where)


def _tls_fault(theirs: BaseException | None) -> ssl.SSLError | None:
    """The TLS error behind the vendor's wrappers, if there is one."""
    for _ in range(8):
        if theirs is None or isinstance(theirs, ssl.SSLError):
            break
        inner = next((arg for arg in theirs.args if isinstance(arg, BaseException)), None)
        theirs = inner or theirs.__cause__ or (theirs.__context__ if isinstance(theirs, ApiException) else None)
    return theirs if isinstance(theirs, ssl.SSLError) else None


def _from_tls(fault: ssl.SSLError, where: Where) -> EdgeError:
    if isinstance(fault, ssl.SSLCertVerificationError):
        return CredentialRejected(
            f"The site's certificate is not accepted ({fault.verify_message})",
            remedy="Check the kubeconfig's certificate authority and the server's name",
            **where,
        )
    reason = (fault.reason or "").upper()
    if "ALERT" in reason:
        return CredentialRejected(f"The site does not accept our certificate ({reason.lower()})", **where)
    return SiteUnreachable(f"The TLS connection was cut ({reason.lower() or 'no reason given'})", **where)


def _short(theirs: BaseException) -> str:
    """A word for the cause without addresses: the operating system's text, or the exception's name."""
    for cause in (theirs.__cause__, theirs.__context__, *theirs.args):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
    return type(theirs).__name__
