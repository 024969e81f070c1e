"""The scheduler: a pod goes to the node with the most room among those it may use and fits on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from edge.lab.controllers.home import CLAIMS_TYPE, NODES_TYPE, PODS_TYPE, Home, merge_conditions
from edge.lab.kube.store import Obj
from edge.lab.weather import FaultKind
from edge.policy import quantity

Room = dict[str, int]
"""Thousandths of cores, bytes and pods: whole numbers, so that forty times 100m is 4."""
_DEFAULT_ROOM = {"cpu": "1", "memory": "1Gi", "pods": "110"}
_TOO_MANY = "Too many pods"


def schedule(home: Home, pod: Obj) -> None:
    """Bind a pod to a node, or say why it cannot be."""
    missing = _missing_claim(home, pod)
    if missing:
        return _pending(home, pod, f'persistentvolumeclaim "{missing}" not found')
    nodes = home.store.list(NODES_TYPE)
    reasons: Counter[str] = Counter()
    best: tuple[int, str] | None = None
    for node in nodes:
        free = _free(home, node)
        unwanted = may_run_on(pod["spec"], node)
        why = [unwanted] if unwanted else _lacking(home, pod, free)
        reasons.update(why)
        if not why and (best is None or free["cpu"] > best[0]):
            best = (free["cpu"], node["metadata"]["name"])
    if best is None:
        listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        return _pending(home, pod, f"0/{len(nodes)} nodes are available: {listed or 'no nodes'}.")
    return _bind(home, pod, best[1])


def requests_of(pod: Obj) -> Room:
    """What a pod asks of a node: of cores, of bytes, and one of its places for pods."""
    spec = pod["spec"]
    total: Room = {"cpu": 0, "memory": 0, "pods": 1000}
    for name in ("cpu", "memory"):
        running = sum(_request(one, name) for one in spec.get("containers") or ())
        starting = max((_request(one, name) for one in spec.get("initContainers") or ()), default=0)
        total[name] = max(running, starting)
    return total


def _request(container: Mapping[str, Any], name: str) -> int:
    resources = container.get("resources") or {}
    asked = (resources.get("requests") or {}).get(name) or (resources.get("limits") or {}).get(name) or 0
    return _thousandths(asked)


def _thousandths(amount: Any) -> int:
    return int(quantity.parse(amount) * 1000)


def _free(home: Home, node: Obj) -> Room:
    allocatable = (node.get("status") or {}).get("allocatable") or _DEFAULT_ROOM
    room = {name: _thousandths(allocatable.get(name, 0)) for name in _DEFAULT_ROOM}
    if home.site.suffers(FaultKind.FULL_NODE):
        return dict.fromkeys(room, 0)
    for pod in home.store.select(PODS_TYPE, wanted=lambda pod: _is_on(pod, node["metadata"]["name"])):
        for name, amount in requests_of(pod).items():
            room[name] -= amount
    return room


def _is_on(pod: Mapping[str, Any], node: str) -> bool:
    if pod["spec"].get("nodeName") != node:
        return False
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def _lacking(home: Home, pod: Obj, free: Room) -> list[str]:
    short = [name for name, amount in requests_of(pod).items() if amount > free[name]]
    if home.site.suffers(FaultKind.FULL_NODE):
        short = list(free)
    return [_TOO_MANY if name == "pods" else f"Insufficient {name}" for name in short]


def may_run_on(spec: Mapping[str, Any], node: Obj) -> str:
    """Why a pod of this spec must not run on the node, in the scheduler's words, or ""."""
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return "node(s) didn't match Pod's node affinity/selector"
    if not _matches_affinity(spec, node):
        return "node(s) didn't match Pod's node affinity/selector"
    tolerations = spec.get("tolerations") or ()
    if (node.get("spec") or {}).get("unschedulable") and not any(_tolerates(one, _CORDON) for one in tolerations):
        return "node(s) were unschedulable"
    for taint in (node.get("spec") or {}).get("taints") or ():
        if taint.get("effect") != "PreferNoSchedule" and not any(_tolerates(one, taint) for one in tolerations):
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    return ""


_CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return (toleration.get("key"), toleration.get("value", "")) == (taint["key"], taint.get("value", ""))


def _matches_affinity(spec: Mapping[str, Any], node: Obj) -> bool:
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if not required:
        return True
    labels = node["metadata"].get("labels") or {}
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(
        _all_hold(term.get("matchExpressions") or (), labels) and _all_hold(term.get("matchFields") or (), fields)
        for term in required["nodeSelectorTerms"]
    )


def _all_hold(requirements: Iterable[Mapping[str, Any]], labels: Mapping[str, str]) -> bool:
    return all(_holds(one, labels.get(one["key"])) for one in requirements)


def _holds(requirement: Mapping[str, Any], value: str | None) -> bool:
    operator: str = requirement["operator"]
    values: list[str] = requirement.get("values") or []
    match operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists" | "DoesNotExist":
            return (value is not None) == (operator == "Exists")
    if value is None or not value.lstrip("-").isdigit():
        return False
    return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])


def _missing_claim(home: Home, pod: Obj) -> str:
    namespace = pod["metadata"]["namespace"]
    for volume in pod["spec"].get("volumes") or ():
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim and home.store.get(CLAIMS_TYPE, namespace, claim) is None:
            return str(claim)
    return ""


def _bind(home: Home, pod: Obj, node: str) -> None:
    bound = {**pod, "spec": {**pod["spec"], "nodeName": node}}
    home.update(PODS_TYPE, pod, _scheduled(home, bound, {"type": "PodScheduled", "status": "True"}))


def _pending(home: Home, pod: Obj, message: str) -> None:
    home.unscheduled.add((pod["metadata"]["namespace"], pod["metadata"]["name"]))
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    home.update(PODS_TYPE, pod, _scheduled(home, pod, condition))


def _scheduled(home: Home, pod: Obj, condition: dict[str, str]) -> Obj:
    status = pod.get("status") or {}
    conditions = merge_conditions(status.get("conditions") or [], [condition], home.now_text())
    return {**pod, "status": {"phase": "Pending", **status, "conditions": conditions}}
