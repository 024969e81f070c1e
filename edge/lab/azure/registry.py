"""Where the agents' chart comes from: the Arc data plane that names it, and the OCI registry that holds it.

The registry is read-only and open to everybody, as Microsoft's is.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from edge.lab.azure.chart_archive import chart_archive, chart_metadata
from edge.lab.azure.http import Answer, ArmFault, Request
from edge.lab.azure.routes import Route

DATA_PLANE = "/azure/arc"
REPOSITORY = "azurearck8s/batch1/{train}/azure-arc-k8sagents"
TRAINS = ("stable", "preview")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.cncf.helm.config.v1+json"
CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


class Registry:
    """The one chart, under its tag and its digest."""

    def __init__(self) -> None:
        metadata = chart_metadata()
        self._tag = metadata["version"]
        self._blobs: dict[str, tuple[str, bytes]] = {}
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._blob(CONFIG, orjson.dumps(metadata)),
            "layers": [self._blob(CHART, chart_archive())],
        }
        self._manifest = orjson.dumps(manifest)
        self._digest = _digest(self._manifest)

    def routes(self) -> list[Route]:
        """The data plane's address and those of OCI's distribution protocol."""
        name_chart = f"{DATA_PLANE}/azure-arc-k8sagents/GetLatestHelmPackagePath"
        return [
            Route("POST", name_chart, self._name_chart, frozenset({"2019-11-01-preview"})),
            Route("GET", "/v2", self._hello, open=True),
            Route("GET", "/v2/{repository+}/tags/list", self._tags, open=True),
            Route("GET", "/v2/{repository+}/manifests/{reference}", self._get_manifest, open=True),
            Route("GET", "/v2/{repository+}/blobs/{digest}", self._get_blob, open=True),
        ]

    def _blob(self, media_type: str, content: bytes) -> dict[str, Any]:
        digest = _digest(content)
        self._blobs[digest] = (media_type, content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def _name_chart(self, request: Request, _names: dict[str, str]) -> Answer:
        train = request.query.get("releasetrain", "stable").lower()
        if train not in TRAINS:
            raise ArmFault(400, "BadRequest", f"There is no release train '{train}'.")
        host = request.base_url.partition("://")[2]
        return Answer(200, {"repositoryPath": f"{host}/{REPOSITORY.format(train=train)}:{self._tag}"})

    def _hello(self, _request: Request, _names: dict[str, str]) -> Answer:
        return Answer(200, {})

    def _tags(self, _request: Request, names: dict[str, str]) -> Answer:
        _check_repository(names)
        return Answer(200, {"name": names["repository"], "tags": [self._tag]})

    def _get_manifest(self, _request: Request, names: dict[str, str]) -> Answer:
        _check_repository(names)
        if names["reference"] not in {self._tag, self._digest}:
            raise _unknown("MANIFEST_UNKNOWN", names["reference"])
        return Answer(200, self._manifest, {"Content-Type": MANIFEST, "Docker-Content-Digest": self._digest})

    def _get_blob(self, _request: Request, names: dict[str, str]) -> Answer:
        _check_repository(names)
        if names["digest"] not in self._blobs:
            raise _unknown("BLOB_UNKNOWN", names["digest"])
        content = self._blobs[names["digest"]][1]
        return Answer(
            200, content, {"Content-Type": "application/octet-stream", "Docker-Content-Digest": names["digest"]}
        )


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _check_repository(names: dict[str, str]) -> None:
    if names["repository"] not in {REPOSITORY.format(train=train) for train in TRAINS}:
        raise _unknown("NAME_UNKNOWN", names["repository"])


class RegistryFault(ArmFault):
    """A registry's errors are a list."""

    def answer(self) -> Answer:
        """The answer on the wire."""
        return Answer(self.status, {"errors": [{"code": self.code, "message": str(self)}]}, self.headers)


def _unknown(code: str, what: str) -> ArmFault:
    return RegistryFault(404, code, f"'{what}' is not known here.")
