"""GET from a Service at a site, through the API server's proxy: no port of the site needs to be open for it."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, urlencode

import orjson

from edge.clients.kube_errors import from_answer
from edge.clients.kube_transport import Call
from edge.clients.kubernetes import SiteClient
from edge.errors import InvalidInput
from edge.policy.checks import check_path

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
MOST_BYTES = 1024 * 1024
"""The longest answer that is read."""
ANSWER_WITHIN_S = 10.0


class ServicePort(NamedTuple):
    """A port of a Service; `port` is its number or name."""

    namespace: str
    service: str
    port: str
    scheme: str = "http"

    def check(self) -> None:
        """Raise InvalidInput for words that are no names: they become part of a path."""
        for field, value in (("namespace", self.namespace), ("service", self.service), ("port", self.port)):
            if not _NAME.fullmatch(value):
                raise InvalidInput("This is no name of a Service's place", field=field, value=value[:200])

    def __str__(self) -> str:
        return f"Service {self.namespace}/{self.service}:{self.port}"


class ServiceAnswer(NamedTuple):
    """What came back. `refusal` is the API server's own word when the Service was not reached; then all is its."""

    status: int
    body: bytes
    refusal: str = ""


def ask_service(
    client: SiteClient, at: ServicePort, path: str = "/", *, query: dict[str, str] | None = None, wait_s: float = 0.0
) -> ServiceAnswer:
    """The answer of the Service, of any status, within `wait_s` seconds (0: ten). Not tried again.

    Raises InvalidInput for words that are no names and a path that leaves the Service, CredentialRejected when the API
    server does not let us use its proxy, SiteUnreachable or SiteSilent when it cannot be reached, ServerFault for an
    answer longer than MOST_BYTES.
    """
    check_path(path)
    at.check()
    name = ":".join(part for part in ("https" if at.scheme == "https" else "", at.service, at.port) if part)
    path, _, given = path.partition("?")
    text = "&".join(part for part in (given, urlencode(query or {})) if part)
    place = f"/api/v1/namespaces/{at.namespace}/services/{name}"
    url = f"{place}/proxy{quote(path, safe='/%:@')}"
    call = Call("GET", f"{url}?{text}" if text else url, accept="*/*", about=str(at))
    page = client.transport.fetch(call, wait_s or ANSWER_WITHIN_S, MOST_BYTES)
    refusal = _refusal(page.body) if page.status >= 400 else ""
    if page.status == 401 or (page.status == 403 and refusal):
        raise from_answer(page.status, page.body, {}, {"site": client.site, "object": str(at)})
    return ServiceAnswer(page.status, page.body, refusal)


def _refusal(body: bytes) -> str:
    """What a Kubernetes Status says; "" for anything else, which is the Service's own answer."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    is_status = isinstance(found, dict) and (found.get("kind"), found.get("apiVersion")) == ("Status", "v1")
    return str(found.get("message") or "no reason given") if is_status else ""
