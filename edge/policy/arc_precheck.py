"""Whether a cluster can be connected to Azure Arc, and what it runs on, as far as its own objects tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from edge.model.arc import ClusterPlatform
from edge.model.kube import KubeObject
from edge.model.outcome import Cause

ARCHITECTURES = frozenset({"amd64", "arm64"})
"""The agents' images exist for these."""
OLDEST = (1, 25)
"""The agents are not tested on older versions of Kubernetes."""

MOST_SKEW = timedelta(minutes=5)
"""Tokens and certificates are refused when clocks are further apart; Entra ID allows five minutes, as Kerberos does."""
SLOWEST_S = 5.0
"""Helm and the agents make hundreds of requests; an API server this slow lets their time-outs run out."""

_VERSION = re.compile(r"v?(\d+)\.(\d+)")


def precheck(nodes: Sequence[KubeObject], server_version: str, *, may_bind_roles: bool = True) -> tuple[Cause, ...]:
    """What stands in the way of connecting, all of it at once; empty when nothing does.

    `server_version` is the API server's `gitVersion`; `may_bind_roles` whether we may create ClusterRoleBindings.
    """
    found = [*_version_causes(server_version), *_node_causes(nodes)]
    if not may_bind_roles:
        found.append(
            _cause(
                "arc-no-right-to-bind-roles",
                "The credential may not create ClusterRoleBindings, which the agents need",
                "Give it cluster-admin for the time of the connect",
            )
        )
    return tuple(found)


def _version_causes(server_version: str) -> Iterable[Cause]:
    match = _VERSION.match(server_version)
    if match and (int(match[1]), int(match[2])) >= OLDEST:
        return
    oldest = ".".join(map(str, OLDEST))
    yield _cause(
        "arc-kubernetes-too-old",
        f"The cluster runs Kubernetes '{server_version}', and the agents need {oldest} or newer",
        "Upgrade the cluster first",
    )


def _node_causes(nodes: Sequence[KubeObject]) -> Iterable[Cause]:
    if not nodes:
        yield _cause("arc-no-node", "The cluster has no node", "Add a node and wait until it is Ready")
        return
    linux = [node for node in nodes if _label(node, "kubernetes.io/os") in {"linux", ""}]
    if not linux:
        yield _cause("arc-no-linux-node", "The cluster has no Linux node", "Add one: the agents run on Linux only")
        return
    fitting = [node for node in linux if _label(node, "kubernetes.io/arch") in ARCHITECTURES]
    if not fitting:
        there = ", ".join(sorted({_label(node, "kubernetes.io/arch") or "unknown" for node in linux}))
        yield _cause(
            "arc-unsupported-architecture",
            f"No Linux node has an architecture the agents exist for (there: {there})",
            f"Add a node of {' or '.join(sorted(ARCHITECTURES))}",
        )
    elif not any(_takes_pods(node) for node in fitting):
        yield _cause(
            "arc-no-ready-node",
            "None of the nodes that could run the agents is Ready and schedulable",
            "Look at `kubectl describe nodes`; uncordon one or wait",
        )


def fitting_nodes(nodes: Sequence[KubeObject]) -> tuple[KubeObject, ...]:
    """The nodes that could run the agents: Linux, of an architecture they exist for, Ready and schedulable."""
    return tuple(
        node
        for node in nodes
        if _label(node, "kubernetes.io/os") in {"linux", ""}
        and _label(node, "kubernetes.io/arch") in ARCHITECTURES
        and _takes_pods(node)
    )


def clock_causes(cluster: datetime | None, azure: datetime) -> tuple[Cause, ...]:
    """Whether the cluster's clock is too far from Azure's; nothing is said of a clock that nobody told (None)."""
    skew = (cluster - azure) if cluster is not None else timedelta()
    if abs(skew) <= MOST_SKEW:
        return ()
    side = "ahead of" if skew > timedelta() else "behind"
    return (
        _cause(
            "arc-clock-skew",
            f"The cluster's clock is {abs(skew).total_seconds():.0f} s {side} Azure's (at most {MOST_SKEW.seconds} s)",
            "Set the site's clock, best by NTP: Azure refuses tokens and certificates of another time",
        ),
    )


def latency_causes(answer_s: float, time_out_s: float) -> tuple[Cause, ...]:
    """Whether the API server answers fast enough; `answer_s` is the quickest of a few answers."""
    if answer_s <= SLOWEST_S:
        return ()
    return (
        _cause(
            "arc-api-server-slow",
            f"The API server takes {answer_s:.1f} s for a small answer "
            f"(at most {SLOWEST_S:g} s; the time-out is {time_out_s:g} s)",
            "Look at the link to the site and at the load of its control plane",
        ),
    )


def _takes_pods(node: KubeObject) -> bool:
    if node.get("spec", {}).get("unschedulable"):
        return False
    conditions = node.get("status", {}).get("conditions", ())
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _cause(code: str, message: str, remedy: str) -> Cause:
    return Cause(code=code, message=message, remedy=remedy)


_DISTRIBUTION_LABELS = {
    "node.openshift.io/os_id": "openshift",
    "kubernetes.azure.com/node-image-version": "aks",
    "cloud.google.com/gke-nodepool": "gke",
    "eks.amazonaws.com/nodegroup": "eks",
    "minikube.k8s.io/version": "minikube",
    "microk8s.io/cluster": "microk8s",
}
_DISTRIBUTION_VERSIONS = {"+k3s": "k3s", "+rke2": "rke2", "-gke": "gke", "-eks": "eks"}
_DISTRIBUTION_PROVIDERS = {"kind": "kind", "k3s": "k3s"}
_INFRASTRUCTURE_PROVIDERS = {
    "azure": "azure",
    "aws": "aws",
    "gce": "gcp",
    "vsphere": "vsphere",
    "moc": "azure_stack_hci",
}
_GENERIC = "generic"


def platform_of(nodes: Sequence[KubeObject]) -> ClusterPlatform:
    """A guess at distribution and infrastructure from the nodes' labels, versions and providerIDs."""
    return ClusterPlatform(distribution=_first(map(_distribution, nodes)), infrastructure=_first(map(_infra, nodes)))


def _first(guesses: Iterable[str]) -> str:
    return next((guess for guess in guesses if guess != _GENERIC), _GENERIC)


def _distribution(node: KubeObject) -> str:
    labels = _labels(node)
    for label, name in _DISTRIBUTION_LABELS.items():
        if label in labels:
            return name
    version = node.get("status", {}).get("nodeInfo", {}).get("kubeletVersion", "")
    for mark, name in _DISTRIBUTION_VERSIONS.items():
        if mark in version:
            return name
    return _DISTRIBUTION_PROVIDERS.get(_provider(node), _GENERIC)


def _infra(node: KubeObject) -> str:
    return _INFRASTRUCTURE_PROVIDERS.get(_provider(node), _GENERIC)


def _provider(node: KubeObject) -> str:
    return str(node.get("spec", {}).get("providerID") or "").partition("://")[0]


def _label(node: KubeObject, name: str) -> str:
    return str(_labels(node).get(name, ""))


def _labels(node: KubeObject) -> Mapping[str, Any]:
    labels: Mapping[str, Any] = node["metadata"].get("labels") or {}
    return labels
