"""ReplicaSets: as many pods as asked for."""

from __future__ import annotations

from typing import Any

from edge.lab.controllers.home import PODS_TYPE, REPLICASETS_TYPE, Home
from edge.lab.controllers.pods import (
    availability,
    is_active,
    is_going,
    is_ready,
    owned,
    try_create_pod,
)
from edge.lab.kube.store import Obj

_RETRY_S = 5.0


def replicaset(home: Home, rs: Obj) -> float | None:
    """Create or delete pods, and count them. Returns when to look again."""
    if is_going(rs):
        return None
    active = [pod for pod in owned(home, PODS_TYPE, rs) if is_active(pod)]
    wanted = rs["spec"].get("replicas", 1)
    refusal = ""
    for _ in range(wanted - len(active)):
        more = {"generateName": f"{rs['metadata']['name']}-"}
        refusal = try_create_pod(home, rs, rs["spec"]["template"], more)
        if refusal:
            break
    for pod in sorted(active, key=_first_to_go)[: max(0, len(active) - wanted)]:
        home.delete_pod(pod)
    return _count(home, rs, refusal)


def _first_to_go(pod: Obj) -> tuple[bool, bool, str]:
    """Unscheduled pods go first, then those that are not ready, then the others by name."""
    return bool(pod["spec"].get("nodeName")), is_ready(pod), pod["metadata"]["name"]


def _count(home: Home, rs: Obj, refusal: str) -> float | None:
    current = home.current(REPLICASETS_TYPE, rs)
    if current is None:
        return None
    active = [pod for pod in owned(home, PODS_TYPE, current) if is_active(pod)]
    available, next_s = availability(home, active, current["spec"].get("minReadySeconds", 0))
    conditions = [
        one for one in (current.get("status") or {}).get("conditions") or () if one["type"] != "ReplicaFailure"
    ]
    if refusal:
        conditions.append(_failure(refusal))
    ready = sum(map(is_ready, active))
    status: dict[str, Any] = {
        "replicas": len(active),
        "fullyLabeledReplicas": len(active) or None,
        "readyReplicas": ready or None,
        "availableReplicas": available or None,
        "observedGeneration": current["metadata"].get("generation", 1),
        "conditions": conditions or None,
    }
    home.set_status(REPLICASETS_TYPE, current, status)
    return _RETRY_S if refusal else next_s


def _failure(message: str) -> dict[str, str]:
    return {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
