"""How a site's source-controller fetches an OCI artifact: manifest, layer, digests, archive.

The lab's own address is asked inside the process, through the same app that answers on the wire; any other address is
asked over the network.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from edge.lab.asgi import App
from edge.lab.flux.registry import digest_of

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_URL = re.compile(r"oci://(?P<host>[\w.-]+(?::\d+)?)/(?P<path>[\w./-]+)")
_KEPT = 256
_LARGEST = 32 * 1024 * 1024


class PullFailed(Exception):
    """The artifact could not be had; `reason` is Flux's word, the message says what the registry or the way said."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Artifact:
    """What was fetched. `revision` as Flux writes it; `digest` is that of the layer."""

    revision: str
    digest: str
    size: int


class Puller:
    """Fetches artifacts for all sites of a lab. Files of the last artifacts are kept once, whoever fetched them."""

    def __init__(self, app: App, url: str) -> None:
        own = httpx.ASGITransport(app)
        self._http = httpx.AsyncClient(mounts={url: own}, timeout=20.0)
        self._files: OrderedDict[str, dict[str, bytes]] = OrderedDict()

    async def pull(self, spec: Mapping[str, Any]) -> Artifact:
        """Fetch what an OCIRepository's spec asks for. Raises PullFailed."""
        found = _URL.fullmatch(str(spec["url"]))
        if found is None:
            raise PullFailed("URLInvalid", f"URL validation failed for '{spec['url']}': not an oci:// address")
        base = f"https://{found['host']}/v2/{found['path']}"
        ref = spec.get("ref") or {}
        reference = ref.get("digest") or ref.get("tag") or "latest"
        if ref.get("semver") and not ref.get("digest"):
            raise PullFailed("OCIArtifactPullFailed", "the lab does not resolve ranges of versions: name a digest")
        content = await self._get(f"{base}/manifests/{reference}", MANIFEST)
        digest = digest_of(content)
        if ref.get("digest") and digest != ref["digest"]:
            raise PullFailed("OCIArtifactPullFailed", f"the registry answered {digest} for {ref['digest']}")
        layer = _layer(content, str((spec.get("layerSelector") or {}).get("mediaType") or ""))
        if layer["digest"] not in self._files:
            self._keep(layer["digest"], await self._get(f"{base}/blobs/{layer['digest']}", "*/*"))
        revision = digest if ref.get("digest") else f"{reference}@{digest}"
        return Artifact(revision, layer["digest"], int(layer.get("size", 0)))

    def files(self, digest: str) -> dict[str, bytes] | None:
        """The files of a layer that was fetched, by path; None when it was not, or long ago."""
        return self._files.get(digest)

    async def _get(self, url: str, accept: str) -> bytes:
        try:
            answer = await self._http.get(url, headers={"accept": accept})
        except httpx.HTTPError as error:
            raise PullFailed("OCIArtifactPullFailed", f"GET {url}: {error or type(error).__name__}") from error
        if not answer.is_success:
            raise PullFailed("OCIArtifactPullFailed", f"GET {url}: {_said(answer)}")
        return answer.content

    def _keep(self, digest: str, content: bytes) -> None:
        if digest_of(content) != digest:
            raise PullFailed("OCIArtifactPullFailed", f"the registry's blob does not have the digest {digest}")
        self._files[digest] = _unpacked(content)
        while len(self._files) > _KEPT:
            self._files.popitem(last=False)


def _layer(manifest: bytes, media_type: str) -> dict[str, Any]:
    try:
        layers: list[dict[str, Any]] = orjson.loads(manifest)["layers"]
        return next(one for one in layers if not media_type or one["mediaType"] == media_type)
    except (ValueError, KeyError, TypeError) as bad:
        raise PullFailed("OCIArtifactPullFailed", "the manifest is not that of an artifact") from bad
    except StopIteration:
        why = f"failed to find layer with media type '{media_type}' in artifact"
        raise PullFailed("OCIArtifactLayerOperationFailed", why) from None


def _unpacked(content: bytes) -> dict[str, bytes]:
    """The regular files of a gzipped tar by their paths; nothing is ever written to a disk."""
    try:
        plain = gzip.GzipFile(fileobj=io.BytesIO(content)).read(_LARGEST + 1)
        if len(plain) > _LARGEST:
            raise PullFailed("OCIArtifactLayerOperationFailed", f"the artifact is larger than {_LARGEST} bytes")
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            members = [one for one in archive.getmembers() if one.isfile()]
            opened = [(one.name.removeprefix("./"), archive.extractfile(one)) for one in members]
            return {name: file.read() for name, file in opened if file is not None}
    except (OSError, EOFError, tarfile.TarError) as bad:
        raise PullFailed("OCIArtifactLayerOperationFailed", f"failed to extract layer contents: {bad}") from bad


def _said(answer: httpx.Response) -> str:
    try:
        first = answer.json()["errors"][0]
        return f"{first['code']}: {first['message']}"
    except (ValueError, KeyError, TypeError, IndexError):
        return f"unexpected status code {answer.status_code}"
