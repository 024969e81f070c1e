"""Is there room on a site's nodes for what a stamp wants to run?

An estimate: pods are put on nodes first-fit by their requests, the largest first. The scheduler knows more (taints,
affinity, volumes), so what fits here may still wait there; what does not fit here will not run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from edge.model.kube import KubeObject
from edge.policy import quantity
from edge.policy.pod_shapes import shape_of

Amounts = tuple[Decimal, Decimal, Decimal]
"""CPU in cores, memory in bytes, number of pods."""

_ENDED = ("Succeeded", "Failed")
_MANY = Decimal(10**18)
"""More than any node has, for a node that does not say."""
_MOST_COPIES = 10_000


class _Wanted(NamedTuple):
    name: str
    spec: Mapping[str, Any]
    asked: Amounts
    copies: int
    """0: one on each node."""


class _Node:
    """A node's labels and what is left of it."""

    def __init__(self, node: Mapping[str, Any]) -> None:
        self.labels: Mapping[str, str] = node["metadata"].get("labels") or {}
        has = (node.get("status") or {}).get("allocatable") or {}
        self.left: Amounts = (_read(has.get("cpu")), _read(has.get("memory")), _read(has.get("pods")))

    def suits(self, spec: Mapping[str, Any]) -> bool:
        """Whether the pods' node selector lets them run here."""
        wanted = spec.get("nodeSelector") or {}
        return all(self.labels.get(word) == value for word, value in wanted.items())

    def take(self, asked: Amounts, *, anyway: bool = False) -> bool:
        """Put a pod here; False when there is no room for it."""
        left = tuple(has - wants for has, wants in zip(self.left, asked, strict=True))
        if not anyway and min(left) < 0:
            return False
        self.left = (left[0], left[1], left[2])
        return True


def lacking(
    objects: Sequence[KubeObject], nodes: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """A sentence for each workload that has no room beside `others`, the pods that stay; none without nodes."""
    if not nodes:
        return
    free = {node["metadata"]["name"]: _Node(node) for node in nodes if _takes_pods(node)}
    for pod in others:
        spec = pod.get("spec") or {}
        node = free.get(str(spec.get("nodeName")))
        if node is not None and (pod.get("status") or {}).get("phase") not in _ENDED:
            node.take(requests_of(spec), anyway=True)
    # What runs on each node goes first, since it has no choice; then the largest.
    wanted = sorted(_wanted(objects), key=lambda one: (one.copies == 0, one.asked), reverse=True)
    for one in wanted:
        placed, due = _place(one, list(free.values()))
        if placed < due:
            yield f"{one.name}: {due - placed} of {due} pods have no room ({_told(one.asked)} each)"


def _place(one: _Wanted, nodes: Sequence[_Node]) -> tuple[int, int]:
    """How many of its pods found room, and how many there are."""
    suiting = [node for node in nodes if node.suits(one.spec)]
    if not one.copies:
        return sum(node.take(one.asked) for node in suiting), len(suiting)
    placed = 0
    for _ in range(one.copies):
        if not any(node.take(one.asked) for node in suiting):
            break
        placed += 1
    return placed, one.copies


def _wanted(objects: Sequence[KubeObject]) -> Iterator[_Wanted]:
    for obj in objects:
        found = _pods_of(obj)
        if found is not None:
            spec, copies = found
            yield _Wanted(f"{obj['kind']} {obj['metadata']['name']}", spec, requests_of(spec), copies)


def _pods_of(obj: KubeObject) -> tuple[Mapping[str, Any], int] | None:
    """The pods' spec and their number; a CronJob's run now and then and are not counted."""
    shape, spec = shape_of(obj), obj.get("spec")
    if shape is None or shape.name == "cronjobs" or not isinstance(spec, Mapping):
        return None
    if shape.name == "pods":
        return spec, 1
    template = spec.get("template")
    pod = template.get("spec") if isinstance(template, Mapping) else None
    if not isinstance(pod, Mapping):
        return None
    said = spec.get("parallelism" if obj["kind"] == "Job" else "replicas", 1)
    copies = 0 if obj["kind"] == "DaemonSet" else said
    if not isinstance(copies, int) or (copies == 0 and obj["kind"] != "DaemonSet"):
        return None
    return pod, min(copies, _MOST_COPIES)


def requests_of(spec: Mapping[str, Any]) -> Amounts:
    """What the scheduler reserves for a pod: its containers together, or the largest init container if that is more."""
    running = [_requests(one) for one in spec.get("containers") or ()]
    first = [_requests(one) for one in spec.get("initContainers") or ()]
    cpu, memory = (
        max(sum((one[place] for one in running), Decimal(0)), *(one[place] for one in first), Decimal(0))
        for place in (0, 1)
    )
    return cpu, memory, Decimal(1)


def _requests(container: Mapping[str, Any]) -> tuple[Decimal, Decimal]:
    said = container.get("resources") or {}
    # Where nothing is requested, Kubernetes takes the limit.
    asked = {**(said.get("limits") or {}), **(said.get("requests") or {})}
    return _read(asked.get("cpu"), Decimal(0)), _read(asked.get("memory"), Decimal(0))


def _read(said: object, otherwise: Decimal = _MANY) -> Decimal:
    """A quantity; what is none is for the site's own schema to refuse."""
    try:
        return quantity.parse(str(said))
    except ValueError:
        return otherwise


def _takes_pods(node: Mapping[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    is_ready = all(one.get("status") == "True" for one in conditions if one.get("type") == "Ready")
    return is_ready and not (node.get("spec") or {}).get("unschedulable")


def _told(asked: Amounts) -> str:
    return f"{quantity.text(asked[0])} CPU, {quantity.text(asked[1], 'Mi')} memory"
