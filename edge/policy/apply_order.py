"""In which order objects are applied: what others need comes first.

A phase is applied as a whole before the next one begins, so that a caller can wait in between, for instance until a
custom resource definition is served. Within a phase the order of the stamp is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from edge.model.kube import KubeObject

Obj = TypeVar("Obj", bound=KubeObject)

PHASES: tuple[tuple[str, ...], ...] = (
    ("Namespace",),
    ("CustomResourceDefinition",),
    ("PriorityClass", "StorageClass", "RuntimeClass", "IngressClass"),
    ("ResourceQuota", "LimitRange", "NetworkPolicy", "PodDisruptionBudget"),
    ("ServiceAccount",),
    ("ClusterRole", "Role"),
    ("ClusterRoleBinding", "RoleBinding"),
    ("ConfigMap", "Secret"),
    ("Service", "Endpoints", "EndpointSlice"),
    ("PersistentVolume", "PersistentVolumeClaim"),
    ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Pod", "Job", "CronJob"),
    ("HorizontalPodAutoscaler", "Ingress", "APIService"),
)
"""Kinds by phase. Every other kind comes after these."""

LAST: tuple[str, ...] = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
"""Webhooks come last: the workloads above serve them, and earlier they would refuse those."""

_RANK = {kind: rank for rank, kinds in enumerate(PHASES) for kind in kinds}
_OTHER = len(PHASES)
_RANK.update(dict.fromkeys(LAST, _OTHER + 1))


def in_order(objects: Sequence[Obj]) -> tuple[Obj, ...]:
    """The objects in the order in which they are applied."""
    return tuple(sorted(objects, key=_rank))


def phases(objects: Sequence[Obj]) -> tuple[tuple[Obj, ...], ...]:
    """The objects in groups that are applied one after the other; no group is empty."""
    ranks = sorted({_rank(obj) for obj in objects})
    return tuple(tuple(obj for obj in objects if _rank(obj) == rank) for rank in ranks)


def _rank(obj: KubeObject) -> int:
    return _RANK.get(obj["kind"], _OTHER)
