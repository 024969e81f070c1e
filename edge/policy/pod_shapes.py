"""Where the kinds that make pods have their pods' spec, for people's rules, for counting and for pulling images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from edge.model.kube import KubeObject


class Shape(NamedTuple):
    """Kinds whose pods' spec is in the same place. `kinds` maps a kind to its group and plural."""

    name: str
    kinds: Mapping[str, tuple[str, str]]
    pod: str


SHAPES = (
    Shape("pods", {"Pod": ("", "pods")}, "object.spec"),
    Shape(
        "workloads",
        {
            "Deployment": ("apps", "deployments"),
            "StatefulSet": ("apps", "statefulsets"),
            "DaemonSet": ("apps", "daemonsets"),
            "ReplicaSet": ("apps", "replicasets"),
            "Job": ("batch", "jobs"),
        },
        "object.spec.template.spec",
    ),
    Shape("cronjobs", {"CronJob": ("batch", "cronjobs")}, "object.spec.jobTemplate.spec.template.spec"),
)

CONTAINERS = (
    "(has(variables.pod.containers) ? variables.pod.containers : []) + "
    "(has(variables.pod.initContainers) ? variables.pod.initContainers : [])"
)
"""CEL for all containers of the pods: those that run for long and those that prepare them."""


def shape_of(obj: KubeObject) -> Shape | None:
    """Where the object's pods' spec is; None when it has no pods."""
    group, kind = group_kind(obj)
    return next((shape for shape in SHAPES if kind in shape.kinds and shape.kinds[kind][0] == group), None)


def group_kind(obj: KubeObject) -> tuple[str, str]:
    """The object's group, without a version, and its kind."""
    return str(obj["apiVersion"]).rpartition("/")[0], str(obj["kind"])
