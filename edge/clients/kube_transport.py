"""One API server on the wire: the official client's `ApiClient`, with TLS, time-outs, retries and errors of ours.

The official client is used below its models (`call_api` with bytes in and out): its typed calls cost 0.4 to 0.6 ms of
CPU each, mostly for models that we do not need. Its pool is replaced by one with a ready `SSLContext`, for two reasons:
the context is made once per authority instead of once per connection, and a client key need not stay in a file.
"""

from __future__ import annotations

import contextlib
import copy
import os
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import urllib3
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException
from pydantic import Field

from edge.clients import kube_errors
from edge.clients.access import SiteAccess
from edge.clients.retry import Retrier, RetryPolicy
from edge.errors import InvalidInput, ServerFault, SiteSilent, WriteConflict
from edge.model.base import Value

_CONNECTIONS = 8
_CHUNK = 65536
_LONGEST_ANSWER = 256 * 1024 * 1024
_FAULTS = (ApiException, urllib3.exceptions.HTTPError, OSError)

Header = tuple[str, str]


class Timeouts(Value):
    """Seconds: for making a connection, for every wait on the other side after that, and for one whole answer.

    Never unlimited. `answer_s` is long, since a full list over a thin link takes its time, but a site that sends a byte
    now and then must not hold a worker for ever.
    """

    connect_s: float = Field(default=5.0, gt=0, le=300)
    read_s: float = Field(default=30.0, gt=0, le=3600)
    answer_s: float = Field(default=300.0, gt=0, le=3600)


class Call(NamedTuple):
    """One request. `path` holds the query; `about` names the object or kind for errors.

    `body` is a dict for `application/json` and merge patches, which the official client serialises itself, else bytes.
    """

    method: str
    path: str
    body: bytes | dict[str, Any] | None = None
    content_type: str = ""
    accept: str = "application/json"
    about: str = ""


class Answer(NamedTuple):
    """An answer in 2xx: the object, the bytes it came in, and the server's own time as it stands there (or "")."""

    json: dict[str, Any]
    body: bytes
    date: str = ""


class Heard:
    """The server's own time in its latest answer that said it, and ours when that came."""

    def __init__(self) -> None:
        self.latest: tuple[str, datetime] | None = None

    def note(self, date: str) -> None:
        """An answer came, with this `Date`. Both times change together, so that threads never see a mixture."""
        if date:
            self.latest = (date, datetime.now(UTC))


class Page(NamedTuple):
    """An answer as it came, whatever its status."""

    status: int
    content_type: str
    body: bytes


