"""Deployments: a ReplicaSet per pod template, scaled up and down within maxSurge and maxUnavailable."""

from __future__ import annotations

from typing import Any

from edge.lab.controllers.deployment_status import deployment_status, rolling_limits
from edge.lab.controllers.home import PODS_TYPE, REPLICASETS_TYPE, Home
from edge.lab.controllers.pods import HASH_LABEL, is_going, owned, owner_reference, template_hash
from edge.lab.kube.resources import builtin
from edge.lab.kube.store import Obj

DEPLOYMENTS_TYPE = builtin("deployments", "apps")
REVISION = "deployment.kubernetes.io/revision"


def deployment(home: Home, dep: Obj) -> float | None:
    """Move a Deployment one step on. Returns when to look again, for deadlines and minReadySeconds."""
    if is_going(dep):
        return None
    sets = owned(home, REPLICASETS_TYPE, dep)
    wanted_hash = template_hash(dep["spec"]["template"])
    new = next((rs for rs in sets if rs["metadata"]["labels"].get(HASH_LABEL) == wanted_hash), None)
    old = [rs for rs in sets if rs is not new]
    paused = dep["spec"].get("paused", False)
    if new is None and not paused:
        new = _new_set(home, dep, wanted_hash, sets)
    dep = _note_revision(home, dep, new, sets)
    if new is not None:
        _scale_all(home, dep, new, old, paused=paused)
        _forget_history(home, dep, old)
    return deployment_status(home, DEPLOYMENTS_TYPE, dep, new)


def _new_set(home: Home, dep: Obj, template: str, sets: list[Obj]) -> Obj:
    spec, meta = dep["spec"], dep["metadata"]
    pod_template = dict(spec["template"])
    labels = {**(pod_template.get("metadata") or {}).get("labels", {}), HASH_LABEL: template}
    pod_template["metadata"] = {**(pod_template.get("metadata") or {}), "labels": labels}
    selector = {**spec["selector"], "matchLabels": {**spec["selector"].get("matchLabels", {}), HASH_LABEL: template}}
    return home.create(
        REPLICASETS_TYPE,
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{meta['name']}-{template}",
                "namespace": meta["namespace"],
                "labels": labels,
                "annotations": {REVISION: str(_highest(sets) + 1)},
                "ownerReferences": [owner_reference(dep)],
            },
            "spec": {
                "replicas": 0,
                "selector": selector,
                "template": pod_template,
                **({"minReadySeconds": spec["minReadySeconds"]} if spec.get("minReadySeconds") else {}),
            },
            "status": {"replicas": 0},
        },
    )


def _note_revision(home: Home, dep: Obj, new: Obj | None, sets: list[Obj]) -> Obj:
    if new is None:
        return dep
    revision = int(new["metadata"].get("annotations", {}).get(REVISION, "1"))
    others = [rs for rs in sets if rs["metadata"]["uid"] != new["metadata"]["uid"]]
    if others and revision <= _highest(others):  # an earlier template is wanted again
        revision = _highest(others) + 1
        _annotate(home, REPLICASETS_TYPE, new, str(revision))
    return _annotate(home, DEPLOYMENTS_TYPE, dep, str(revision))


def _annotate(home: Home, resource: Any, obj: Obj, revision: str) -> Obj:
    annotations = {**(obj["metadata"].get("annotations") or {}), REVISION: revision}
    return home.update(resource, obj, {**obj, "metadata": {**obj["metadata"], "annotations": annotations}})


def _highest(sets: list[Obj]) -> int:
    return max((int(rs["metadata"].get("annotations", {}).get(REVISION, "0")) for rs in sets), default=0)


def _scale_all(home: Home, dep: Obj, new: Obj, old: list[Obj], *, paused: bool) -> None:
    wanted = dep["spec"].get("replicas", 1)
    if (dep["spec"].get("strategy") or {}).get("type") == "Recreate":
        _recreate(home, new, old, wanted, paused=paused)
    elif paused:
        _scale(home, new, wanted - sum(rs["spec"]["replicas"] for rs in old))
    else:
        _roll(home, dep, new, old)


def _recreate(home: Home, new: Obj, old: list[Obj], wanted: int, *, paused: bool) -> None:
    for rs in () if paused else old:
        _scale(home, rs, 0)
    if not any(owned(home, PODS_TYPE, rs) for rs in old):
        _scale(home, new, wanted)


def _roll(home: Home, dep: Obj, new: Obj, old: list[Obj]) -> None:
    wanted = dep["spec"].get("replicas", 1)
    surge, unavailable = rolling_limits(dep)
    total = new["spec"]["replicas"] + sum(rs["spec"]["replicas"] for rs in old)
    target = new["spec"]["replicas"]
    if target > wanted:
        target = wanted
    elif total < wanted + surge:
        target = min(wanted, target + wanted + surge - total)
    new = _scale(home, new, target)
    _shrink(home, new, old, min_available=wanted - unavailable)


def _shrink(home: Home, new: Obj, old: list[Obj], *, min_available: int) -> None:
    """Take pods from old sets, those that do not work first, while enough stay available."""
    new_missing = new["spec"]["replicas"] - _available(new)
    spare = sum(rs["spec"]["replicas"] for rs in old) + new["spec"]["replicas"] - min_available - new_missing
    for rs in old:
        broken = min(rs["spec"]["replicas"] - _available(rs), spare)
        if broken > 0:
            spare -= broken
            _scale(home, rs, rs["spec"]["replicas"] - broken)
    current = [now for rs in old if (now := home.current(REPLICASETS_TYPE, rs)) is not None]
    spare = min(
        spare, _available(new) + sum(min(_available(rs), rs["spec"]["replicas"]) for rs in current) - min_available
    )
    for rs in current:
        gone = min(rs["spec"]["replicas"], max(0, spare))
        spare -= gone
        _scale(home, rs, rs["spec"]["replicas"] - gone)


def _available(rs: Obj) -> int:
    available: int = (rs.get("status") or {}).get("availableReplicas", 0)
    return available


def _scale(home: Home, rs: Obj, replicas: int) -> Obj:
    return home.update(REPLICASETS_TYPE, rs, {**rs, "spec": {**rs["spec"], "replicas": max(0, replicas)}})


def _forget_history(home: Home, dep: Obj, old: list[Obj]) -> None:
    keep = dep["spec"].get("revisionHistoryLimit", 10)
    idle = [rs for rs in old if not rs["spec"]["replicas"] and not (rs.get("status") or {}).get("replicas")]
    idle.sort(key=lambda rs: int(rs["metadata"].get("annotations", {}).get(REVISION, "0")))
    for rs in idle[: max(0, len(idle) - keep)]:
        home.store.remove(REPLICASETS_TYPE, rs["metadata"]["namespace"], rs["metadata"]["name"])
