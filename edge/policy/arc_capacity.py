"""Whether a cluster has room for the Arc agents: what its nodes have left by the requests of the pods on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from edge.model.kube import KubeObject
from edge.model.outcome import Cause
from edge.policy import quantity

CPU = Decimal("0.07")
MEMORY = Decimal(850_000_000)
"""What all agents together need: about 7 % of one CPU and 850 MB of free memory, as Microsoft's page "Azure Arc-enabled
Kubernetes system requirements" has it. They are about a dozen small pods, which may lie on different nodes, so the room
of all nodes that fit counts together."""

_ENDED = frozenset({"Succeeded", "Failed"})


def capacity_causes(fitting: Sequence[KubeObject], pods: Iterable[KubeObject]) -> tuple[Cause, ...]:
    """What is lacking on the nodes that could run the agents (`fitting`; none: nothing is said, others say it).

    Room is what a node can give to pods (`allocatable`) without what the pods bound to it, but for those that ended,
    request. A node that does not say what it has counts for nothing.
    """
    if not fitting:
        return ()
    free = {node["metadata"]["name"]: _allocatable(node) for node in fitting}
    for pod in pods:
        room = free.get((pod.get("spec") or {}).get("nodeName"))
        if room is not None and (pod.get("status") or {}).get("phase") not in _ENDED:
            for name, amount in requested(pod["spec"]).items():
                room[name] -= amount
    cpu = sum((max(Decimal(0), room["cpu"]) for room in free.values()), Decimal(0))
    memory = sum((max(Decimal(0), room["memory"]) for room in free.values()), Decimal(0))
    return tuple(_lacking(cpu, memory))


def requested(spec: Mapping[str, Any]) -> dict[str, Decimal]:
    """Cores and bytes that a pod requests: its containers', or its largest init container's when that is more."""
    return {name: max(_sum(spec, name), _largest_init(spec, name)) for name in ("cpu", "memory")}


def _sum(spec: Mapping[str, Any], name: str) -> Decimal:
    return sum((_request(one, name) for one in spec.get("containers") or ()), Decimal(0))


def _largest_init(spec: Mapping[str, Any], name: str) -> Decimal:
    return max((_request(one, name) for one in spec.get("initContainers") or ()), default=Decimal(0))


def _request(container: Mapping[str, Any], name: str) -> Decimal:
    resources = container.get("resources") or {}
    amount = (resources.get("requests") or {}).get(name) or (resources.get("limits") or {}).get(name)
    return quantity.parse(amount) if amount else Decimal(0)


def _allocatable(node: KubeObject) -> dict[str, Decimal]:
    given = (node.get("status") or {}).get("allocatable") or {}
    return {name: quantity.parse(given.get(name, 0)) for name in ("cpu", "memory")}


def _lacking(cpu: Decimal, memory: Decimal) -> Iterable[Cause]:
    if cpu < CPU:
        yield _cause("cpu", f"{cpu:.3f} cores are free, and the agents need {CPU}")
    if memory < MEMORY:
        yield _cause("memory", f"{memory / 10**6:.0f} MB are free, and the agents need {MEMORY / 10**6:.0f} MB")


def _cause(what: str, message: str) -> Cause:
    return Cause(
        code=f"arc-no-{what}-left",
        message=f"On the nodes that can run the agents {message}",
        remedy="Lower the requests of what runs there, move it away, or add a node",
    )
