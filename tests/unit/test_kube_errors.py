"""Which of the vendors' exceptions becomes which error of ours, and what stays out of the text."""

from __future__ import annotations

import errno
import ssl

import pytest
import urllib3.exceptions as http
from kubernetes.client.exceptions import ApiException
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from edge.clients.kube_errors import from_answer, from_exception
from edge.errors import (
    CredentialRejected,
    EdgeError,
    InvalidInput,
    ServerFault,
    SiteSilent,
    SiteUnreachable,
    Throttled,
)

POOL = HTTPConnectionPool("site.test")
REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] something")
    error.reason = reason
    return error


def unverified() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


def hidden_in_the_official_client(cause: Exception) -> ApiException:
    """As the official client raises it: inside an `except`, without `from`."""
    error = ApiException(status=0, reason="SSLError")
    error.__context__ = http.SSLError(cause)
    return error


EXCEPTIONS = [
    pytest.param(http.NewConnectionError(HTTPConnection("site.test"), "no"), SiteUnreachable, id="no-connection"),
    pytest.param(http.ConnectTimeoutError(POOL, "slow"), SiteUnreachable, id="connect-timeout"),
    pytest.param(http.ReadTimeoutError(POOL, "/", "slow"), SiteSilent, id="read-timeout"),
    pytest.param(
        http.ProtocolError("Connection aborted", ConnectionResetError(104, "reset")), SiteUnreachable, id="reset"
    ),
    pytest.param(http.ProxyError("http://u:s3cret@proxy", REFUSED), SiteUnreachable, id="proxy"),
    pytest.param(http.LocationParseError("s3cret"), InvalidInput, id="address"),
    pytest.param(hidden_in_the_official_client(unverified()), CredentialRejected, id="not-verified"),
    pytest.param(
        hidden_in_the_official_client(tls("TLSV13_ALERT_CERTIFICATE_REQUIRED")), CredentialRejected, id="tls-alert"
    ),
    pytest.param(hidden_in_the_official_client(tls("UNEXPECTED_EOF_WHILE_READING")), SiteUnreachable, id="tls-cut"),
    pytest.param(http.SSLError(tls("WRONG_VERSION_NUMBER")), SiteUnreachable, id="tls-while-reading"),
    pytest.param(REFUSED, SiteUnreachable, id="operating-system"),
    pytest.param(ApiException(status=0, reason="s3cret"), ServerFault, id="anything-else"),
]


@pytest.mark.parametrize(("theirs", "leaf"), EXCEPTIONS)
def test_each_exception_becomes_one_error_without_their_text(theirs: Exception, leaf: type[EdgeError]) -> None:
    ours = from_exception(theirs, {"site": "site-0001"})
    assert type(ours) is leaf
    assert ours.where == {"site": "site-0001"}
    assert "s3cret" not in str(ours)


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        pytest.param({"Retry-After": "7"}, b"", 7.0, id="header"),
        pytest.param({}, b'{"kind":"Status","details":{"retryAfterSeconds":3}}', 3.0, id="details"),
        pytest.param({"Retry-After": "-7"}, b"", 0.0, id="negative"),
        pytest.param({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"", None, id="a-date-is-not-trusted"),
        pytest.param({}, b"", None, id="nothing-said"),
    ],
)
@pytest.mark.parametrize(("code", "leaf"), [(429, Throttled), (503, ServerFault)], ids=["429", "503"])
def test_the_pause_that_is_asked_for_is_kept(
    code: int, leaf: type[EdgeError], headers: dict[str, str], body: bytes, expected: float | None
) -> None:
    error = from_answer(code, body, headers, {})
    assert type(error) is leaf
    assert isinstance(error, Throttled | ServerFault)
    assert error.retry_after == expected


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'{"kind":"Status","details":5}', b'{"kind":"Status","details":{"causes":[1]}}'],
    ids=["empty", "null", "list", "details-of-another-shape", "causes-of-another-shape"],
)
@pytest.mark.parametrize("code", [302, 400, 401, 403, 404, 409, 410, 418, 422, 429, 500])
def test_no_answer_is_too_strange_for_an_error(code: int, body: bytes) -> None:
    assert isinstance(from_answer(code, body, {}, {}), EdgeError)


def test_a_long_message_is_cut() -> None:
    body = b'{"kind":"Status","message":"' + b"x" * 100_000 + b'"}'
    assert len(str(from_answer(422, body, {}, {}))) < 1100
