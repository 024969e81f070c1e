"""Pulling one Helm chart from an OCI registry, in memory and checked against its digests.

Helm's own puller takes no CA file, and its credentials are a file for the whole machine, so the two requests that a
pull takes are made by `edge.clients.oci_registry`.
"""

from __future__ import annotations

from typing import Any, Self

from edge.clients.oci_registry import ArtifactRef, RegistryAccess, Repository
from edge.clients.retry import RetryPolicy
from edge.errors import Rejected

CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

LARGEST = 20_000_000
_RETRY = RetryPolicy()


class ChartRef(ArtifactRef):
    """Where a chart is: host with port, path of the repository, tag or digest."""

    @classmethod
    def parse(cls, text: str, *, what: str = "a chart") -> Self:
        """Read `host/path:tag` or `host/path@sha256:…`, with or without `oci://`. Raises InvalidInput."""
        return super().parse(text, what=what)


def pull_chart(
    ref: str, *, ca_file: str | None = None, access: RegistryAccess | None = None, retry: RetryPolicy = _RETRY
) -> bytes:
    """The chart's archive (`.tgz`), checked against the digests in its manifest.

    `access` is how the registry is reached; without it, `ca_file` alone: the host's private CA.
    """
    where = ChartRef.parse(ref)
    with Repository(where, access or RegistryAccess(ca_file), retry=retry) as repository:
        manifest, _ = repository.manifest()
        return repository.blob(_chart_layer(manifest, ref))


def _chart_layer(manifest: dict[str, Any], ref: str) -> dict[str, Any]:
    """The layer with the chart; registries of old charts call it a plain gzipped tar."""
    layers = [layer for layer in manifest.get("layers") or () if isinstance(layer, dict) and "digest" in layer]
    for kind in (CHART, "tar+gzip"):
        for layer in layers:
            if str(layer.get("mediaType", "")).endswith(kind):
                if layer.get("size", 0) > LARGEST:
                    raise Rejected(f"The chart is larger than {LARGEST} bytes", chart=ref)
                return layer
    raise Rejected("What the registry holds there is not a Helm chart", chart=ref)
