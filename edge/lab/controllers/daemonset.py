"""DaemonSets: one pod on every node that may run it."""

from __future__ import annotations

from typing import Any

from edge.lab.controllers.home import NODES_TYPE, PODS_TYPE, Home
from edge.lab.controllers.pods import (
    REVISION_LABEL,
    availability,
    is_active,
    is_going,
    is_ready,
    owned,
    phase,
    share,
    template_hash,
    try_create_pod,
)
from edge.lab.controllers.revisions import note_revision
from edge.lab.controllers.schedule import may_run_on
from edge.lab.kube.resources import builtin
from edge.lab.kube.store import Obj

DAEMONSETS_TYPE = builtin("daemonsets", "apps")
_RETRY_S = 5.0
_TOLERATED = ("not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")


def daemonset(home: Home, ds: Obj) -> float | None:
    """Create and delete pods so that each fitting node has one, of the newest template within maxUnavailable."""
    if is_going(ds):
        return None
    revision = template_hash(ds["spec"]["template"])
    note_revision(home, ds, revision)
    wanted = {node["metadata"]["name"] for node in home.store.list(NODES_TYPE) if not may_run_on(_spec(ds), node)}
    pods = owned(home, PODS_TYPE, ds)
    refusal = ""
    for node in sorted(wanted - {_node_of(pod) for pod in pods if is_active(pod) or is_going(pod)}):
        refusal = refusal or _create(home, ds, node, revision)
    for pod in pods:
        if _node_of(pod) not in wanted or phase(pod) in ("Failed", "Succeeded"):
            home.delete_pod(pod)
    _replace_outdated(home, ds, [pod for pod in pods if _node_of(pod) in wanted], revision, len(wanted))
    again_s = _count(home, ds, wanted, revision)
    return _RETRY_S if refusal else again_s


def _spec(ds: Obj) -> dict[str, Any]:
    """The pod's spec with the tolerations that pods of DaemonSets have."""
    spec: dict[str, Any] = ds["spec"]["template"]["spec"]
    own = [{"key": f"node.kubernetes.io/{word}", "operator": "Exists"} for word in _TOLERATED]
    return {**spec, "tolerations": [*(spec.get("tolerations") or ()), *own]}


def _create(home: Home, ds: Obj, node: str, revision: str) -> str:
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    affinity = {**(_spec(ds).get("affinity") or {}), "nodeAffinity": required}
    more = {
        "generateName": f"{ds['metadata']['name']}-",
        "labels": {REVISION_LABEL: revision, "pod-template-generation": str(ds["metadata"].get("generation", 1))},
        "spec": {"affinity": affinity, "tolerations": _spec(ds)["tolerations"]},
    }
    return try_create_pod(home, ds, ds["spec"]["template"], more)


def _node_of(pod: Obj) -> str:
    """The node a pod is for, bound to it or not."""
    bound = pod["spec"].get("nodeName")
    if bound:
        return str(bound)
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or ()
    return next((str(field["values"][0]) for term in terms for field in term.get("matchFields") or ()), "")


def _replace_outdated(home: Home, ds: Obj, pods: list[Obj], revision: str, wanted: int) -> None:
    strategy = ds["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return
    allowed = max(1, share((strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1), wanted, up=True))
    active = [pod for pod in pods if is_active(pod)]
    spare = allowed - (wanted - sum(map(is_ready, active)))
    for pod in active:
        if _revision(pod) != revision and (spare > 0 or not is_ready(pod)):
            spare -= is_ready(pod)
            home.delete_pod(pod)


def _count(home: Home, ds: Obj, wanted: set[str], revision: str) -> float | None:
    current = home.current(DAEMONSETS_TYPE, ds)
    if current is None:
        return None
    pods = [pod for pod in owned(home, PODS_TYPE, current) if is_active(pod) and _node_of(pod) in wanted]
    available, next_s = availability(home, pods, current["spec"].get("minReadySeconds", 0))
    missing = len(wanted) - available
    status = {
        "currentNumberScheduled": len(pods),
        "numberMisscheduled": 0,
        "desiredNumberScheduled": len(wanted),
        "numberReady": sum(map(is_ready, pods)),
        "observedGeneration": current["metadata"].get("generation", 1),
        "updatedNumberScheduled": sum(_revision(pod) == revision for pod in pods) or None,
        "numberAvailable": available or None,
        "numberUnavailable": missing if missing > 0 else None,
    }
    home.set_status(DAEMONSETS_TYPE, current, status)
    return next_s


def _revision(pod: Obj) -> str:
    return str((pod["metadata"].get("labels") or {}).get(REVISION_LABEL, ""))
