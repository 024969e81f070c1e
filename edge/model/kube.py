"""Kubernetes objects as the platform sees them: references, and how healthy an object is."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from edge.model.base import Value

KubeObject = Mapping[str, Any]
"""One Kubernetes object as parsed JSON. Read-only by convention: copy before changing."""


class ObjectRef(Value):
    """Which object: `api_version` as in the manifest (`v1`, `apps/v1`); `namespace` is "" for cluster-wide kinds."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""

    @classmethod
    def of(cls, obj: KubeObject) -> ObjectRef:
        """The reference of an object that has apiVersion, kind and metadata.name."""
        meta = obj["metadata"]
        return cls(
            api_version=obj["apiVersion"], kind=obj["kind"], name=meta["name"], namespace=meta.get("namespace") or ""
        )

    def __str__(self) -> str:
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {place}{self.name}"


class Health(StrEnum):
    """How an object is doing (the words of kstatus)."""

    CURRENT = "Current"
    """What was asked for is there and works."""
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    """It will not get better by waiting."""
    TERMINATING = "Terminating"
    NOT_FOUND = "NotFound"


class ObjectHealth(Value):
    """An object's health with a sentence that says why."""

    ref: ObjectRef
    health: Health
    message: str = ""
