"""EndpointSlices: which ready pods stand behind a Service."""

from __future__ import annotations

from typing import Any

from edge.lab.controllers.home import PODS_TYPE, Home
from edge.lab.controllers.pods import is_going, is_ready, owner_reference, phase
from edge.lab.kube.resources import builtin
from edge.lab.kube.selectors import labels_of
from edge.lab.kube.store import Obj

SLICES_TYPE = builtin("endpointslices", "discovery.k8s.io")
_GROUP = "discovery.k8s.io"


def endpoints(home: Home, service: Obj) -> None:
    """Keep one EndpointSlice for a Service with a selector."""
    selector = service["spec"].get("selector")
    if not selector or is_going(service):
        return
    namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
    pods = [pod for pod in home.store.list(PODS_TYPE, namespace) if _selected(pod, selector)]
    body = {
        "addressType": "IPv4",
        "endpoints": [_endpoint(pod) for pod in pods],
        "ports": [_port(port, pods) for port in service["spec"].get("ports") or ()],
    }
    place = f"{name}-{service['metadata']['uid'][:5]}"
    present = home.store.get(SLICES_TYPE, namespace, place)
    if present is not None:
        home.update(SLICES_TYPE, present, {**present, **body})
    else:
        home.create(SLICES_TYPE, {**_head(service, place), **body})


def _head(service: Obj, name: str) -> Obj:
    labels = {
        "kubernetes.io/service-name": service["metadata"]["name"],
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": service["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(service)],
        },
    }


def _selected(pod: Obj, selector: dict[str, str]) -> bool:
    if not (pod.get("status") or {}).get("podIP") or phase(pod) not in ("Pending", "Running"):
        return False
    labels = labels_of(pod)
    return all(labels.get(key) == value for key, value in selector.items())


def _endpoint(pod: Obj) -> dict[str, Any]:
    ready, going = is_ready(pod), is_going(pod)
    meta = pod["metadata"]
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": ready and not going, "serving": ready, "terminating": going},
        "nodeName": pod["spec"].get("nodeName", ""),
        "targetRef": {"kind": "Pod", "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
    }


def _port(port: dict[str, Any], pods: list[Obj]) -> dict[str, Any]:
    target = port.get("targetPort", port["port"])
    if isinstance(target, str):
        named = [one for pod in pods for one in _container_ports(pod) if one.get("name") == target]
        target = named[0]["containerPort"] if named else port["port"]
    return {"name": port.get("name", ""), "port": target, "protocol": port.get("protocol", "TCP")}


def _container_ports(pod: Obj) -> list[dict[str, Any]]:
    return [port for container in pod["spec"]["containers"] for port in container.get("ports") or ()]
