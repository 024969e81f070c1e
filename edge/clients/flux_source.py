"""Publishing revisions where sites pull them: OCI artifacts in the form that Flux's source-controller fetches.

The same files give the same bytes, so a revision that is there already is not sent again.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import ssl
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

import httpx
import orjson

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
from edge.model.gitops import Revision

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.cncf.flux.config.v1+json"
CONTENT = "application/vnd.cncf.flux.content.v1.tar+gzip"
_URL = re.compile(r"oci://(?P<host>[\w.-]+(?::\d+)?)/(?P<path>[a-z0-9][a-z0-9._/-]*)")
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_RETRY = RetryPolicy()


class RevisionStore:
    """A repository to which revisions are published. Safe to share between threads; close it at the end.

    `url` is `oci://host/path`; below it each stamp has a repository. `ca_file` is a CA for the host when it is not a
    public one; `login` a user and a password or token.
    """

    def __init__(
        self, url: str, *, ca_file: str | None = None, login: tuple[str, str] | None = None, retry: RetryPolicy = _RETRY
    ) -> None:
        found = _URL.fullmatch(url)
        if found is None:
            raise InvalidInput("This is not the address of an OCI repository", field="url", value=url)
        self.url = url
        self._base = f"https://{found['host']}/v2/{found['path']}"
        self._retrier = Retrier(retry)
        self._published: set[str] = set()
        self._http = httpx.Client(
            verify=ssl.create_default_context(cafile=ca_file), timeout=_TIMEOUT, auth=login, follow_redirects=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections."""
        self._http.close()

    def publish(self, name: str, files: Mapping[str, str], notes: Mapping[str, str]) -> Revision:
        """Publish files (path -> text) below a name, with annotations; what is there already is left as it is.

        Raises CredentialRejected, Rejected, and the Transient errors of a registry that does not answer as it should.
        """
        layer, config = _packed(files), b"{}"
        manifest = orjson.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": _descriptor(CONFIG, config),
                "layers": [_descriptor(CONTENT, layer)],
                "annotations": dict(sorted(notes.items())),
            }
        )
        place, digest = f"{self._base}/{name}", _digest(manifest)
        if digest not in self._published and not self._has(f"{place}/manifests/{digest}"):
            for content in (config, layer):
                self._push_blob(place, content)
            self._ask("PUT", f"{place}/manifests/{digest}", manifest, {"content-type": MANIFEST})
        self._published.add(digest)
        return Revision(url=f"{self.url}/{name}", digest=digest)

    def _push_blob(self, place: str, content: bytes) -> None:
        digest = _digest(content)
        if self._has(f"{place}/blobs/{digest}"):
            return
        began = self._ask("POST", f"{place}/blobs/uploads/")
        target = urljoin(str(began.request.url), began.headers.get("location", ""))
        url = httpx.URL(target).copy_merge_params({"digest": digest})
        self._ask("PUT", str(url), content, {"content-type": "application/octet-stream"})

    def _has(self, url: str) -> bool:
        try:
            self._ask("HEAD", url, headers={"accept": f"{MANIFEST}, */*"})
        except NotFound:
            return False
        return True

    def _ask(
        self, method: str, url: str, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        def once() -> httpx.Response:
            with _translated(url):
                answer = self._http.request(method, url, content=content, headers=headers)
            if not answer.is_success:
                raise _refusal(answer, url)
            return answer

        return self._retrier.run(once)


def _packed(files: Mapping[str, str]) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(files):
            content = files[path].encode()
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """A registry that is away is a fault of a server, so that nobody takes it for an absent site."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise ServerFault("The registry for revisions did not answer in time", url=url) from error
    except httpx.TransportError as error:
        raise ServerFault(f"The registry for revisions cannot be reached: {error}", url=url) from error


def _refusal(answer: httpx.Response, url: str) -> EdgeError:
    status = answer.status_code
    if status == 429:
        asked = answer.headers.get("Retry-After", "")
        wait = float(asked) if asked.isdigit() else None
        return Throttled("The registry for revisions asks for a pause", retry_after=wait, url=url)
    if status >= 500:
        return ServerFault(f"The registry for revisions answered {status}", url=url)
    if status == 404:
        return NotFound("The registry for revisions does not have this", url=url)
    if status in (401, 403):
        remedy = "Give EDGE_GITOPS_USERNAME and EDGE_GITOPS_PASSWORD of somebody who may push"
        return CredentialRejected("The registry for revisions does not accept the login", remedy=remedy, url=url)
    return Rejected(f"The registry for revisions answered {status}: {answer.text[:200]}", url=url)
