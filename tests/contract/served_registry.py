"""The lab's registry behind TLS, for tests of what is pulled and pushed."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from pathlib import Path

import uvicorn

from edge.clients.oci_registry import MANIFEST, ArtifactRef, RegistryAccess, Repository, digest_of
from edge.clients.retry import RetryPolicy
from edge.lab.ca import Authority
from edge.lab.flux.registry import USER, Registry

PASSWORD = "let me in"


class ServedRegistry:
    """The lab's registry behind TLS. `access` is how it is reached by somebody who may push."""

    def __init__(self, folder: Path) -> None:
        authority = Authority.open(folder / "ca", "Test CA")
        cert, key = map(str, authority.server(folder / "server"))
        self.cert, self.key = cert, key
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.ca_file = str(folder / "ca.crt")
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        (folder / "config.json").write_text(json.dumps({"auths": {self.host: {"auth": login}}}))
        self.access = RegistryAccess(self.ca_file, folder / "config.json")
        app = Registry(folder / "artifacts", PASSWORD)
        config = uvicorn.Config(app, ssl_certfile=cert, ssl_keyfile=key, log_config=None, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self.socket],))
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def put(self, place: str, kind: str, content: bytes) -> str:
        """Push an artifact with one layer of this media type to `path:tag`, and answer its digest."""
        layer = {"mediaType": kind, "digest": digest_of(content), "size": len(content)}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": layer, "layers": [layer]}
        ref = ArtifactRef.parse(f"{self.host}/{place}")
        with Repository(ref, self.access, retry=RetryPolicy.none()) as repository:
            repository.push_blob(content)
            repository.push_manifest(json.dumps(manifest).encode())
            return repository.manifest()[1]

    def close(self) -> None:
        """Stop, and wait for it."""
        self._server.should_exit = True
        self._thread.join()
        self.socket.close()
