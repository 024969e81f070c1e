"""How healthy a Kubernetes object is, from the object alone: the rules of kstatus, as a table by kind.

Every rule answers the same question: has the controller seen what was asked for, and has it come true? `Failed` is
said only when waiting will not help. Objects of kinds that are not in the table are judged by their conditions, and by
nothing at all when they have none: then being there is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge.model.kube import Health, KubeObject, ObjectHealth, ObjectRef

Verdict = tuple[Health, str]
Rule = Callable[[KubeObject], Verdict | None]
"""A verdict with its reason, or None for Current."""

_WAITS_THAT_DO_NOT_END = ("CrashLoopBackOff",)
_IMAGE_TROUBLE = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull")


def health_of(obj: KubeObject) -> ObjectHealth:
    """The health of an object as read from a site."""
    health, message = _verdict(obj)
    return ObjectHealth(ref=ObjectRef.of(obj), health=health, message=message)


def _verdict(obj: KubeObject) -> Verdict:
    if obj["metadata"].get("deletionTimestamp"):
        return Health.TERMINATING, "It is being deleted"
    group = obj["apiVersion"].rpartition("/")[0]
    for rule in (_is_seen, _standard_conditions, _RULES.get((group, obj["kind"]), _ready_condition)):
        verdict = rule(obj)
        if verdict is not None:
            return verdict
    return Health.CURRENT, ""


def _is_seen(obj: KubeObject) -> Verdict | None:
    """The status must be about this generation of the spec, wherever a controller says which it saw."""
    asked = obj["metadata"].get("generation")
    seen = _status(obj).get("observedGeneration")
    if asked is not None and seen is not None and seen != asked:
        return Health.IN_PROGRESS, f"Generation {asked} is asked for, {seen} was seen"
    return None


def _standard_conditions(obj: KubeObject) -> Verdict | None:
    """Reconciling and Stalled mean the same wherever they appear."""
    if _is(obj, "Stalled", "True"):
        return Health.FAILED, _says(obj, "Stalled")
    if _is(obj, "Reconciling", "True"):
        return Health.IN_PROGRESS, _says(obj, "Reconciling")
    return None


def _ready_condition(obj: KubeObject) -> Verdict | None:
    ready = _condition(obj, "Ready")
    if ready and ready.get("status") != "True":
        return Health.IN_PROGRESS, _says(obj, "Ready")
    return None


def _deployment(obj: KubeObject) -> Verdict | None:
    progressing = _condition(obj, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return Health.FAILED, _says(obj, "Progressing")
    if progressing.get("status") == "False" and progressing.get("reason") != "DeploymentPaused":
        return Health.FAILED, _says(obj, "Progressing")
    if _is(obj, "ReplicaFailure", "True"):
        return Health.IN_PROGRESS, _says(obj, "ReplicaFailure")
    counted = _replicas(obj, ("replicas", "updatedReplicas", "availableReplicas", "readyReplicas"))
    if counted:
        return counted
    if not _is(obj, "Available", "True") and _wanted(obj):
        return Health.IN_PROGRESS, _says(obj, "Available") or "It is not available yet"
    return None


def _replicaset(obj: KubeObject) -> Verdict | None:
    if _is(obj, "ReplicaFailure", "True"):
        return Health.IN_PROGRESS, _says(obj, "ReplicaFailure")
    return _replicas(obj, ("replicas", "fullyLabeledReplicas", "availableReplicas", "readyReplicas"))


def _statefulset(obj: KubeObject) -> Verdict | None:
    spec, status = obj.get("spec") or {}, _status(obj)
    if (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        return None
    partition = ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition") or 0
    counted = _replicas(obj, ("replicas", "readyReplicas", "currentReplicas") if not partition else ("readyReplicas",))
    if partition:
        due = max(0, _wanted(obj) - partition)
        return counted or _at_least("updatedReplicas", status.get("updatedReplicas") or 0, due)
    if status.get("currentRevision") != status.get("updateRevision"):
        return Health.IN_PROGRESS, f"{status.get('updatedReplicas') or 0} of {_wanted(obj)} updatedReplicas"
    return counted


def _daemonset(obj: KubeObject) -> Verdict | None:
    status = _status(obj)
    if "desiredNumberScheduled" not in status or "observedGeneration" not in status:
        return Health.IN_PROGRESS, "Its controller has not seen it yet"
    wanted = status["desiredNumberScheduled"]
    for word in ("currentNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady"):
        short = _at_least(word, status.get(word) or 0, wanted)
        if short:
            return short
    return None


def _job(obj: KubeObject) -> Verdict | None:
    if _is(obj, "Failed", "True"):
        return Health.FAILED, _says(obj, "Failed")
    if _is(obj, "Complete", "True"):
        return None
    if (obj.get("spec") or {}).get("suspend"):
        return None
    return Health.IN_PROGRESS, f"{_status(obj).get('succeeded') or 0} pods have succeeded"


def _pod(obj: KubeObject) -> Verdict | None:
    phase = _status(obj).get("phase")
    if phase == "Succeeded" or (phase == "Running" and _is(obj, "Ready", "True")):
        return None
    if phase == "Failed":
        return Health.FAILED, _status(obj).get("message") or "Its containers have failed"
    waiting = _waiting_reasons(obj)
    for name, reason in waiting:
        if reason in _WAITS_THAT_DO_NOT_END:
            return Health.FAILED, f"Container {name} is in {reason}"
    image = next((f"Container {name} is in {reason}" for name, reason in waiting if reason in _IMAGE_TROUBLE), "")
    unmet = [_says(obj, kind) for kind in ("PodScheduled", "Ready") if not _is(obj, kind, "True")]
    return Health.IN_PROGRESS, image or next(filter(None, unmet), f"Its phase is {phase or 'unknown'}")


def _waiting_reasons(obj: KubeObject) -> list[tuple[str, str]]:
    status = _status(obj)
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    states = [(one.get("name", ""), (one.get("state") or {}).get("waiting") or {}) for one in containers]
    return [(name, waiting.get("reason", "")) for name, waiting in states if waiting]


def _claim(obj: KubeObject) -> Verdict | None:
    phase = _status(obj).get("phase")
    if phase == "Bound":
        return None
    if phase == "Lost":
        return Health.FAILED, "The volume of the claim is lost"
    return Health.IN_PROGRESS, "It is not bound yet"


def _service(obj: KubeObject) -> Verdict | None:
    spec = obj.get("spec") or {}
    if spec.get("type") != "LoadBalancer" or (_status(obj).get("loadBalancer") or {}).get("ingress"):
        return None
    return Health.IN_PROGRESS, "It has no address yet"


def _namespace(obj: KubeObject) -> Verdict | None:
    phase = _status(obj).get("phase")
    if phase == "Terminating":
        return Health.TERMINATING, "It is being deleted"
    return None if phase == "Active" else (Health.IN_PROGRESS, "It is not active yet")


def _definition(obj: KubeObject) -> Verdict | None:
    if _is(obj, "NamesAccepted", "False"):
        return Health.FAILED, _says(obj, "NamesAccepted")
    if _is(obj, "Established", "True"):
        return None
    return Health.IN_PROGRESS, _says(obj, "Established") or "It is not established yet"


def _disruption_budget(obj: KubeObject) -> Verdict | None:
    """Its controller must have counted; whether disruptions are allowed now is not the budget's own health."""
    status = _status(obj)
    if _condition(obj, "DisruptionAllowed").get("reason") == "SyncFailed":
        return Health.IN_PROGRESS, _says(obj, "DisruptionAllowed")
    return None if "observedGeneration" in status else (Health.IN_PROGRESS, "Its controller has not seen it yet")


