"""StatefulSets: numbered pods with claims of their own, one after another."""

from __future__ import annotations

from typing import Any

from edge.lab.controllers.home import CLAIMS_TYPE, PODS_TYPE, Home
from edge.lab.controllers.pods import (
    REVISION_LABEL,
    availability,
    is_going,
    is_ready,
    owned,
    phase,
    template_hash,
    try_create_pod,
)
from edge.lab.controllers.revisions import note_revision
from edge.lab.kube.resources import builtin
from edge.lab.kube.store import Obj

STATEFULSETS_TYPE = builtin("statefulsets", "apps")
_RETRY_S = 5.0
Pods = dict[int, Obj]


def statefulset(home: Home, sts: Obj) -> float | None:
    """Move a StatefulSet one pod on, or all at once with podManagementPolicy Parallel."""
    if is_going(sts):
        return None
    present = template_hash(sts["spec"]["template"])
    note_revision(home, sts, present)
    update = f"{sts['metadata']['name']}-{present}"
    pods = {_ordinal(pod): pod for pod in owned(home, PODS_TYPE, sts)}
    refusal = _step(home, sts, pods, update)
    again_s = _count(home, sts, update)
    return _RETRY_S if refusal else again_s


def _step(home: Home, sts: Obj, pods: Pods, update: str) -> str:
    """One move; returns what kept a pod from being created, or ""."""
    first = (sts["spec"].get("ordinals") or {}).get("start", 0)
    wanted = range(first, first + sts["spec"].get("replicas", 1))
    parallel = sts["spec"].get("podManagementPolicy") == "Parallel"
    for ordinal in wanted:
        pod = pods.get(ordinal)
        if pod is None:
            refusal = _create(home, sts, ordinal, update)
            if refusal or not parallel:
                return refusal
        elif phase(pod) in ("Failed", "Succeeded"):
            home.delete_pod(pod)
        elif not parallel and not is_ready(pod) and not _outdated(sts, pod, ordinal, update):
            return ""  # the next one waits for this one
    extra = sorted((ordinal for ordinal in pods if ordinal not in wanted), reverse=True)
    for ordinal in extra if parallel else extra[:1]:
        home.delete_pod(pods[ordinal])
    if not extra:
        _replace_outdated(home, sts, pods, update)
    return ""


def _replace_outdated(home: Home, sts: Obj, pods: Pods, update: str) -> None:
    """Delete the pod of the highest number that is of an older revision, once all above it are ready."""
    if (sts["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        return
    for ordinal in sorted(pods, reverse=True):
        pod = pods[ordinal]
        if _outdated(sts, pod, ordinal, update):
            home.delete_pod(pod)
            return
        if is_going(pod) or not is_ready(pod):
            return


def _outdated(sts: Obj, pod: Obj, ordinal: int, update: str) -> bool:
    rolling = (sts["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    return ordinal >= rolling.get("partition", 0) and _revision(pod) != update


def _create(home: Home, sts: Obj, ordinal: int, update: str) -> str:
    name = f"{sts['metadata']['name']}-{ordinal}"
    volumes = [_claim(home, sts, claim, name) for claim in sts["spec"].get("volumeClaimTemplates") or ()]
    labels = {
        REVISION_LABEL: _revision_for(sts, ordinal, update),
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": str(ordinal),
    }
    spec: dict[str, Any] = {"hostname": name, "subdomain": sts["spec"].get("serviceName", "")}
    if volumes:
        spec["volumes"] = [*(sts["spec"]["template"]["spec"].get("volumes") or ()), *volumes]
    return try_create_pod(home, sts, sts["spec"]["template"], {"name": name, "labels": labels, "spec": spec})


def _revision_for(sts: Obj, ordinal: int, update: str) -> str:
    rolling = (sts["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    current: str = (sts.get("status") or {}).get("currentRevision", update)
    return current if ordinal < rolling.get("partition", 0) else update


def _claim(home: Home, sts: Obj, template: dict[str, Any], pod: str) -> dict[str, Any]:
    """Make sure that a pod's claim is there; claims outlive their pods. Returns the pod's volume."""
    meta = template["metadata"]
    name, namespace = f"{meta['name']}-{pod}", sts["metadata"]["namespace"]
    if home.store.get(CLAIMS_TYPE, namespace, name) is None:
        labels = {**(meta.get("labels") or {}), **(sts["spec"]["selector"].get("matchLabels") or {})}
        home.create(
            CLAIMS_TYPE,
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": namespace, "labels": labels},
                "spec": template["spec"],
                "status": {"phase": "Pending"},
            },
        )
    return {"name": meta["name"], "persistentVolumeClaim": {"claimName": name}}


def _count(home: Home, sts: Obj, update: str) -> float | None:
    current = home.current(STATEFULSETS_TYPE, sts)
    if current is None:
        return None
    pods = [pod for pod in owned(home, PODS_TYPE, current) if not is_going(pod)]
    updated = sum(_revision(pod) == update for pod in pods)
    available, next_s = availability(home, pods, current["spec"].get("minReadySeconds", 0))
    before = (current.get("status") or {}).get("currentRevision")
    ready = sum(map(is_ready, pods))
    done = before is None or (updated == len(pods) == ready == current["spec"].get("replicas", 1))
    settled = update if done else before
    status = {
        "observedGeneration": current["metadata"].get("generation", 1),
        "replicas": len(pods),
        "readyReplicas": ready or None,
        "availableReplicas": available,
        "currentReplicas": sum(_revision(pod) == settled for pod in pods) or None,
        "updatedReplicas": updated or None,
        "currentRevision": settled,
        "updateRevision": update,
        "collisionCount": 0,
    }
    home.set_status(STATEFULSETS_TYPE, current, status)
    return next_s


def _ordinal(pod: Obj) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2])


def _revision(pod: Obj) -> str:
    return str((pod["metadata"].get("labels") or {}).get(REVISION_LABEL, ""))
