"""What a fresh site holds before anybody has done anything: namespaces, roles, the `kubernetes` Service.

Nodes and workloads come from the lab's site templates.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from edge.lab.kube.lifecycle import ROOT_CA, furnish
from edge.lab.kube.resources import builtin
from edge.lab.kube.store import Obj, SiteStore

_RBAC = "rbac.authorization.k8s.io"
_NAMESPACES = ("kube-system", "default", "kube-public", "kube-node-lease")


def seed(store: SiteStore, ca_pem: str = "") -> None:
    """Fill an empty store. `ca_pem` is what pods of the site trust (ConfigMap kube-root-ca.crt)."""
    for name in _NAMESPACES:
        store.create(builtin("namespaces"), namespace(name))
        if name == "kube-system":
            meta = {"name": ROOT_CA, "namespace": name}
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"ca.crt": ca_pem}}
            store.create(builtin("configmaps"), body)
        furnish(store, name)
    for obj in _roles():
        plural = "clusterroles" if obj["kind"] == "ClusterRole" else "clusterrolebindings"
        store.create(builtin(plural, _RBAC), obj)
    store.create(builtin("services"), _kubernetes_service())


def namespace(name: str) -> Obj:
    """A namespace as the server stores it."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


@cache
def _roles() -> tuple[Obj, ...]:
    data = yaml.safe_load(files("edge.lab.kube").joinpath("data/roles.yaml").read_text(encoding="utf-8"))
    roles = tuple(_role(data, name) for name in data["roles"])
    return roles + tuple(_binding(name, subjects) for name, subjects in data["bindings"].items())


def _role(data: dict[str, Any], name: str) -> Obj:
    rules = [rule for one in (name, *data["also"].get(name, ())) for rule in data["roles"][one]]
    return {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": _bootstrap(name), "rules": rules}


def _binding(name: str, subjects: list[dict[str, str]]) -> Obj:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _bootstrap(name),
        "subjects": [{"apiGroup": _RBAC, **subject} for subject in subjects],
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
    }


def _bootstrap(name: str) -> dict[str, Any]:
    return {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}


def _kubernetes_service() -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": "10.96.0.1",
            "clusterIPs": ["10.96.0.1"],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    }
