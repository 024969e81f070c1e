"""One repository of an OCI registry: reading and pushing manifests and blobs, checked against their digests.

A registry that asks for a login gets the one that was given, or else what Docker's own configuration has for it:
directly (Basic), or through the token that the registry's challenge names (Bearer); without a login an anonymous token
is tried. A registry that is away is a fault of a server, so that nobody takes it for an absent site.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urljoin

import httpx

from edge.clients.docker_config import login_for
from edge.clients.retry import Retrier, RetryPolicy
from edge.errors import (
    CredentialRejected,
    EdgeError,
    InvalidInput,
    NotFound,
    Rejected,
    ServerFault,
    Throttled,
)
from edge.settings import Settings

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LARGEST = 32_000_000
"""The largest blob that is read, in bytes."""
_BYTES = "application/octet-stream"
_LARGEST_MANIFEST = 1_000_000
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_RETRY = RetryPolicy()
_REF = re.compile(
    r"(?:oci://)?(?P<host>(?:[\w.-]+|\[[0-9A-Fa-f:]+\])(?::\d+)?)/(?P<path>[\w./-]+)"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64})|:(?P<tag>[\w.-]+))"
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class ArtifactRef(NamedTuple):
    """Where an artifact is: host with port, path of the repository, tag or digest."""

    host: str
    path: str
    reference: str

    @classmethod
    def parse(cls, text: str, *, what: str = "an artifact") -> Self:
        """Read `host/path:tag` or `host/path@sha256:…`, with or without `oci://`. Raises InvalidInput."""
        match = _REF.fullmatch(text)
        if match is None:
            remedy = "Write oci://host/repository:tag, or @sha256:… for an exact one"
            raise InvalidInput(f"This is not the address of {what} in a registry", remedy=remedy, value=text)
        return cls(match["host"], match["path"], match["digest"] or match["tag"])

    @property
    def is_exact(self) -> bool:
        """Whether it names the content itself, by digest."""
        return self.reference.startswith("sha256:")


class RegistryAccess(NamedTuple):
    """How registries are reached. `ca_file`: a private CA; `auth_file`: Docker's `config.json`, which may be absent.

    `login` is a user and a password or token; it goes before what the file says.
    """

    ca_file: str | None = None
    auth_file: Path | None = None
    login: tuple[str, str] | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the environment says."""
        ca_file = settings.registry_ca_file
        return cls(str(ca_file) if ca_file else None, settings.registry_auth_file)


