"""Jobs: pods until enough have succeeded, or too many have failed, or time is up."""

from __future__ import annotations

from typing import Any

from edge.lab.controllers.home import PODS_TYPE, Home
from edge.lab.controllers.pods import age_s, is_going, is_ready, owned, phase, try_create_pod
from edge.lab.kube.resources import builtin
from edge.lab.kube.store import Obj

JOBS_TYPE = builtin("jobs", "batch")
_RETRY_S = 5.0
Verdict = tuple[str, str, str]
"""Condition type, reason, message."""


def job(home: Home, obj: Obj) -> float | None:
    """Move a Job one step on. Returns when to look again: for deadlines, and for its end of life."""
    if is_going(obj):
        return None
    ended = _ended(obj)
    if ended is not None:
        return _clean_up(home, obj, ended)
    pods = owned(home, PODS_TYPE, obj)
    verdict = _verdict(home, obj, pods)
    active = [pod for pod in pods if not is_going(pod) and phase(pod) in ("Pending", "Running")]
    if verdict or obj["spec"].get("suspend"):
        for pod in active:
            home.delete_pod(pod)
        refusal = ""
    else:
        refusal = _fill(home, obj, pods, active)
    _count(home, obj, verdict)
    return _RETRY_S if refusal else _deadline_in_s(home, obj)


def _verdict(home: Home, obj: Obj, pods: list[Obj]) -> Verdict | None:
    spec = obj["spec"]
    deadline = spec.get("activeDeadlineSeconds")
    started = (obj.get("status") or {}).get("startTime")
    if deadline is not None and started and age_s(home, started) >= deadline:
        return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
    if _failures(pods) > spec.get("backoffLimit", 6):
        return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    succeeded = sum(phase(pod) == "Succeeded" for pod in pods)
    wanted = spec.get("completions")
    busy = any(phase(pod) in ("Pending", "Running") for pod in pods)
    if (wanted is not None and succeeded >= wanted) or (wanted is None and succeeded and not busy):
        return "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
    return None


def _failures(pods: list[Obj]) -> int:
    failed = sum(phase(pod) == "Failed" for pod in pods)
    statuses = [one for pod in pods for one in (pod.get("status") or {}).get("containerStatuses") or ()]
    return failed + sum(int(one.get("restartCount", 0)) for one in statuses)


def _fill(home: Home, obj: Obj, pods: list[Obj], active: list[Obj]) -> str:
    spec = obj["spec"]
    succeeded = sum(phase(pod) == "Succeeded" for pod in pods)
    parallel = spec.get("parallelism", 1)
    if spec.get("completions") is None:
        missing = 0 if succeeded else parallel - len(active)
    else:
        missing = min(parallel, spec["completions"] - succeeded) - len(active)
    for _ in range(missing):
        refusal = try_create_pod(home, obj, spec["template"], _more(obj, pods))
        if refusal:
            return refusal
        pods = owned(home, PODS_TYPE, obj)
    return ""


def _more(obj: Obj, pods: list[Obj]) -> dict[str, Any]:
    name, uid = obj["metadata"]["name"], obj["metadata"]["uid"]
    labels = {
        "batch.kubernetes.io/job-name": name,
        "batch.kubernetes.io/controller-uid": uid,
        "job-name": name,
        "controller-uid": uid,
    }
    if obj["spec"].get("completionMode") != "Indexed":
        return {"generateName": f"{name}-", "labels": labels}
    taken = {_index(pod) for pod in pods if phase(pod) != "Failed" and not is_going(pod)}
    index = next(number for number in range(len(taken) + 1) if str(number) not in taken)
    labels["batch.kubernetes.io/job-completion-index"] = str(index)
    return {"generateName": f"{name}-{index}-", "labels": labels}


def _index(pod: Obj) -> str:
    return str(pod["metadata"]["labels"].get("batch.kubernetes.io/job-completion-index"))


def _count(home: Home, obj: Obj, verdict: Verdict | None) -> None:
    current = home.current(JOBS_TYPE, obj)
    if current is None:
        return
    pods = owned(home, PODS_TYPE, current)
    active = [pod for pod in pods if not is_going(pod) and phase(pod) in ("Pending", "Running")]
    before = current.get("status") or {}
    now = home.now_text()
    suspended = bool(current["spec"].get("suspend"))
    status: dict[str, Any] = {
        "active": len(active) or None,
        "ready": sum(map(is_ready, active)),
        "terminating": sum(map(is_going, pods)),
        "succeeded": sum(phase(pod) == "Succeeded" for pod in pods) or None,
        "failed": sum(phase(pod) == "Failed" for pod in pods) or None,
        "startTime": before.get("startTime") or (None if suspended else now),
        "uncountedTerminatedPods": {},
    }
    if verdict:
        status["conditions"] = _conditions(verdict, now)
        status["completionTime"] = now if verdict[0] == "Complete" else None
    elif suspended:
        status["conditions"] = [{"type": "Suspended", "status": "True", "reason": "JobSuspended"}]
    home.set_status(JOBS_TYPE, current, status)


def _conditions(verdict: Verdict, now: str) -> list[dict[str, str]]:
    kind, reason, message = verdict
    early = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
    return [
        {"type": word, "status": "True", "reason": reason, "message": message, "lastProbeTime": now}
        for word in (early, kind)
    ]


def _ended(obj: Obj) -> str | None:
    """When the job completed or failed; None while it has not."""
    for one in (obj.get("status") or {}).get("conditions") or ():
        if one["type"] in ("Complete", "Failed") and one["status"] == "True":
            return str(one["lastTransitionTime"])
    return None


def _clean_up(home: Home, obj: Obj, ended: str) -> float | None:
    life = obj["spec"].get("ttlSecondsAfterFinished")
    if life is None:
        return None
    left = float(life) - age_s(home, ended)
    if left > 0:
        return left
    home.store.remove(JOBS_TYPE, obj["metadata"]["namespace"], obj["metadata"]["name"])
    return None


def _deadline_in_s(home: Home, obj: Obj) -> float | None:
    deadline = obj["spec"].get("activeDeadlineSeconds")
    if deadline is None:
        return None
    started = (obj.get("status") or {}).get("startTime")
    return max(0.1, deadline - age_s(home, started)) if started else float(deadline)
