"""The nodes a site is born with, and their leases."""

from __future__ import annotations

from typing import Any

from edge.lab.kube.resources import builtin
from edge.lab.kube.store import SiteStore, stamp
from edge.lab.weather import NodeShape

KUBERNETES_VERSION = "v1.36.1"
LEASE_NAMESPACE = "kube-node-lease"
LEASE_S = 40
_CONDITIONS = {
    "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    "Ready": ("True", "KubeletReady", "kubelet is posting ready status"),
}


def seed_nodes(store: SiteStore, region: str, shape: NodeShape) -> None:
    """Create the site's nodes and their leases; those that are there stay as they are."""
    for index in range(shape.count):
        node = node_object(store, region, shape, index)
        if store.get(builtin("nodes"), "", node["metadata"]["name"]) is None:
            created = store.create(builtin("nodes"), node)
            store.create(builtin("leases", "coordination.k8s.io"), _lease(created, stamp(store.now())))


def node_object(store: SiteStore, region: str, shape: NodeShape, index: int) -> dict[str, Any]:
    """One node, Ready, with the labels that schedulers and installers look at."""
    name = store.name if shape.count == 1 else f"{store.name}-{index + 1}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": _labels(name, region, shape, index)},
        "spec": {"podCIDR": f"10.244.{index}.0/24", "providerID": f"edge-lab://{store.name}/{name}"},
        "status": _status(store, name, shape, index),
    }


def renew_leases(store: SiteStore) -> None:
    """Say that the nodes are alive. Called when somebody looks at the site, so that an idle one costs nothing."""
    leases, moment = builtin("leases", "coordination.k8s.io"), _micro(stamp(store.now()))
    for lease in store.list(leases, LEASE_NAMESPACE):
        if lease["spec"].get("renewTime") != moment:
            store.replace(leases, {**lease, "spec": {**lease["spec"], "renewTime": moment}})


def _labels(name: str, region: str, shape: NodeShape, index: int) -> dict[str, str]:
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": shape.architecture,
        "topology.kubernetes.io/region": region,
        "topology.kubernetes.io/zone": f"{region}-{index % 3 + 1}",
        "node.kubernetes.io/instance-type": "lab",
    }
    return labels if index else {**labels, "node-role.kubernetes.io/control-plane": ""}


def _status(store: SiteStore, name: str, shape: NodeShape, index: int) -> dict[str, Any]:
    moment = stamp(store.now())
    room = {"cpu": shape.cpu, "memory": shape.memory, "pods": shape.pods, "ephemeral-storage": "64Gi"}
    return {
        "capacity": room,
        "allocatable": room,
        "conditions": [
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": moment,
                "lastTransitionTime": moment,
            }
            for kind, (status, reason, message) in _CONDITIONS.items()
        ],
        "addresses": [
            {"type": "InternalIP", "address": f"10.0.0.{index + 10}"},
            {"type": "Hostname", "address": name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
            "kernelVersion": "6.12.0-lab",
            "osImage": "Edge Lab Linux",
            "containerRuntimeVersion": "containerd://2.1.0",
            "kubeletVersion": KUBERNETES_VERSION,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": shape.architecture,
        },
    }


def _lease(node: dict[str, Any], moment: str) -> dict[str, Any]:
    name, uid = node["metadata"]["name"], node["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_S, "renewTime": _micro(moment)},
    }


def _micro(moment: str) -> str:
    return f"{moment[:-1]}.000000Z"
