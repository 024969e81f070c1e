"""What an old version brought and the new one has no more: what may be deleted, and what keeps it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edge.model.kube import KubeObject, ObjectRef
from edge.policy.apply_order import PHASES
from edge.policy.snapshot import Managed, managed

PRUNE: Final = "edge-platform.io/prune"
"""Annotation: `enabled` lets an object with data in it go, `disabled` keeps any object."""

HOLDS_DATA: Final = frozenset(("PersistentVolumeClaim", "PersistentVolume", "Namespace", "CustomResourceDefinition"))
"""With these goes what a stamp cannot bring back."""

_RANK: Final = {kind: rank for rank, kinds in enumerate(PHASES) for kind in kinds}


def left_over(old: Iterable[ObjectRef], new: Iterable[ObjectRef]) -> tuple[ObjectRef, ...]:
    """What only the old version has, in the order in which it may go: last applied first.

    Another version of the same API group is the same object.
    """
    kept = {_identity(ref) for ref in new}
    gone = [ref for ref in dict.fromkeys(old) if _identity(ref) not in kept]
    return tuple(sorted(reversed(gone), key=lambda ref: -_RANK.get(ref.kind, len(_RANK))))


def why_kept(live: KubeObject, stamp: str) -> str:
    """Why this object must stay, as a clause; "" when it may be deleted."""
    reason = managed(live, stamp)
    wish = (live["metadata"].get("annotations") or {}).get(PRUNE, "")
    if reason is not Managed.YES:
        return str(reason)
    if wish == "disabled":
        return f"its annotation {PRUNE} says disabled"
    if live["kind"] in HOLDS_DATA and wish != "enabled":
        return f"data would go with it; the annotation {PRUNE}: enabled would allow that"
    return ""


def _identity(ref: ObjectRef) -> tuple[str, str, str, str]:
    return ref.api_version.rpartition("/")[0], ref.kind, ref.namespace, ref.name
