"""Containers that were started again: what a self-test counts, since a crash between two looks leaves nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edge.model.kube import KubeObject

Restarts = Mapping[str, int]
"""How often containers were started again, by `pod uid/container`."""


def pod_selector(obj: KubeObject) -> str:
    """The label selector of a workload's pods, as a query has it; "" for objects that have none."""
    selector = (obj.get("spec") or {}).get("selector")
    if obj["kind"] not in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet") or not isinstance(selector, Mapping):
        return ""
    plain = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    return ",".join([*plain, *(_text(one) for one in selector.get("matchExpressions") or ())])


def _text(one: Mapping[str, object]) -> str:
    key, values = str(one["key"]), one.get("values")
    listed = ",".join(str(value) for value in values) if isinstance(values, list | tuple) else ""
    match one["operator"]:
        case "In":
            return f"{key} in ({listed})"
        case "NotIn":
            return f"{key} notin ({listed})"
        case "Exists":
            return key
    return f"!{key}"


def restarts_of(pods: Iterable[KubeObject]) -> dict[str, int]:
    """The counts of all containers of these pods, those that prepare included."""
    return {
        f"{pod['metadata']['uid']}/{one['name']}": int(one.get("restartCount") or 0)
        for pod in pods
        for word in ("initContainerStatuses", "containerStatuses")
        for one in (pod.get("status") or {}).get(word) or ()
    }


def grown(before: Restarts, pods: Iterable[KubeObject]) -> str:
    """Which container was started again since; "" when none was. One of a pod that is new began with none."""
    for pod in pods:
        for key, count in restarts_of([pod]).items():
            more = count - before.get(key, 0)
            if more > 0:
                name = key.partition("/")[2]
                return f"container {name} of Pod {pod['metadata']['name']} was started again {more} times"
    return ""
