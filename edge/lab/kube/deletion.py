"""Deleting as Kubernetes does it: at once, after finalizers, after a grace period, with or without what it owns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from edge.lab.kube.resources import CRDS, NAMESPACES, PODS, ResourceType
from edge.lab.kube.store import Obj, SiteStore, stamp

BACKGROUND, FOREGROUND, ORPHAN = "Background", "Foreground", "Orphan"
FOREGROUND_FINALIZER = "foregroundDeletion"
CRD_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


@dataclass(frozen=True, slots=True)
class Deletion:
    """How to delete. `grace` None means the object's own grace period."""

    policy: str = BACKGROUND
    grace: int | None = None


def delete(store: SiteStore, resource: ResourceType, obj: Obj, how: Deletion | None = None) -> Obj:
    """Delete an object, or mark it as being deleted. The result is its last or its present state."""
    how = how or Deletion()
    if how.policy == ORPHAN:
        _let_go(store, obj["metadata"]["uid"])
    elif how.policy == FOREGROUND and _blockers(store, obj):
        return _foreground(store, resource, obj, how)
    if resource.key == CRDS:
        return _delete_crd(store, resource, obj)
    return _mark_or_remove(store, resource, obj, how.grace)


def is_deleting(obj: Mapping[str, Any]) -> bool:
    """Whether a deletion has begun."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def _mark_or_remove(store: SiteStore, resource: ResourceType, obj: Obj, wished_grace: int | None) -> Obj:
    meta = obj["metadata"]
    grace = _grace(resource, obj, wished_grace)
    if not grace and not meta.get("finalizers") and not (obj.get("spec") or {}).get("finalizers"):
        return store.remove(resource, meta.get("namespace", ""), meta["name"])
    if is_deleting(obj) and meta.get("deletionGracePeriodSeconds", 0) <= grace:
        return obj
    return store.replace(resource, _marked(store, resource, obj, grace))


def _marked(store: SiteStore, resource: ResourceType, obj: Obj, grace: int) -> Obj:
    when = stamp(store.now() + timedelta(seconds=grace))
    meta = {**obj["metadata"], "deletionTimestamp": when, "deletionGracePeriodSeconds": grace}
    marked = {**obj, "metadata": meta}
    if resource.key == NAMESPACES:
        marked["status"] = {**obj.get("status", {}), "phase": "Terminating"}
    return marked


def _grace(resource: ResourceType, obj: Obj, wished: int | None) -> int:
    """Seconds a pod gets to end. Only a kubelet ends a running pod; one that never ran goes at once."""
    if resource.key != PODS:
        return 0
    spec, phase = obj.get("spec") or {}, (obj.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in {"Succeeded", "Failed"}:
        return 0
    if wished is not None:
        return wished
    seconds: int = spec.get("terminationGracePeriodSeconds", 30)
    return seconds


# What an object owns


def _blockers(store: SiteStore, obj: Obj) -> list[tuple[ResourceType, Obj]]:
    uid = obj["metadata"]["uid"]
    return [
        (resource, child)
        for resource, child in store.dependents(uid)
        if any(one["uid"] == uid and one.get("blockOwnerDeletion") for one in child["metadata"]["ownerReferences"])
    ]


def _foreground(store: SiteStore, resource: ResourceType, obj: Obj, how: Deletion) -> Obj:
    finalizers = [*(obj["metadata"].get("finalizers") or ()), FOREGROUND_FINALIZER]
    held = {**obj, "metadata": {**obj["metadata"], "finalizers": finalizers}}
    stored = store.replace(resource, _marked(store, resource, held, 0))
    for kind, child in store.dependents(obj["metadata"]["uid"]):
        if not is_deleting(child):
            delete(store, kind, child, replace(how, grace=None))
    current = store.by_uid(obj["metadata"]["uid"])
    return current[1] if current else stored


def release(store: SiteStore, owner_uid: str) -> None:
    """Let an owner go that waited in the foreground, once nothing holds it any more."""
    found = store.by_uid(owner_uid)
    if found is None:
        return
    resource, owner = found
    finalizers = owner["metadata"].get("finalizers") or []
    if FOREGROUND_FINALIZER in finalizers and not _blockers(store, owner):
        left = [one for one in finalizers if one != FOREGROUND_FINALIZER]
        store.replace(resource, {**owner, "metadata": {**owner["metadata"], "finalizers": left}})


def collect(store: SiteStore, owner_uid: str) -> None:
    """After an owner has gone: delete what only it owned; the rest loses the reference."""
    for resource, child in store.dependents(owner_uid):
        if any(store.by_uid(one["uid"]) for one in child["metadata"]["ownerReferences"] if one["uid"] != owner_uid):
            store.replace(resource, _without_owner(child, owner_uid))
        elif not is_deleting(child):
            delete(store, resource, child)


def _let_go(store: SiteStore, owner_uid: str) -> None:
    for resource, child in store.dependents(owner_uid):
        store.replace(resource, _without_owner(child, owner_uid))


def _without_owner(child: Obj, owner_uid: str) -> Obj:
    meta = dict(child["metadata"])
    left = [one for one in meta.pop("ownerReferences") if one["uid"] != owner_uid]
    return {**child, "metadata": {**meta, "ownerReferences": left} if left else meta}


# CRDs own their instances


def _delete_crd(store: SiteStore, resource: ResourceType, crd: Obj) -> Obj:
    for instance in instances(store, crd):
        if not is_deleting(instance[1]):
            delete(store, *instance)
    if not instances(store, crd):
        return store.remove(resource, "", crd["metadata"]["name"])
    if is_deleting(crd):
        return crd
    held = {**crd, "metadata": {**crd["metadata"], "finalizers": [CRD_FINALIZER]}}
    return store.replace(resource, _marked(store, resource, held, 0))


def instances(store: SiteStore, crd: Obj) -> list[tuple[ResourceType, Obj]]:
    """The custom resources a CRD defines."""
    kind = store.types.of_key((crd["spec"]["group"], crd["spec"]["names"]["plural"]))
    return [(kind, obj) for obj in store.select(kind)] if kind else []
