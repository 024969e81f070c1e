"""Pulling one Helm chart from an OCI registry, in memory and checked against its digests.

Helm's own puller takes no CA file, and its credentials are a file for the whole machine, so the two requests that a
pull takes are made here. A registry that asks for an anonymous token (the Bearer challenge of the distribution
protocol) gets one.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx

from edge.clients.retry import Retrier, RetryPolicy
from edge.errors import (
    CredentialRejected,
    EdgeError,
    InvalidInput,
    NotFound,
    Rejected,
    ServerFault,
    SiteSilent,
    SiteUnreachable,
    Throttled,
)

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

_LARGEST = 20_000_000
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_RETRY = RetryPolicy()
_REF = re.compile(
    r"(?:oci://)?(?P<host>(?:[\w.-]+|\[[0-9A-Fa-f:]+\])(?::\d+)?)/(?P<path>[\w./-]+)"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64})|:(?P<tag>[\w.-]+))"
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class ChartRef(NamedTuple):
    """Where a chart is: host with port, path of the repository, tag or digest."""

    host: str
    path: str
    reference: str

    @classmethod
    def parse(cls, text: str) -> ChartRef:
        """Read `host/path:tag` or `host/path@sha256:…`, with or without `oci://`. Raises InvalidInput."""
        match = _REF.fullmatch(text)
        if match is None:
            raise InvalidInput("This is not the address of a chart in a registry", field="chart", value=text)
        return cls(match["host"], match["path"], match["digest"] or match["tag"])


def pull_chart(ref: str, *, ca_file: str | None = None, retry: RetryPolicy = _RETRY) -> bytes:
    """The chart's archive (`.tgz`), checked against the digests in its manifest. `ca_file`: the host's private CA."""
    where = ChartRef.parse(ref)
    verify = ssl.create_default_context(cafile=ca_file)
    with httpx.Client(verify=verify, timeout=_TIMEOUT, follow_redirects=True) as http:
        registry = _Registry(http, where, Retrier(retry))
        manifest = registry.manifest()
        return registry.blob(_chart_layer(manifest, ref))


class _Registry:
    """One repository of a registry."""

    def __init__(self, http: httpx.Client, ref: ChartRef, retrier: Retrier) -> None:
        self._http = http
        self._ref = ref
        self._retrier = retrier
        self._token = ""

    def manifest(self) -> dict[str, Any]:
        """The manifest under the reference."""
        answer = self._get(f"manifests/{self._ref.reference}", MANIFEST)
        if self._ref.reference.startswith("sha256:"):
            _check(answer.content, self._ref.reference, self._ref)
        manifest = answer.json()
        if not isinstance(manifest, dict):
            raise Rejected("The registry's manifest is not a JSON object", chart=self._ref.path)
        return manifest

    def blob(self, layer: dict[str, Any]) -> bytes:
        """The content of a layer."""
        digest = str(layer["digest"])
        content = self._get(f"blobs/{digest}", "*/*").content
        _check(content, digest, self._ref)
        return content

    def _get(self, what: str, accept: str) -> httpx.Response:
        return self._retrier.run(lambda: self._once(what, accept))

    def _once(self, what: str, accept: str) -> httpx.Response:
        url = f"https://{self._ref.host}/v2/{self._ref.path}/{what}"
        with _translated(url):
            answer = self._ask(url, accept)
            if answer.status_code == 401 and not self._token:
                self._token = self._anonymous_token(answer)
                answer = self._ask(url, accept)
        if answer.is_success:
            return answer
        raise _refusal(answer, url)

    def _ask(self, url: str, accept: str) -> httpx.Response:
        headers = {"Accept": accept}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return self._http.get(url, headers=headers)

    def _anonymous_token(self, answer: httpx.Response) -> str:
        scheme, _, rest = answer.headers.get("WWW-Authenticate", "").partition(" ")
        words = dict(_CHALLENGE.findall(rest))
        if scheme.lower() != "bearer" or not words.get("realm", "").startswith("https://"):
            return ""
        query = {word: words[word] for word in ("service", "scope") if word in words}
        given = self._http.get(words["realm"], params=query)
        body = given.json() if given.is_success else {}
        return str(body.get("token") or body.get("access_token") or "")


def _chart_layer(manifest: dict[str, Any], ref: str) -> dict[str, Any]:
    """The layer with the chart; registries of old charts call it a plain gzipped tar."""
    layers = [layer for layer in manifest.get("layers", ()) if isinstance(layer, dict) and "digest" in layer]
    for kind in (CHART, "tar+gzip"):
        for layer in layers:
            if str(layer.get("mediaType", "")).endswith(kind):
                if layer.get("size", 0) > _LARGEST:
                    raise Rejected(f"The chart is larger than {_LARGEST} bytes", chart=ref)
                return layer
    raise Rejected("What the registry holds there is not a Helm chart", chart=ref)


def _check(content: bytes, digest: str, ref: ChartRef) -> None:
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
        raise Rejected("The registry's content does not have the digest it should have", chart=ref.path, digest=digest)


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        raise SiteSilent("The chart's registry did not answer in time", url=url) from error
    except httpx.TransportError as error:
        raise SiteUnreachable(f"The chart's registry cannot be reached: {error}", url=url) from error
    except ValueError as error:
        raise Rejected("The chart's registry answers something that is not JSON", url=url) from error


def _refusal(answer: httpx.Response, url: str) -> EdgeError:
    status = answer.status_code
    if status == 429:
        asked = answer.headers.get("Retry-After", "")
        return Throttled(
            "The chart's registry asks for a pause", retry_after=float(asked) if asked.isdigit() else None, url=url
        )
    if status >= 500:
        return ServerFault(f"The chart's registry answered {status}", url=url)
    if status == 404:
        return NotFound("The registry does not have this chart", url=url)
    if status in (401, 403):
        return CredentialRejected("The chart's registry wants a login", url=url)
    return Rejected(f"The chart's registry answered {status}", url=url)
