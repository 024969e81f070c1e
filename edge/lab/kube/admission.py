"""What happens to an object between its defaults and its validation: completed, or refused for its surroundings."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from typing import Any

from edge.lab.kube import crds, pod_security, quota, services
from edge.lab.kube.errors import cause, forbidden, invalid, not_found
from edge.lab.kube.limits import apply_limits
from edge.lab.kube.resources import CRDS, NAMESPACES, PODS, ResourceType, builtin
from edge.lab.kube.store import Obj, SiteStore, stamp

_Step = Callable[[SiteStore, Obj, Obj | None], None]


def namespace_is_open(store: SiteStore, resource: ResourceType, namespace: str, name: str) -> None:
    """Refuse a new object whose namespace is absent (404) or on its way out (403)."""
    found = store.get(builtin("namespaces"), "", namespace)
    if found is None:
        raise not_found(builtin("namespaces"), namespace)
    if found["metadata"].get("deletionTimestamp"):
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        fault = cause("metadata.namespace", "NamespaceTerminating", f"namespace {namespace} is being terminated")
        raise forbidden(resource, name, why, [fault])


def admit(store: SiteStore, resource: ResourceType, obj: Obj, old: Obj | None) -> list[str]:
    """Complete a new or changed object in place; the warnings for who asks. Raises ApiError when it is refused."""
    step = _STEPS.get(resource.key)
    if step:
        step(store, obj, old)
    if resource.namespaced and old is None:
        apply_limits(store, resource, obj)
    warnings = pod_security.check(store, resource, obj, old)
    if resource.namespaced:
        quota.check(store, resource, obj, old)
    return warnings


def _namespace(_store: SiteStore, obj: Obj, old: Obj | None) -> None:
    meta = obj["metadata"]
    if meta.get("name"):
        meta["labels"] = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": meta["name"]}
    if old is None:
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}


def _pod(store: SiteStore, obj: Obj, old: Obj | None) -> None:
    spec = obj["spec"]
    if old is not None:
        return
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    if store.get(builtin("serviceaccounts"), obj["metadata"]["namespace"], name) is None:
        why = (
            f'error looking up service account {obj["metadata"]["namespace"]}/{name}: serviceaccount "{name}" not found'
        )
        raise forbidden(builtin("pods"), obj["metadata"].get("name", ""), why)
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    _priority(store, spec)
    obj["status"] = {"phase": "Pending", "qosClass": quality(spec)}


def _priority(store: SiteStore, spec: dict[str, Any]) -> None:
    name = spec.get("priorityClassName")
    found = store.get(builtin("priorityclasses", "scheduling.k8s.io"), "", name) if name else None
    spec.setdefault("priority", found["value"] if found else 0)
    spec.setdefault("preemptionPolicy", (found or {}).get("preemptionPolicy", "PreemptLowerPriority"))


def quality(spec: dict[str, Any]) -> str:
    """A pod's quality-of-service class."""
    resources = [one.get("resources") or {} for one in spec.get("containers") or ()]
    if not any(one.get("requests") or one.get("limits") for one in resources):
        return "BestEffort"
    for one in resources:
        limits = one.get("limits") or {}
        requests = {**limits, **(one.get("requests") or {})}
        if not {"cpu", "memory"} <= limits.keys() or any(requests[word] != limits[word] for word in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def _service(store: SiteStore, obj: Obj, old: Obj | None) -> None:
    services.complete(store, obj, old)
    if old is None:
        obj["status"] = {"loadBalancer": {}}


def _claim(store: SiteStore, obj: Obj, old: Obj | None) -> None:
    if old is not None:
        return
    obj["status"] = {"phase": "Pending"}
    spec = obj.setdefault("spec", {})
    if "storageClassName" not in spec:
        for one in store.list(builtin("storageclasses", "storage.k8s.io")):
            notes = one["metadata"].get("annotations") or {}
            if notes.get("storageclass.kubernetes.io/is-default-class") == "true":
                spec["storageClassName"] = one["metadata"]["name"]


def _job(_store: SiteStore, obj: Obj, old: Obj | None) -> None:
    """A Job finds its pods by its own uid, unless it says that it knows better."""
    spec = obj["spec"]
    if old is not None or spec.get("manualSelector"):
        return
    uid = obj["metadata"].setdefault("uid", str(uuid.uuid4()))
    mine = {"batch.kubernetes.io/controller-uid": uid, "controller-uid": uid}
    named = {f"{head}job-name": obj["metadata"].get("name", "") for head in ("batch.kubernetes.io/", "")}
    meta = spec["template"].setdefault("metadata", {})
    meta["labels"] = {**(meta.get("labels") or {}), **mine, **named}
    spec.setdefault("selector", {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}})


def _secret(_store: SiteStore, obj: Obj, _old: Obj | None) -> None:
    plain = obj.pop("stringData", None)
    if plain:
        coded = {key: base64.b64encode((value or "").encode()).decode() for key, value in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **coded}
    obj.setdefault("type", "Opaque")


def _volume(_store: SiteStore, obj: Obj, old: Obj | None) -> None:
    if old is None:
        obj["status"] = {"phase": "Pending"}


def _crd(store: SiteStore, obj: Obj, _old: Obj | None) -> None:
    faults = crds.check(obj)
    if faults:
        raise invalid("CustomResourceDefinition", CRDS[0], obj["metadata"].get("name", ""), faults)
    obj.update(crds.with_defaults(obj, stamp(store.now())))


_STEPS: dict[tuple[str, str], _Step] = {
    NAMESPACES: _namespace,
    PODS: _pod,
    CRDS: _crd,
    ("batch", "jobs"): _job,
    ("", "services"): _service,
    ("", "persistentvolumeclaims"): _claim,
    ("", "persistentvolumes"): _volume,
    ("", "secrets"): _secret,
}
