"""PodDisruptionBudgets: whether one more pod may go."""

from __future__ import annotations

from typing import Any

from edge.lab.kube.resources import builtin
from edge.lab.kube.selectors import labels_of, matches
from edge.lab.kube.store import Obj, SiteStore


def refusal(store: SiteStore, pod: Obj) -> str:
    """Why a budget forbids to evict this pod; "" when none does. Pods that do not run are always free to go."""
    if not _counts(pod):
        return ""
    for budget in _budgets(store, pod):
        healthy, needed = _figures(store, budget)
        if healthy - 1 < needed:
            name = budget["metadata"]["name"]
            return f"The disruption budget {name} needs {needed} healthy pods and has {healthy} currently"
    return ""


def charge(store: SiteStore, pod: Obj) -> None:
    """Count an eviction in the status of the budgets that cover the pod."""
    for budget in _budgets(store, pod) if _counts(pod) else ():
        status = status_of(store, budget)
        status["disruptionsAllowed"] = max(0, status["disruptionsAllowed"] - 1)
        store.replace(builtin("poddisruptionbudgets", "policy"), {**budget, "status": status})


def status_of(store: SiteStore, budget: Obj) -> dict[str, Any]:
    """The status a budget has with the pods there are now."""
    healthy, needed = _figures(store, budget)
    return {
        **(budget.get("status") or {}),
        "currentHealthy": healthy,
        "desiredHealthy": needed,
        "disruptionsAllowed": max(0, healthy - needed),
        "expectedPods": _expected(store, _covered(store, budget)),
        "observedGeneration": budget["metadata"].get("generation", 1),
    }


def _counts(pod: Obj) -> bool:
    ready = any(
        one["type"] == "Ready" and one["status"] == "True" for one in (pod.get("status") or {}).get("conditions") or ()
    )
    return ready and not pod["metadata"].get("deletionTimestamp")


def _budgets(store: SiteStore, pod: Obj) -> list[Obj]:
    namespace = pod["metadata"]["namespace"]
    return [
        one
        for one in store.list(builtin("poddisruptionbudgets", "policy"), namespace)
        if matches(one["spec"].get("selector"), labels_of(pod))
    ]


def _covered(store: SiteStore, budget: Obj) -> list[Obj]:
    selector = budget["spec"].get("selector")
    pods = store.list(builtin("pods"), budget["metadata"]["namespace"])
    return [one for one in pods if matches(selector, labels_of(one))]


def _expected(store: SiteStore, covered: list[Obj]) -> int:
    """How many pods there should be: what their controllers ask for, and each pod that has none."""
    wanted: dict[str, int] = {}
    for pod in covered:
        owner = next((one for one in pod["metadata"].get("ownerReferences") or () if one.get("controller")), None)
        found = store.by_uid(owner["uid"]) if owner else None
        if found is None:
            wanted[pod["metadata"]["uid"]] = 1
        else:
            wanted[found[1]["metadata"]["uid"]] = (found[1].get("spec") or {}).get("replicas", 1)
    return sum(wanted.values())


def _figures(store: SiteStore, budget: Obj) -> tuple[int, int]:
    """(healthy pods now, healthy pods there must be)."""
    covered = _covered(store, budget)
    spec, expected = budget["spec"], _expected(store, covered)
    healthy = sum(_counts(pod) for pod in covered)
    if spec.get("maxUnavailable") is not None:
        return healthy, max(0, expected - _amount(spec["maxUnavailable"], expected))
    return healthy, _amount(spec.get("minAvailable", 0), expected)


def _amount(value: int | str, of: int) -> int:
    """A count, or a share such as `50%` rounded up."""
    if isinstance(value, str) and value.endswith("%"):
        return -(-int(value[:-1]) * of // 100)
    return int(value)
