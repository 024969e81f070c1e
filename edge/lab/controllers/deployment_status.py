"""What a Deployment says of itself: counts and conditions, as `kubectl rollout status` and kstatus read them."""

from __future__ import annotations

from typing import Any

from edge.lab.controllers.home import REPLICASETS_TYPE, Home
from edge.lab.controllers.pods import age_s, owned, share
from edge.lab.kube.resources import ResourceType
from edge.lab.kube.store import Obj

_NO_DEADLINE = 2**31 - 1


def deployment_status(home: Home, resource: ResourceType, dep: Obj, new: Obj | None) -> float | None:
    """Write the status; returns in how many lab seconds the progress deadline passes (None: it does not run)."""
    current = home.current(resource, dep)
    if current is None:
        return None
    sets = owned(home, REPLICASETS_TYPE, current)
    counts = _counts(sets, new)
    wanted = current["spec"].get("replicas", 1)
    missing = max(wanted, counts["replicas"]) - counts["availableReplicas"]
    progress = _Progress(home, current, counts, new)
    conditions = [_available(home, current, counts["availableReplicas"]), *progress.condition(), *_failures(sets)]
    fields: dict[str, Any] = {key: value or None for key, value in counts.items()}
    home.set_status(
        resource,
        current,
        {
            "observedGeneration": current["metadata"].get("generation", 1),
            **fields,
            "unavailableReplicas": missing if missing > 0 else None,
            "conditions": conditions,
        },
    )
    return progress.deadline_in_s


def rolling_limits(dep: Obj) -> tuple[int, int]:
    """maxSurge and maxUnavailable in pods; never are both 0."""
    strategy = dep["spec"].get("strategy") or {}
    wanted = dep["spec"].get("replicas", 1)
    if strategy.get("type") == "Recreate":
        return 0, wanted
    rolling = strategy.get("rollingUpdate") or {}
    surge = share(rolling.get("maxSurge", "25%"), wanted, up=True)
    unavailable = share(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    return surge, unavailable if surge or unavailable else 1


class _Progress:
    """The Progressing condition: whether the rollout gets on, is done, or has been stuck for too long."""

    def __init__(self, home: Home, dep: Obj, counts: dict[str, int], new: Obj | None) -> None:
        self._home = home
        self._dep = dep
        self._counts = counts
        self._name = new["metadata"]["name"] if new else ""
        self._old = _condition_of(dep, "Progressing")
        self.deadline_in_s: float | None = None

    def condition(self) -> list[dict[str, Any]]:
        """The condition, or none when there is no deadline or no ReplicaSet."""
        deadline = self._dep["spec"].get("progressDeadlineSeconds", 600)
        if deadline >= _NO_DEADLINE or not self._name:
            return [self._old] if self._old else []
        return [self._next(deadline)]

    def _next(self, deadline: int) -> dict[str, Any]:
        old, name = self._old, self._name
        if old is None or f'"{name}"' not in old.get("message", ""):
            self.deadline_in_s = deadline
            return self._say("True", "NewReplicaSetCreated", f'Created new replica set "{name}"', touched=True)
        if self._complete():
            return self._say("True", "NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.')
        if old["reason"] == "NewReplicaSetAvailable":
            return old
        if self._moved():
            self.deadline_in_s = deadline
            return self._say("True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.', touched=True)
        left = deadline - age_s(self._home, old["lastUpdateTime"])
        if left > 0 or self._dep["spec"].get("paused"):
            self.deadline_in_s = max(left, 0.0) + 1.0
            return old
        return self._say("False", "ProgressDeadlineExceeded", f'ReplicaSet "{name}" has timed out progressing.')

    def _complete(self) -> bool:
        wanted = self._dep["spec"].get("replicas", 1)
        return all(self._counts[field] == wanted for field in ("replicas", "updatedReplicas", "availableReplicas"))

    def _moved(self) -> bool:
        before = self._dep.get("status") or {}
        return any(before.get(field, 0) != count for field, count in self._counts.items())

    def _say(self, status: str, reason: str, message: str, *, touched: bool = False) -> dict[str, Any]:
        fresh = {"type": "Progressing", "status": status, "reason": reason, "message": message}
        return _stamped(self._home, self._old, fresh, touched=touched)


def _available(home: Home, dep: Obj, available: int) -> dict[str, Any]:
    enough = available >= dep["spec"].get("replicas", 1) - rolling_limits(dep)[1]
    fresh = {
        "type": "Available",
        "status": "True" if enough else "False",
        "reason": "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        "message": f"Deployment {'has' if enough else 'does not have'} minimum availability.",
    }
    return _stamped(home, _condition_of(dep, "Available"), fresh)


def _stamped(home: Home, old: dict[str, Any] | None, fresh: dict[str, Any], *, touched: bool = False) -> dict[str, Any]:
    """The fresh condition, with the time of its last update; the old one when nothing about it is new."""
    if old is not None and not touched and all(old.get(key) == value for key, value in fresh.items()):
        return old
    return {**fresh, "lastUpdateTime": home.now_text()}


def _condition_of(obj: Obj, kind: str) -> dict[str, Any] | None:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] == kind), None)


def _failures(sets: list[Obj]) -> list[dict[str, Any]]:
    found = [_condition_of(rs, "ReplicaFailure") for rs in sets]
    return [one for one in found if one is not None][:1]


def _counts(sets: list[Obj], new: Obj | None) -> dict[str, int]:
    def total(field: str, some: list[Obj]) -> int:
        return sum((rs.get("status") or {}).get(field, 0) for rs in some)

    uid = new["metadata"]["uid"] if new else ""
    return {
        "replicas": total("replicas", sets),
        "updatedReplicas": total("replicas", [rs for rs in sets if rs["metadata"]["uid"] == uid]),
        "readyReplicas": total("readyReplicas", sets),
        "availableReplicas": total("availableReplicas", sets),
    }
