"""From Azure's answers and azure-core's exceptions to our own errors. Nothing of theirs passes this file.

An answer that asks for patience (408, 429, 5xx) and a broken connection become `Transient` already inside the pipeline,
so that `edge.clients.arc_retry` can try again; everything else is translated where a call into the SDK ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseTimeoutError,
)

from edge.errors import (
    CredentialRejected,
    EdgeError,
    InvalidInput,
    NotFound,
    OperationFailed,
    Rejected,
    ServerFault,
    SiteSilent,
    SiteUnreachable,
    Throttled,
    Transient,
    WriteConflict,
)

_LONGEST = 1000
_NO_CONNECTION = ("Failed to establish a new connection", "Connection aborted", "Read timed out")
_LOGIN = "Check the credential that Azure's rules find (environment, workload or managed identity, `az login`)"
_ROLE = "Give this identity the role 'Kubernetes Cluster - Azure Arc Onboarding' on the resource group"


def of_status(status: int, retry_after: float | None, url: str) -> Transient | None:
    """The error for an answer that may be better next time; None when it is an answer like any other."""
    if status == 429:
        return Throttled("Azure asks for fewer requests", retry_after=retry_after, url=url)
    if status == 408:
        return SiteSilent("Azure gave up waiting for the request", url=url)
    if status >= 500:
        error = ServerFault(f"Azure answered {status}", url=url)
        error.retry_after = retry_after
        return error
    return None


def of_connection(error: AzureError, url: str) -> Transient | None:
    """The error for a request that got no answer; None when it is another kind of trouble."""
    if isinstance(error, ServiceResponseTimeoutError):
        return SiteSilent("Azure did not answer in time", url=url)
    if isinstance(error, ServiceRequestError):
        return SiteUnreachable(f"Azure cannot be reached: {_short(error)}", url=url)
    if isinstance(error, HttpResponseError) or not _is_connection(error):
        return None
    return SiteUnreachable(f"The connection to Azure broke: {_short(error)}", url=url)


def _is_connection(error: AzureError) -> bool:
    return type(error).__name__ in {"ServiceResponseError", "IncompleteReadError"}


@contextmanager
def translated(**where: str) -> Iterator[None]:
    """Turn what azure-core raises inside into one of `edge.errors`. `where` goes into the error."""
    try:
        yield
    except EdgeError as error:
        error.where = {**where, **error.where}
        raise
    except AzureError as error:
        raise _ours(error, where) from error
    except ValueError as error:
        raise InvalidInput(f"Azure's SDK does not take this: {_short(error)}", **where) from error


def _ours(error: AzureError, where: dict[str, str]) -> EdgeError:
    if isinstance(error, ClientAuthenticationError) and error.response is None:
        return _without_token(_short(error), where)
    if isinstance(error, HttpResponseError):
        return _of_answer(error, where)
    return of_connection(error, "") or ServerFault(f"Azure's SDK gave up: {_short(error)}", **where)


def _without_token(text: str, where: dict[str, str]) -> EdgeError:
    """azure-identity says everything with one exception; only its text tells a token service that is away."""
    if any(sign in text for sign in _NO_CONNECTION):
        return SiteUnreachable(f"Azure's token service cannot be reached: {text}", **where)
    return CredentialRejected(f"No token for Azure: {text}", remedy=_LOGIN, **where)


def _of_answer(error: HttpResponseError, where: dict[str, str]) -> EdgeError:
    status = error.status_code or 0
    code, message = _azure_words(error)
    text = f"{code}: {message}" if code else message
    where = {**where, "azure_code": code} if code else where
    if 200 <= status < 300:
        return OperationFailed(f"The operation failed in Azure, {text}", **where)
    if status == 401:
        return CredentialRejected(f"Azure does not accept the token, {text}", remedy=_LOGIN, **where)
    if status == 403:
        return CredentialRejected(f"Azure does not allow this, {text}", remedy=_ROLE, **where)
    kinds: dict[int, type[EdgeError]] = {404: NotFound, 409: WriteConflict, 412: WriteConflict}
    if status in kinds:
        return kinds[status](f"Azure answered {status}, {text}", **where)
    return Rejected(f"Azure answered {status}, {text}", **where)


def _azure_words(error: HttpResponseError) -> tuple[str, str]:
    """Azure's own code and message, as they stand in the body of the answer."""
    if error.error is not None and error.error.code:
        return str(error.error.code), str(error.error.message or "")[:_LONGEST]
    return "", _short(error)


def _short(error: BaseException) -> str:
    """The first lines of a message. azure-core puts neither tokens nor headers into it."""
    return " ".join(str(error).split())[:_LONGEST]
