"""LimitRange: gives containers and claims their defaults, and refuses what lies outside the bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edge.lab.kube.errors import forbidden
from edge.lab.kube.resources import PODS, ResourceType, builtin
from edge.lab.kube.store import Obj, SiteStore
from edge.policy import quantity

CLAIMS = ("", "persistentvolumeclaims")


def apply_limits(store: SiteStore, resource: ResourceType, obj: Obj) -> None:
    """Change a new pod in place by the limit ranges of its namespace, and check it and claims (403)."""
    if resource.key not in {PODS, CLAIMS}:
        return
    for one in store.list(builtin("limitranges"), obj["metadata"]["namespace"]):
        for limit in (one.get("spec") or {}).get("limits") or ():
            _apply_one(resource, obj, limit)


def _apply_one(resource: ResourceType, obj: Obj, limit: Mapping[str, Any]) -> None:
    if resource.key == PODS and limit["type"] == "Container":
        for container in obj["spec"].get("containers") or ():
            _fill(container, limit)
    faults = [fault for resources in _subjects(resource, obj, limit["type"]) for fault in _faults(resources, limit)]
    if faults:
        why = faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"
        raise forbidden(resource, obj["metadata"].get("name", ""), why)


def _fill(container: dict[str, Any], limit: Mapping[str, Any]) -> None:
    resources = dict(container.get("resources") or {})
    for word, source in (("limits", "default"), ("requests", "defaultRequest")):
        filled = {**(limit.get(source) or {}), **(resources.get(word) or {})}
        if filled:
            resources[word] = filled
    container["resources"] = resources


def _subjects(resource: ResourceType, obj: Obj, kind: str) -> Iterator[Mapping[str, Any]]:
    if resource.key == CLAIMS and kind == "PersistentVolumeClaim":
        yield obj["spec"].get("resources") or {}
    elif resource.key == PODS and kind == "Container":
        for container in obj["spec"].get("containers") or ():
            yield container.get("resources") or {}


def _faults(resources: Mapping[str, Any], limit: Mapping[str, Any]) -> Iterator[str]:
    kind = limit["type"]
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, most in (limit.get("max") or {}).items():
        asked = limits.get(name, requests.get(name))
        if asked is not None and quantity.parse(asked or 0) > quantity.parse(most or 0):
            yield f"maximum {name} usage per {kind} is {most}, but limit is {asked}"
    for name, least in (limit.get("min") or {}).items():
        asked = requests.get(name)
        if asked is not None and quantity.parse(asked or 0) < quantity.parse(least or 0):
            yield f"minimum {name} usage per {kind} is {least}, but request is {asked}"