class Repository:
    """One repository; close it at the end."""

    def __init__(self, ref: ArtifactRef, access: RegistryAccess, *, retry: RetryPolicy = _RETRY) -> None:
        self._ref = ref
        self._access = access
        self._retrier = Retrier(retry)
        self._authorization = ""
        verify = ssl.create_default_context(cafile=access.ca_file)
        self._http = httpx.Client(verify=verify, timeout=_TIMEOUT, follow_redirects=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def manifest(self) -> tuple[dict[str, Any], str]:
        """The manifest under the reference, and its digest."""
        content = self._ask("GET", f"manifests/{self._ref.reference}", most=_LARGEST_MANIFEST, kind=MANIFEST).content
        if self._ref.is_exact:
            _check(content, self._ref.reference, self._ref)
        try:
            manifest = json.loads(content)
        except ValueError as error:
            raise Rejected("The registry's manifest is not JSON", artifact=self._ref.path) from error
        if not isinstance(manifest, dict):
            raise Rejected("The registry's manifest is not a JSON object", artifact=self._ref.path)
        return manifest, digest_of(content)

    def blob(self, layer: Mapping[str, Any]) -> bytes:
        """The content of a layer, at most 32 MB."""
        digest = str(layer["digest"])
        content = self._ask("GET", f"blobs/{digest}").content
        _check(content, digest, self._ref)
        return content

    def has_manifest(self) -> bool:
        """Whether there is a manifest under the reference."""
        return self._has(f"manifests/{self._ref.reference}", kind=MANIFEST)

    def push_blob(self, content: bytes) -> None:
        """Push a blob, unless it is there."""
        digest = digest_of(content)
        if self._has(f"blobs/{digest}"):
            return
        began = self._ask("POST", "blobs/uploads/")
        target = httpx.URL(urljoin(str(began.request.url), began.headers.get("location", "")))
        if target.scheme != "https":
            raise Rejected("The registry sends an upload to an address without TLS", artifact=self._ref.path)
        self._ask("PUT", str(target.copy_merge_params({"digest": digest})), content=content, kind=_BYTES)

    def push_manifest(self, content: bytes) -> None:
        """Push a manifest under the reference."""
        self._ask("PUT", f"manifests/{self._ref.reference}", content=content, kind=MANIFEST)

    def _has(self, what: str, *, kind: str = "*/*") -> bool:
        try:
            self._ask("HEAD", what, kind=kind)
        except NotFound:
            return False
        return True

    def _ask(
        self,
        method: str,
        what: str,
        *,
        most: int = LARGEST,
        content: bytes | None = None,
        kind: str = "*/*",
    ) -> httpx.Response:
        """`kind` is the media type of what is sent, or else of what is wanted."""
        url = urljoin(f"https://{self._ref.host}/v2/{self._ref.path}/", what)
        headers = {"Accept": kind} if content is None else {"Content-Type": kind}
        request = self._http.build_request(method, url, headers=headers, content=content)
        return self._retrier.run(lambda: self._once(request, most))

    def _once(self, request: httpx.Request, most: int) -> httpx.Response:
        url = str(request.url.copy_with(query=None))
        with _translated(url):
            answer = self._sent(request, most)
            if answer.status_code == 401 and self._logged_in(answer):
                answer = self._sent(request, most)
        if answer.is_success:
            return answer
        raise _refusal(answer, url)

    def _sent(self, request: httpx.Request, most: int) -> httpx.Response:
        """The answer, read up to its limit. The login goes to the registry's own host and nowhere else."""
        if self._authorization and request.url.netloc.decode() == self._ref.host:
            request.headers["Authorization"] = self._authorization
        answer = self._http.send(request, stream=True)
        try:
            content = bytearray()
            for piece in answer.iter_bytes():
                content += piece
                if len(content) > most:
                    raise Rejected(f"What the registry sends is larger than {most} bytes", artifact=self._ref.path)
        finally:
            answer.close()
        headers = [(name, value) for name, value in answer.headers.multi_items() if name != "content-encoding"]
        return httpx.Response(answer.status_code, headers=headers, content=bytes(content), request=answer.request)

    def _logged_in(self, answer: httpx.Response) -> bool:
        """Do what the challenge asks; whether there is anything new to try."""
        before = self._authorization
        scheme, _, rest = answer.headers.get("WWW-Authenticate", "").partition(" ")
        login = self._access.login or login_for(self._ref.host, self._access.auth_file)
        if scheme.lower() == "basic" and login is not None:
            self._authorization = httpx.BasicAuth(*login)._auth_header
        elif scheme.lower() == "bearer":
            token = self._token(dict(_CHALLENGE.findall(rest)), login)
            self._authorization = f"Bearer {token}" if token else ""
        return bool(self._authorization) and self._authorization != before

    def _token(self, words: Mapping[str, str], login: tuple[str, str] | None) -> str:
        if not words.get("realm", "").startswith("https://"):
            return ""
        query = {word: words[word] for word in ("service", "scope") if word in words}
        given = self._http.get(words["realm"], params=query, auth=login)
        body = given.json() if given.is_success else {}
        return str(body.get("token") or body.get("access_token") or "")


def digest_of(content: bytes) -> str:
    """`sha256:…` of these bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    """How a manifest speaks of a blob."""
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def _check(content: bytes, digest: str, ref: ArtifactRef) -> None:
    if digest_of(content) != digest:
        what = "The registry's content does not have the digest it should have"
        raise Rejected(what, artifact=ref.path, digest=digest)


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        raise ServerFault("The registry did not answer in time", url=url) from error
    except httpx.TransportError as error:
        raise ServerFault(f"The registry cannot be reached: {error}", url=url) from error
    except ValueError as error:
        raise Rejected("The registry answers something that is not JSON", url=url) from error


def _refusal(answer: httpx.Response, url: str) -> EdgeError:
    status = answer.status_code
    if status == 429:
        asked = answer.headers.get("Retry-After", "")
        wait = float(asked) if asked.isdigit() else None
        return Throttled("The registry asks for a pause", retry_after=wait, url=url)
    if status >= 500:
        return ServerFault(f"The registry answered {status}", url=url)
    if status == 404:
        return NotFound("The registry does not have this", url=url)
    if status in (401, 403):
        remedy = "Log in with `docker login`, or name the file with the login in EDGE_REGISTRY_AUTH"
        return CredentialRejected("The registry wants a login that may do this", remedy=remedy, url=url)
    return Rejected(f"The registry answered {status}", url=url)