class Transport:
    """Sends calls to one site. Safe to share between threads; holds at most a few idle connections."""

    def __init__(self, access: SiteAccess, site: str, timeouts: Timeouts, retry: RetryPolicy) -> None:
        self.site = site
        self._timeouts = timeouts
        self._retrier = Retrier(retry)
        self._server = access.server.rstrip("/")
        self._headers = {"User-Agent": "edge-platform", "Accept-Encoding": "gzip"}
        if access.token:
            self._headers["Authorization"] = f"Bearer {access.token.get_secret_value()}"
        self._write_headers: tuple[Header, ...] = ()
        self._before: Callable[[str], None] | None = None
        self.heard = Heard()
        self._api = ApiClient(Configuration(host=self._server, proxy="", no_proxy="*", retries=False))
        self._api.rest_client.pool_manager = _pool(access)

    def acting_as(self, user: str) -> Transport:
        """The same connections, with each request made in this user's name, who has no write headers of ours."""
        other = copy.copy(self)
        other._headers = {**self._headers, "Impersonate-User": user}
        other._write_headers = ()
        return other

    def guarded(self, write_headers: Sequence[Header], before: Callable[[str], None]) -> Transport:
        """The same connections; writes carry these headers, and `before` gets each call's method and may raise."""
        other = copy.copy(self)
        other._write_headers, other._before = tuple(write_headers), before
        return other

    def send(self, call: Call) -> Answer:
        """The answer, tried again as the policy says. Raises one of ours for anything but a JSON object in 2xx."""
        return self._retrier.run(lambda: self.send_once(call))

    def send_certain(self, call: Call) -> Answer:
        """As `send`, but a conflict is raised at once: the same body would only meet it again."""

        def attempt() -> Answer | WriteConflict:
            try:
                return self.send_once(call)
            except WriteConflict as conflict:
                return conflict

        found = self._retrier.run(attempt)
        if isinstance(found, WriteConflict):
            raise found
        return found

    def send_once(self, call: Call) -> Answer:
        """As `send`, without retries: for loops that come again anyway."""
        where = self._where(call)
        if self._before is not None:
            self._before(call.method)
        try:
            response = self._open(call, self._timeouts.read_s)
            self.heard.note(response.headers.get("Date", ""))
            body = self._whole(response, where)
        except _FAULTS as theirs:
            raise kube_errors.from_exception(theirs, where) from theirs
        if 200 <= response.status < 300:
            return Answer(_object(body, where), body, response.headers.get("Date", ""))
        raise kube_errors.from_answer(response.status, body, response.headers, where)

    def fetch(self, call: Call, wait_s: float, most: int) -> Page:
        """Whatever comes back, without retries. ServerFault when it is longer than `most` bytes, else as `send`."""
        where = self._where(call)
        try:
            response = self._open(call, wait_s)
            body = self._whole(response, where, most=most, within_s=wait_s)
        except _FAULTS as theirs:
            raise kube_errors.from_exception(theirs, where) from theirs
        return Page(response.status, response.headers.get("Content-Type", ""), body)

    @contextlib.contextmanager
    def stream(self, call: Call, silence_s: float) -> Iterator[Iterator[bytes]]:
        """The lines of a long answer as they come. `silence_s`: the longest wait for the next bytes."""
        where = self._where(call)
        response = self._retrier.run(lambda: self._open_stream(call, silence_s))
        try:
            yield self._lines(response, where)
        finally:
            response.close()

    def close(self) -> None:
        """Close idle connections. The transport can still be used; it connects anew."""
        self._api.close()

    def _open_stream(self, call: Call, silence_s: float) -> urllib3.BaseHTTPResponse:
        where = self._where(call)
        try:
            response = self._open(call, silence_s)
            if response.status == 200:
                return response
            body = self._whole(response, where)
        except _FAULTS as theirs:
            raise kube_errors.from_exception(theirs, where) from theirs
        raise kube_errors.from_answer(response.status, body, response.headers, where)

    def _open(self, call: Call, read_s: float) -> urllib3.BaseHTTPResponse:
        headers = urllib3.HTTPHeaderDict({**self._headers, "Accept": call.accept})
        if call.content_type:
            headers["Content-Type"] = call.content_type
        if call.method != "GET":
            for name, text in self._write_headers:
                headers.add(name, text)
        answer = self._api.call_api(
            call.method,
            self._server + call.path,
            header_params=headers,
            body=call.body,
            _request_timeout=(self._timeouts.connect_s, read_s),
        )
        response: urllib3.BaseHTTPResponse = answer.response
        return response

    def _whole(
        self,
        response: urllib3.BaseHTTPResponse,
        where: Mapping[str, str],
        *,
        most: int = _LONGEST_ANSWER,
        within_s: float | None = None,
    ) -> bytes:
        """The answer's body, within its limits of time and size."""
        deadline = time.monotonic() + (within_s or self._timeouts.answer_s)
        body = bytearray()
        while chunk := response.read1(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > most:
                response.close()
                raise ServerFault("The site's answer is longer than any answer should be", **where)
            if time.monotonic() > deadline:
                response.close()
                raise SiteSilent("The site's answer takes too long", **where)
        response.release_conn()
        return bytes(body)

    @staticmethod
    def _lines(response: urllib3.BaseHTTPResponse, where: Mapping[str, str]) -> Iterator[bytes]:
        rest = b""
        try:
            for chunk in response.stream(_CHUNK, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line for line in lines if line)
        except _FAULTS as theirs:
            raise kube_errors.from_exception(theirs, where) from theirs
        if rest:
            yield rest

    def _where(self, call: Call) -> dict[str, str]:
        words = {"site": self.site, "object": call.about, "url": self._server}
        return {word: text for word, text in words.items() if text}


def _object(body: bytes, where: Mapping[str, str]) -> dict[str, Any]:
    """The JSON object. What stands between us and a site may answer 200 with a page of its own."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as theirs:
        raise ServerFault("The site's answer is not JSON", **where) from theirs
    if not isinstance(found, dict):
        raise ServerFault("The site's answer is not a JSON object", **where)
    return found


def _pool(access: SiteAccess) -> urllib3.PoolManager:
    options: dict[str, Any] = {"maxsize": _CONNECTIONS, "retries": False}
    if access.server.startswith("https:"):
        options["ssl_context"] = _CONTEXTS.context_for(access)
        if access.insecure:
            options["cert_reqs"] = "CERT_NONE"
            options["assert_hostname"] = False
    if access.tls_server_name:
        options["server_hostname"] = access.tls_server_name
    try:
        if access.proxy:
            return urllib3.ProxyManager(access.proxy.get_secret_value(), **options)
        return urllib3.PoolManager(**options)
    except (urllib3.exceptions.HTTPError, ValueError) as theirs:
        raise InvalidInput("The proxy's address is not usable", field="proxy-url") from theirs


class _Contexts:
    """TLS contexts by authority, for sites without a certificate of their own: a fleet shares a few."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._known: dict[tuple[str, bool], ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def context_for(self, access: SiteAccess) -> ssl.SSLContext:
        if access.client_certificate:
            return _context(access)
        key = (access.ca_data, access.insecure)
        with self._lock:
            found = self._known.get(key)
            if found is None:
                if len(self._known) >= self._most:
                    self._known.pop(next(iter(self._known)))
                found = self._known[key] = _context(access)
            return found


_CONTEXTS = _Contexts()


def _context(access: SiteAccess) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=access.ca_data or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if access.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if access.client_certificate:
            _load_certificate(context, access)
    except (ssl.SSLError, ValueError) as theirs:
        raise InvalidInput("A certificate or key of the site's access is not usable", server=access.server) from theirs
    return context


def _load_certificate(context: ssl.SSLContext, access: SiteAccess) -> None:
    """`ssl` reads keys from files only, so one exists for as long as that takes, readable by nobody else."""
    key = access.client_key.get_secret_value() if access.client_key else ""
    handle, name = tempfile.mkstemp(prefix="edge-", suffix=".pem")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(f"{access.client_certificate}\n{key}\n")
        context.load_cert_chain(name, password="")  # an empty one, or OpenSSL asks on the terminal
    finally:
        Path(name).unlink()
