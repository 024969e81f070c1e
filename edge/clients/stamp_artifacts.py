"""One way in for stamps, wherever they are: a folder, an archive, an OCI registry, or a Git repository.

What is read from a place whose content can change, a tag or a branch, has the exact one in its origin. The stamp's
digest is over its files, so it is the same for all forms of the same content.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.clients.files import find_stamp, read_stamp_folder
from edge.clients.oci_registry import MANIFEST, ArtifactRef, RegistryAccess, Repository, descriptor, digest_of
from edge.clients.retry import RetryPolicy
from edge.clients.stamp_archive import ARCHIVES, LARGEST, pack_stamp, unpack_stamp
from edge.errors import InvalidInput, NotFound, Rejected
from edge.model.stamp import Stamp, StampSource
from edge.settings import Settings

ARTIFACT = "application/vnd.edge-platform.stamp.v1"
CONTENT = "application/vnd.edge-platform.stamp.content.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"
_RETRY = RetryPolicy()


def read_stamp_source(
    where: str, folders: Sequence[Path], *, access: RegistryAccess | None = None, retry: RetryPolicy = _RETRY
) -> StampSource:
    """The files of a stamp: `oci://host/repository:tag` (or `@sha256:…`), `git+https://host/repo.git#ref[:folder]`,
    `git+file://…`, an archive's path, a folder's path, or a bare name that is looked up in `folders`.

    `access` is how registries are reached; without it, as the environment says. Raises NotFound, InvalidInput, and
    for what is read from elsewhere CredentialRejected, Rejected, and Transient errors.
    """
    if where.startswith("oci://"):
        return _from_registry(where, access or RegistryAccess.of(Settings()), retry)
    if where.startswith("git+"):
        from edge.clients.git_source import read_git  # noqa: PLC0415 - takes long to import, and few need it

        return read_git(where, access or RegistryAccess.of(Settings()), retry=retry)
    if where.endswith(ARCHIVES) and Path(where).is_file():
        return unpack_stamp(_content(Path(where)), origin=where)
    return read_stamp_folder(find_stamp(where, folders))


def push_stamp(
    stamp: Stamp, source: StampSource, to: str, *, access: RegistryAccess | None = None, retry: RetryPolicy = _RETRY
) -> str:
    """Push a stamp to `oci://host/repository[:tag]` and answer its address by digest. The default tag is its version.

    Raises InvalidInput when something else is there under the tag: a version that has been published stays as it is.
    """
    ref = ArtifactRef.parse(_with_tag(to, stamp.version))
    if ref.is_exact:
        raise InvalidInput("A stamp is pushed to a tag, not to a digest", value=to)
    content = pack_stamp(source.files)
    manifest = _manifest(stamp, content)
    with Repository(ref, access or RegistryAccess.of(Settings()), retry=retry) as repository:
        there = _digest_there(repository)
        if there not in ("", digest_of(manifest)):
            remedy = "Raise spec.version in stamp.yaml"
            raise InvalidInput("The tag has another content already", remedy=remedy, value=to, digest=there)
        if not there:
            for blob in (b"{}", content):
                repository.push_blob(blob)
            repository.push_manifest(manifest)
    return f"oci://{ref.host}/{ref.path}@{digest_of(manifest)}"


def _with_tag(to: str, version: str) -> str:
    _, slash, last = to.removeprefix("oci://").rpartition("/")
    return to if ":" in last or not slash else f"{to}:{version}"


def _manifest(stamp: Stamp, content: bytes) -> bytes:
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT,
        "config": descriptor(EMPTY, b"{}"),
        "layers": [descriptor(CONTENT, content)],
        "annotations": {
            "org.opencontainers.image.title": stamp.name,
            "org.opencontainers.image.version": stamp.version,
            "io.edge-platform.stamp.digest": stamp.digest,
        },
    }
    return json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()


def _digest_there(repository: Repository) -> str:
    try:
        return repository.manifest()[1]
    except NotFound:
        return ""


def _from_registry(where: str, access: RegistryAccess, retry: RetryPolicy) -> StampSource:
    ref = ArtifactRef.parse(where)
    with Repository(ref, access, retry=retry) as repository:
        manifest, digest = repository.manifest()
        content = repository.blob(_layer(manifest, where))
    return unpack_stamp(content, origin=f"oci://{ref.host}/{ref.path}@{digest}")


def _layer(manifest: dict[str, Any], where: str) -> dict[str, Any]:
    """The layer with the stamp; artifacts that other tools pushed have a type of their own."""
    layers = [layer for layer in manifest.get("layers") or () if isinstance(layer, dict) and "digest" in layer]
    for kind in (CONTENT, "tar+gzip"):
        for layer in layers:
            if str(layer.get("mediaType", "")).endswith(kind):
                return layer
    raise Rejected("What the registry holds there is not a stamp", artifact=where)


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise InvalidInput(f"The archive is larger than {LARGEST} bytes", file=file)
    return content