_RULES: Mapping[tuple[str, str], Rule] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replicaset,
    ("apps", "StatefulSet"): _statefulset,
    ("apps", "DaemonSet"): _daemonset,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Service"): _service,
    ("", "Namespace"): _namespace,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("policy", "PodDisruptionBudget"): _disruption_budget,
}


def _replicas(obj: KubeObject, words: Sequence[str]) -> Verdict | None:
    """All counts have reached what is wanted, and no pod of before is left over."""
    status = _status(obj)
    if "observedGeneration" not in status:
        return Health.IN_PROGRESS, "Its controller has not seen it yet"
    wanted = _wanted(obj)
    for word in words:
        short = _at_least(word, status.get(word) or 0, wanted)
        if short:
            return short
    left = (status.get("replicas") or 0) - wanted
    return (Health.IN_PROGRESS, f"{left} pods too many are still there") if left > 0 else None


def _at_least(word: str, count: int, wanted: int) -> Verdict | None:
    return (Health.IN_PROGRESS, f"{count} of {wanted} {word}") if count < wanted else None


def _wanted(obj: KubeObject) -> int:
    replicas = (obj.get("spec") or {}).get("replicas")
    return 1 if replicas is None else int(replicas)


def _status(obj: KubeObject) -> Mapping[str, Any]:
    status = obj.get("status")
    return status if isinstance(status, Mapping) else {}


def _condition(obj: KubeObject, kind: str) -> Mapping[str, Any]:
    """The condition of this type, or an empty one. Custom resources put all sorts of things under `conditions`."""
    conditions = _status(obj).get("conditions")
    if not isinstance(conditions, Sequence) or isinstance(conditions, str):
        return {}
    return next((one for one in conditions if isinstance(one, Mapping) and one.get("type") == kind), {})


def _is(obj: KubeObject, kind: str, status: str) -> bool:
    return _condition(obj, kind).get("status") == status


def _says(obj: KubeObject, kind: str) -> str:
    """What a condition says, its reason when it says nothing, or just its state; empty when it is not there."""
    condition = _condition(obj, kind)
    state = f"{kind} is {condition.get('status')}" if condition else ""
    return str(condition.get("message") or condition.get("reason") or state)
