"""The lab's own registry, where stamps and rendered revisions are published: OCI's distribution protocol under `/v2/`.

Everybody may pull; to push takes the password in the lab's state folder. Blobs and manifests lie in that folder under
their digests, so a revision never changes, and a restart loses nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import orjson

from edge.lab.asgi import Receive, Scope, Send, answer, read_body
from edge.lab.persistence import put

USER = "edge"
MOST = 32 * 1024 * 1024
"""The largest upload, in bytes."""
_REALM = ((b"www-authenticate", b'Basic realm="edge lab"'),)
_PART = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
_NAME = rf"{_PART}(?:/{_PART})*"
_PATH = re.compile(rf"/v2/(?P<name>{_NAME})/(?P<what>blobs/uploads|blobs|manifests|tags)(?:/(?P<reference>[^/]*))?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"\w[\w.-]{0,127}")

Headers = tuple[tuple[bytes, bytes], ...]


class Refused(Exception):
    """An answer that is an error, in the protocol's words."""

    def __init__(self, status: int, code: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body = orjson.dumps({"errors": [{"code": code, "message": message}]})


class Registry:
    """ASGI app. `folder` is where it keeps everything, `password` what a push takes."""

    def __init__(self, folder: Path, password: str) -> None:
        self._folder = folder
        self._basic = b"Basic " + base64.b64encode(f"{USER}:{password}".encode())
        self._uploads: dict[str, bytes] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request below `/v2/`."""
        try:
            status, body, headers = self._reply(scope, await read_body(receive, MOST))
        except Refused as refused:
            status, body, headers = refused.status, refused.body, refused.headers
        except ValueError as error:
            too_large = Refused(413, "SIZE_INVALID", str(error))
            status, body, headers = too_large.status, too_large.body, ()
        kind = next((value for name, value in headers if name == b"content-type"), b"application/json")
        rest = [pair for pair in headers if pair[0] != b"content-type"]
        if scope["method"] == "HEAD":
            await _head(send, status, [(b"content-type", kind), *rest], len(body))
            return
        await answer(send, status, body, kind, rest)

    def _reply(self, scope: Scope, body: bytes) -> tuple[int, bytes, Headers]:
        found = _PATH.fullmatch(scope["path"].rstrip("/"))
        if found is None:
            raise Refused(404, "NAME_UNKNOWN", "The registry serves nothing there")
        name, what, reference = found["name"], found["what"], found["reference"] or ""
        if scope["method"] in {"GET", "HEAD"}:
            return self._read(name, what, reference)
        self._check_login(scope)
        query = {word: values[-1] for word, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        match scope["method"], what:
            case "POST", "blobs/uploads":
                return self._begin(name, query, body)
            case "PATCH", "blobs/uploads":
                return self._go_on(name, reference, body)
            case "PUT", "blobs/uploads":
                return self._finish(name, reference, query, body)
            case "PUT", "manifests":
                return self._keep_manifest(name, reference, body)
        raise Refused(405, "UNSUPPORTED", "The registry does not do that")

    def _check_login(self, scope: Scope) -> None:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if not hmac.compare_digest(given, self._basic):
            raise Refused(401, "UNAUTHORIZED", "A push takes the registry's user and password", _REALM)

    # Reading

    def _read(self, name: str, what: str, reference: str) -> tuple[int, bytes, Headers]:
        if what == "tags" and reference == "list":
            tags = sorted(file.name for file in self._tags(name).glob("*"))
            return 200, orjson.dumps({"name": name, "tags": tags}), ()
        digest = reference
        if what == "manifests" and not _DIGEST.fullmatch(reference):
            digest = self._of_tag(name, reference)
        content = self._content(name, what, digest)
        kind = "application/octet-stream"
        if what == "manifests":
            kind = str(orjson.loads(content).get("mediaType") or "application/vnd.oci.image.manifest.v1+json")
        return 200, content, ((b"content-type", kind.encode()), _digest_header(digest))

    def _of_tag(self, name: str, tag: str) -> str:
        file = self._tags(name) / tag
        if not _TAG.fullmatch(tag) or not file.is_file():
            raise Refused(404, "MANIFEST_UNKNOWN", f"manifest unknown: {tag}")
        return file.read_text(encoding="ascii")

    def _content(self, name: str, what: str, digest: str) -> bytes:
        code = "MANIFEST_UNKNOWN" if what == "manifests" else "BLOB_UNKNOWN"
        file = self._file(name, what, digest) if _DIGEST.fullmatch(digest) else None
        if file is None or not file.is_file():
            raise Refused(404, code, f"{what.removesuffix('s')} unknown: {digest}")
        return file.read_bytes()

    # Writing

    def _begin(self, name: str, query: dict[str, str], body: bytes) -> tuple[int, bytes, Headers]:
        if "digest" in query:
            return self._keep_blob(name, query["digest"], body)
        upload = str(uuid.uuid4())
        self._uploads[upload] = b""
        return 202, b"", _upload_headers(name, upload, 0)

    def _go_on(self, name: str, upload: str, body: bytes) -> tuple[int, bytes, Headers]:
        content = self._uploads.get(upload)
        if content is None:
            raise Refused(404, "BLOB_UPLOAD_UNKNOWN", "No such upload")
        if len(content) + len(body) > MOST:
            raise Refused(413, "SIZE_INVALID", f"A blob has at most {MOST} bytes")
        self._uploads[upload] = content + body
        return 202, b"", _upload_headers(name, upload, len(content) + len(body))

    def _finish(self, name: str, upload: str, query: dict[str, str], body: bytes) -> tuple[int, bytes, Headers]:
        self._go_on(name, upload, body)
        return self._keep_blob(name, query.get("digest", ""), self._uploads.pop(upload))

    def _keep_blob(self, name: str, digest: str, content: bytes) -> tuple[int, bytes, Headers]:
        if digest != digest_of(content):
            raise Refused(400, "DIGEST_INVALID", "The content does not have this digest")
        self._keep(self._file(name, "blobs", digest), content)
        return 201, b"", ((b"location", f"/v2/{name}/blobs/{digest}".encode()), _digest_header(digest))

    def _keep_manifest(self, name: str, reference: str, content: bytes) -> tuple[int, bytes, Headers]:
        digest = digest_of(content)
        if _DIGEST.fullmatch(reference) and reference != digest:
            raise Refused(400, "DIGEST_INVALID", "The manifest does not have this digest")
        for blob in _blobs_of(content):
            if not self._file(name, "blobs", blob).is_file():
                raise Refused(404, "MANIFEST_BLOB_UNKNOWN", f"blob unknown: {blob}")
        self._keep(self._file(name, "manifests", digest), content)
        if not _DIGEST.fullmatch(reference):
            if not _TAG.fullmatch(reference):
                raise Refused(400, "MANIFEST_INVALID", "This is not a tag")
            self._keep(self._tags(name) / reference, digest.encode())
        return 201, b"", ((b"location", f"/v2/{name}/manifests/{digest}".encode()), _digest_header(digest))

    def _keep(self, file: Path, content: bytes) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        put(file, content)

    def _tags(self, name: str) -> Path:
        return self._folder / name / "_tags"

    def _file(self, name: str, what: str, digest: str) -> Path:
        return self._folder / name / f"_{what}" / digest.partition(":")[2]


def digest_of(content: bytes) -> str:
    """`sha256:` and the hash."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blobs_of(content: bytes) -> list[str]:
    try:
        manifest: dict[str, Any] = orjson.loads(content)
        blobs = [manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]
    except (ValueError, KeyError, TypeError, binascii.Error) as bad:
        raise Refused(400, "MANIFEST_INVALID", "This is not an image manifest") from bad
    if not all(isinstance(blob, str) and _DIGEST.fullmatch(blob) for blob in blobs):
        raise Refused(400, "MANIFEST_INVALID", "A digest in the manifest is none")
    return blobs


def _digest_header(digest: str) -> tuple[bytes, bytes]:
    return b"docker-content-digest", digest.encode()


def _upload_headers(name: str, upload: str, size: int) -> Headers:
    place = f"/v2/{name}/blobs/uploads/{upload}".encode()
    return (
        (b"location", place),
        (b"docker-upload-uuid", upload.encode()),
        (b"range", f"0-{max(0, size - 1)}".encode()),
    )


async def _head(send: Send, status: int, headers: list[tuple[bytes, bytes]], size: int) -> None:
    headers.append((b"content-length", str(size).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
