"""What the workload controllers share: pods made from templates, and what can be said of a pod."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson

from edge.lab.controllers.home import PODS_TYPE, Home
from edge.lab.kube.errors import ApiError
from edge.lab.kube.resources import ResourceType
from edge.lab.kube.store import Obj

HASH_LABEL = "pod-template-hash"
REVISION_LABEL = "controller-revision-hash"
_SAFE = "bcdfghjklmnpqrstvwxz2456789"
"""What Kubernetes writes hashes with: no vowels, so that no words come up."""


def template_hash(template: Mapping[str, Any]) -> str:
    """Ten characters that differ when the pod template does."""
    digest = hashlib.sha256(orjson.dumps(template, option=orjson.OPT_SORT_KEYS)).digest()
    return "".join(_SAFE[byte % len(_SAFE)] for byte in digest[:10])


def owner_reference(owner: Obj) -> dict[str, Any]:
    """What makes `owner` the controller of another object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owned(home: Home, resource: ResourceType, owner: Obj) -> list[Obj]:
    """Objects of a type that `owner` controls, by name."""
    uid = owner["metadata"]["uid"]
    found = [obj for kind, obj in home.store.dependents(uid) if kind.key == resource.key]
    controlled = [obj for obj in found if any(one["uid"] == uid for one in _controllers(obj))]
    return sorted(controlled, key=lambda obj: str(obj["metadata"]["name"]))


def create_pod(home: Home, owner: Obj, template: Mapping[str, Any], more: Mapping[str, Any]) -> Obj:
    """Create a pod of a template. `more` holds `name` or `generateName`, and `labels` beyond the template's.

    Raises ApiError when a quota forbids it.
    """
    meta = dict(template.get("metadata") or {})
    meta.pop("creationTimestamp", None)
    labels = {**(meta.get("labels") or {}), **more.get("labels", {})}
    place = {key: more[key] for key in ("name", "generateName") if key in more}
    spec = {"serviceAccountName": "default", **template["spec"], **more.get("spec", {})}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **meta,
            **place,
            "namespace": owner["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": spec,
        "status": {"phase": "Pending", "qosClass": qos_class(spec)},
    }
    return home.create(PODS_TYPE, pod)


def try_create_pod(home: Home, owner: Obj, template: Mapping[str, Any], more: Mapping[str, Any]) -> str:
    """As `create_pod`; returns what kept it from being created, or ""."""
    try:
        create_pod(home, owner, template, more)
    except ApiError as refused:
        return refused.message
    return ""


def qos_class(spec: Mapping[str, Any]) -> str:
    """Guaranteed, Burstable or BestEffort, from requests and limits."""
    given = [one.get("resources") or {} for one in spec.get("containers") or ()]
    if not any(one.get("requests") or one.get("limits") for one in given):
        return "BestEffort"
    return "Guaranteed" if all(map(_guaranteed, given)) else "Burstable"


def _guaranteed(resources: Mapping[str, Any]) -> bool:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    return {"cpu", "memory"} <= limits.keys() and all(
        limits[name] == requests.get(name, limits[name]) for name in limits
    )


def is_going(obj: Obj) -> bool:
    """Whether its deletion has begun."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def phase(pod: Obj) -> str:
    """The pod's phase."""
    return str((pod.get("status") or {}).get("phase", "Pending"))


def is_active(pod: Obj) -> bool:
    """Whether it counts as one of its workload's pods."""
    return not is_going(pod) and phase(pod) not in ("Succeeded", "Failed")


def ready_since(pod: Obj) -> str | None:
    """When it became ready; None while it is not."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready":
            return str(condition.get("lastTransitionTime")) if condition["status"] == "True" else None
    return None


def is_ready(pod: Obj) -> bool:
    """Whether its Ready condition is true."""
    return ready_since(pod) is not None


def age_s(home: Home, moment: str) -> float:
    """Lab seconds since a time stamp."""
    return (home.site.clock.now() - datetime.fromisoformat(moment)).total_seconds()


def availability(home: Home, pods: Iterable[Obj], min_ready_s: int) -> tuple[int, float | None]:
    """How many pods have been ready for long enough, and in how many seconds the next one will (None: no one)."""
    waits = [min_ready_s - age_s(home, since) for pod in pods if (since := ready_since(pod)) is not None]
    ahead = [wait for wait in waits if min_ready_s and wait > 0]
    return len(waits) - len(ahead), min(ahead, default=None)


def share(value: Any, total: int, *, up: bool) -> int:
    """A count or percentage such as `25%` of `total`, rounded up or down."""
    text = str(value)
    if not text.endswith("%"):
        return int(text)
    exact = int(text[:-1]) * total
    return -(-exact // 100) if up else exact // 100


def _controllers(obj: Obj) -> list[dict[str, Any]]:
    return [one for one in obj["metadata"].get("ownerReferences") or () if one.get("controller")]
