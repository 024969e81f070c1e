"""Conditions as Flux's controllers write them: each says which generation it is about, and comes with its time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.lab.controllers.home import Home
from edge.lab.kube.resources import ResourceType
from edge.lab.kube.store import Obj

Condition = dict[str, Any]


def condition(obj: Mapping[str, Any], kind: str, status: str, reason: str, message: str) -> Condition:
    """One condition about the object's present generation."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": obj["metadata"].get("generation", 1),
    }


def retrying(obj: Mapping[str, Any], reason: str, message: str) -> list[Condition]:
    """What is said of an object whose reconciliation failed and will be tried again."""
    return [
        condition(obj, "Reconciling", "True", "ProgressingWithRetry", message),
        condition(obj, "Ready", "False", reason, message),
    ]


def progressing(obj: Mapping[str, Any], message: str) -> list[Condition]:
    """What is said of an object that is being worked on."""
    return [
        condition(obj, "Reconciling", "True", "Progressing", message),
        condition(obj, "Ready", "Unknown", "Progressing", message),
    ]


def kept(obj: Mapping[str, Any], kind: str) -> list[Condition]:
    """The object's condition of this type as it is, if it has one."""
    found = ((obj.get("status") or {}).get("conditions")) or ()
    return [one for one in found if one["type"] == kind]


def write(home: Home, resource: ResourceType, obj: Obj, changed: Mapping[str, Any]) -> Obj:
    """Merge fields into the status; None takes one away. Nothing is written when nothing differs."""
    fresh = home.current(resource, obj)
    if fresh is None:
        return obj
    before = dict(fresh.get("status") or {"observedGeneration": -1})
    if fresh["metadata"].get("generation") != obj["metadata"].get("generation"):
        changed = {word: value for word, value in changed.items() if word not in {"conditions", "observedGeneration"}}
    return home.set_status(resource, fresh, {**before, **changed})
