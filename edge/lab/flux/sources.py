"""The source-controller of a site: it fetches what an OCIRepository names, when the site can reach it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from edge.lab.controllers.home import Home
from edge.lab.flux.conditions import condition, kept, progressing, retrying, write
from edge.lab.flux.durations import seconds
from edge.lab.flux.puller import Artifact, PullFailed
from edge.lab.flux.runtime import ASLEEP_S, Progress, requested, runs
from edge.lab.kube.resources import ResourceType
from edge.lab.kube.store import Obj
from edge.lab.weather import FaultKind, way_out

RETRY_S = 10.0
"""How soon a fetch that failed is tried again at the latest, in lab seconds."""


def oci_repository(home: Home, obj: Obj) -> float | None:
    """Begin a fetch when one is due. Returns in how many lab seconds the next one is."""
    flux, resource = home.flux, home.store.types.of_kind(obj["apiVersion"], obj["kind"])
    if flux is None or resource is None or obj["metadata"].get("deletionTimestamp") or obj["spec"].get("suspend"):
        return None
    if not runs(home, "source-controller"):
        return ASLEEP_S
    progress = flux.progress(obj)
    wish = (obj["metadata"].get("generation"), requested(obj))
    if progress.busy:
        return None
    if progress.wish == wish and flux.now() < progress.due:
        return progress.due - flux.now()
    progress.wish, progress.busy = wish, True
    if not any(one["observedGeneration"] == wish[0] for one in kept(obj, "Ready")):
        new = [*progressing(obj, "building artifact: new upstream revision"), *kept(obj, "ArtifactInStorage")]
        obj = write(home, resource, obj, {"conditions": new})
    flux.spawn(_fetch(home, resource, obj, progress))
    return None


async def _fetch(home: Home, resource: ResourceType, obj: Obj, progress: Progress) -> None:
    flux, spec = home.flux, obj["spec"]
    assert flux is not None
    wait_s = seconds(spec["interval"])
    try:
        check_way(home, str(spec["url"]))
        artifact = await flux.puller.pull(spec)
        write(home, resource, obj, _stored(home, obj, artifact))
    except PullFailed as failed:
        wait_s = min(wait_s, RETRY_S)
        write(home, resource, obj, _failed(obj, failed))
    finally:
        progress.busy = False
        progress.due = flux.now() + wait_s
    flux.look(home, resource, obj)


def check_way(home: Home, url: str) -> None:
    """Raises PullFailed when the site cannot reach this address now."""
    host = urlsplit(url).hostname or ""
    if home.site.suffers(FaultKind.OFFLINE):
        raise PullFailed("OCIArtifactPullFailed", f"GET {url}: dial tcp: connect: network is unreachable")
    shut = way_out(home.site.faults, host)
    if shut is FaultKind.NO_DNS:
        raise PullFailed("OCIArtifactPullFailed", f"GET {url}: dial tcp: lookup {host}: no such host")
    if shut is not None:
        raise PullFailed("OCIArtifactPullFailed", f"GET {url}: dial tcp: i/o timeout")


def _stored(home: Home, obj: Obj, artifact: Artifact) -> dict[str, Any]:
    said = f"stored artifact for digest '{artifact.revision}'"
    meta = obj["metadata"]
    path = f"ocirepository/{meta['namespace']}/{meta['name']}/{artifact.digest.partition(':')[2]}.tar.gz"
    known: Mapping[str, Any] = (obj.get("status") or {}).get("artifact") or {}
    moment = known["lastUpdateTime"] if known.get("revision") == artifact.revision else home.now_text()
    return {
        "observedGeneration": meta.get("generation", 1),
        "url": f"http://source-controller.flux-system.svc.cluster.local./{path.rpartition('/')[0]}/latest.tar.gz",
        "lastHandledReconcileAt": requested(obj) or None,
        "artifact": {
            "digest": artifact.digest,
            "lastUpdateTime": moment,
            "path": path,
            "revision": artifact.revision,
            "size": artifact.size,
            "url": f"http://source-controller.flux-system.svc.cluster.local./{path}",
        },
        "conditions": [
            condition(obj, "Ready", "True", "Succeeded", said),
            condition(obj, "ArtifactInStorage", "True", "Succeeded", said),
        ],
    }


def _failed(obj: Obj, failed: PullFailed) -> dict[str, Any]:
    said = f"failed to pull artifact from '{obj['spec']['url']}': {failed}"
    fetch = condition(obj, "FetchFailed", "True", failed.reason, said)
    return {"conditions": [fetch, *retrying(obj, failed.reason, said), *kept(obj, "ArtifactInStorage")]}
