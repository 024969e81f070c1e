"""Publishing revisions where sites pull them: OCI artifacts in the form that Flux's source-controller fetches.

The same files give the same bytes, so a revision that is there already is not sent again.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping

from edge.clients.oci_registry import MANIFEST, ArtifactRef, RegistryAccess, Repository, descriptor, digest_of
from edge.clients.retry import RetryPolicy
from edge.clients.stamp_archive import tar_of
from edge.errors import CredentialRejected, InvalidInput
from edge.model.gitops import Revision

CONFIG = "application/vnd.cncf.flux.config.v1+json"
CONTENT = "application/vnd.cncf.flux.content.v1.tar+gzip"
_URL = re.compile(r"oci://(?P<host>[\w.-]+(?::\d+)?)/(?P<path>[a-z0-9][a-z0-9._/-]*)")
_RETRY = RetryPolicy()


class RevisionStore:
    """A repository to which revisions are published. Safe to share between threads.

    `url` is `oci://host/path`; below it each stamp has a repository. `ca_file` is a CA for the host when it is not a
    public one; `login` a user and a password or token.
    """

    def __init__(
        self, url: str, *, ca_file: str | None = None, login: tuple[str, str] | None = None, retry: RetryPolicy = _RETRY
    ) -> None:
        found = _URL.fullmatch(url)
        if found is None:
            remedy = "Write oci://host/path, without a tag"
            raise InvalidInput("This is not the address of an OCI repository", remedy=remedy, field="url", value=url)
        self.url = url
        self._host, self._path = found["host"], found["path"]
        self._access, self._retry = RegistryAccess(ca_file, login=login), retry
        self._published: set[Revision] = set()

    def publish(self, name: str, files: Mapping[str, str], notes: Mapping[str, str]) -> Revision:
        """Publish files (path -> text) below a name, with annotations; what is there already is left as it is.

        Raises CredentialRejected, Rejected, and the Transient errors of a registry that does not answer as it should.
        """
        layer = gzip.compress(tar_of(files), mtime=0)
        manifest = _manifest(layer, notes)
        revision = Revision(url=f"{self.url}/{name}", digest=digest_of(manifest))
        if revision in self._published:
            return revision
        ref = ArtifactRef(self._host, f"{self._path}/{name}", revision.digest)
        try:
            with Repository(ref, self._access, retry=self._retry) as repository:
                _push(repository, layer, manifest)
        except CredentialRejected as error:
            remedy = "Give EDGE_GITOPS_USERNAME and EDGE_GITOPS_PASSWORD of somebody who may push"
            raise CredentialRejected(error.what, remedy=remedy, **error.where) from error
        self._published.add(revision)
        return revision


def _push(repository: Repository, layer: bytes, manifest: bytes) -> None:
    if repository.has_manifest():
        return
    for content in (b"{}", layer):
        repository.push_blob(content)
    repository.push_manifest(manifest)


def _manifest(layer: bytes, notes: Mapping[str, str]) -> bytes:
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, b"{}"),
        "layers": [descriptor(CONTENT, layer)],
        "annotations": dict(sorted(notes.items())),
    }
    return json.dumps(manifest, separators=(",", ":")).encode()
