"""The Arc agent for Flux at a site: it makes Flux objects of a fluxConfiguration, and reports what became of them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from edge.lab.flux.applying import ApplyFailed, send
from edge.lab.flux.install import flux_objects, install
from edge.lab.kube.deletion import delete
from edge.lab.kube.store import Obj, SiteStore
from edge.lab.world import World

MANAGER = "fluxconfig-agent"
LABEL = "clusterconfig.azure.com/name"
KUSTOMIZE = "kustomize.toolkit.fluxcd.io/v1"
SOURCE = "source.toolkit.fluxcd.io/v1"
_STATES = {"True": "Compliant", "False": "Non-Compliant", "Unknown": "Pending"}
_ORDER = ("Suspended", "Non-Compliant", "Pending", "Unknown", "Compliant")


class FluxAgent:
    """The agents of all sites of a lab. Whether a site can be reached is for the caller to know."""

    def __init__(self, world: World) -> None:
        self._world = world

    def bring(self, name: str, config: str, properties: Mapping[str, Any]) -> str:
        """Make the site's objects what the configuration says. What went wrong, in a sentence; "" when nothing did."""
        site = self._world.site(name)
        store = self._world.awake(site)
        if properties.get("sourceKind") != "OCIRepository":
            return f"The Flux of this lab pulls from an OCIRepository, not from a {properties.get('sourceKind')}"
        wanted = _objects(config, properties)
        try:
            if any(_find(store, one) is None for one in flux_objects()):
                install(site)
            for obj in wanted:
                send(site, obj, MANAGER)
        except ApplyFailed as failed:
            return str(failed)
        names = {obj["metadata"]["name"] for obj in wanted if obj["kind"] == "Kustomization"}
        self._remove(store, config, keep=names)
        return ""

    def take(self, name: str, config: str) -> None:
        """Remove the configuration's objects from the site; Flux prunes what they brought."""
        store = self._world.awake(self._world.site(name))
        self._remove(store, config, keep=frozenset())
        for kind in ("OCIRepository", "Secret"):
            for obj in _mine(store, kind, config):
                resource = store.types.of_kind(obj["apiVersion"], obj["kind"])
                if resource is not None:
                    delete(store, resource, obj)

    def look(self, name: str, config: str) -> dict[str, Any]:
        """What the agent reports: compliance, and a status for each object."""
        site = self._world.site(name)
        store = self._world.awake(site)
        sources, parts = _mine(store, "OCIRepository", config), _mine(store, "Kustomization", config)
        statuses = [_status(obj) for obj in (*sources, *parts)]
        states = {status["complianceState"] for status in statuses} or {"Pending"}
        artifact = ((sources[0].get("status") or {}).get("artifact") or {}) if sources else {}
        return {
            "complianceState": next(word for word in _ORDER if word in states),
            "statuses": statuses,
            "sourceSyncedCommitId": artifact.get("revision"),
            "sourceUpdatedAt": artifact.get("lastUpdateTime"),
            "statusUpdatedAt": site.clock.now().isoformat(),
        }

    def _remove(self, store: SiteStore, config: str, *, keep: set[str] | frozenset[str]) -> None:
        for obj in reversed(_mine(store, "Kustomization", config)):
            resource = store.types.of_kind(obj["apiVersion"], obj["kind"])
            gone = obj["metadata"].get("deletionTimestamp") or obj["metadata"]["name"] in keep
            if resource is not None and not gone:
                delete(store, resource, obj)


def _objects(config: str, properties: Mapping[str, Any]) -> list[Obj]:
    meta = {"namespace": str(properties.get("namespace") or "default"), "labels": {LABEL: config}}
    source = properties.get("ociRepository") or {}
    suspend = bool(properties.get("suspend"))
    spec = {
        "url": source.get("url", ""),
        "interval": _go(source.get("syncIntervalInSeconds"), 600),
        "timeout": _go(source.get("timeoutInSeconds"), 600),
        "ref": dict(source.get("repositoryRef") or {}),
        "suspend": suspend,
    }
    authority = _certificate(source)
    found: list[Obj] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": meta["namespace"]}}]
    if authority:
        named = {**meta, "name": f"{config}-ca"}
        found.append({"apiVersion": "v1", "kind": "Secret", "metadata": named, "stringData": {"ca.crt": authority}})
        spec["certSecretRef"] = {"name": named["name"]}
    if source.get("localAuthRef"):
        spec["secretRef"] = {"name": source["localAuthRef"]}
    found.append({"apiVersion": SOURCE, "kind": "OCIRepository", "metadata": {**meta, "name": config}, "spec": spec})
    for key, part in (properties.get("kustomizations") or {}).items():
        found.append(_kustomization(config, key, part or {}, meta, suspend=suspend))
    return found


def _kustomization(config: str, key: str, part: Mapping[str, Any], meta: Mapping[str, Any], *, suspend: bool) -> Obj:
    build = (part.get("postBuild") or {}).get("substitute")
    interval = _go(part.get("syncIntervalInSeconds"), 600)
    retry = part.get("retryIntervalInSeconds")
    spec = {
        "sourceRef": {"kind": "OCIRepository", "name": config},
        "path": part.get("path") or "",
        "interval": interval,
        "retryInterval": _go(retry, 600) if retry else interval,
        "timeout": _go(part.get("timeoutInSeconds"), 600),
        "prune": bool(part.get("prune")),
        "force": bool(part.get("force")),
        "wait": part.get("wait") is not False,
        "suspend": suspend,
        "dependsOn": [{"name": f"{config}-{other}"} for other in part.get("dependsOn") or ()],
        **({"postBuild": {"substitute": build}} if build else {}),
    }
    named = {**meta, "name": f"{config}-{key}"}
    return {"apiVersion": KUSTOMIZE, "kind": "Kustomization", "metadata": named, "spec": spec}


def _certificate(source: Mapping[str, Any]) -> str:
    coded = (source.get("tlsConfig") or {}).get("caCertificate") or ""
    try:
        return base64.b64decode(coded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _go(seconds: object, otherwise: int) -> str:
    return f"{seconds if isinstance(seconds, int) else otherwise}s"


def _find(store: SiteStore, obj: Obj) -> Obj | None:
    resource = store.types.of_kind(obj["apiVersion"], obj["kind"])
    meta = obj["metadata"]
    return store.get(resource, meta.get("namespace", ""), meta["name"]) if resource else None


def _mine(store: SiteStore, kind: str, config: str) -> list[Obj]:
    version = {"Kustomization": KUSTOMIZE, "OCIRepository": SOURCE, "Secret": "v1"}[kind]
    resource = store.types.of_kind(version, kind)
    return store.list(resource, selector=f"{LABEL}={config}") if resource is not None else []


def _status(obj: Obj) -> dict[str, Any]:
    meta, conditions = obj["metadata"], (obj.get("status") or {}).get("conditions") or []
    ready: dict[str, Any] = next((one for one in conditions if one["type"] == "Ready"), {})
    seen = ready.get("observedGeneration") == meta.get("generation")
    state = _STATES[ready.get("status", "Unknown")] if seen else "Pending"
    words = ("lastTransitionTime", "message", "reason", "status", "type")
    return {
        "name": meta["name"],
        "namespace": meta["namespace"],
        "kind": obj["kind"],
        "complianceState": "Suspended" if obj["spec"].get("suspend") else state,
        "statusConditions": [{word: one.get(word) for word in words} for one in conditions],
    }
