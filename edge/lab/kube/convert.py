"""Stored objects in the version a caller asks for, and back."""

from __future__ import annotations

from edge.lab.kube.resources import ResourceType
from edge.lab.kube.store import Obj

# events.k8s.io/v1 -> v1
_EVENT = {
    "note": "message",
    "regarding": "involvedObject",
    "reportingController": "reportingComponent",
    "deprecatedCount": "count",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedSource": "source",
}
_STORED_EVENT = {stored: shown for shown, stored in _EVENT.items()}


def shown(resource: ResourceType, obj: Obj) -> Obj:
    """A stored object as `resource` shows it."""
    if obj["apiVersion"] == resource.api_version:
        return obj
    return _converted(resource, obj, resource.api_version, _STORED_EVENT)


def stored(resource: ResourceType, obj: Obj) -> Obj:
    """An object of `resource` as it is stored."""
    if resource.api_version == resource.storage_api_version:
        return obj
    return _converted(resource, obj, resource.storage_api_version, _EVENT)


def _converted(resource: ResourceType, obj: Obj, api_version: str, names: dict[str, str]) -> Obj:
    """Versions of a CRD differ in name only (conversion strategy None), the two groups of events in some fields."""
    renamed = obj if resource.custom else {names.get(word, word): value for word, value in obj.items()}
    return {**renamed, "apiVersion": api_version}
