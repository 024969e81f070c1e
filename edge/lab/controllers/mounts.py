"""ConfigMaps and Secrets that a pod cannot start without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edge.lab.controllers.home import PODS_TYPE, Home
from edge.lab.kube.resources import builtin
from edge.lab.kube.store import Obj

REASON = "CreateContainerConfigError"
_TYPES = {"configmap": builtin("configmaps"), "secret": builtin("secrets")}
Wanted = Iterator[tuple[str, str]]
"""(type, name)"""


def mounts(home: Home, pod: Obj) -> None:
    """Hold a pod back, in the kubelet's words, while something it refers to is missing; then let it go."""
    namespace, status = pod["metadata"]["namespace"], pod.get("status") or {}
    missing = [
        f'{kind} "{name}" not found'
        for kind, name in _wanted(pod["spec"])
        if home.store.get(_TYPES[kind], namespace, name) is None
    ]
    held = {key: value for key, value in status.items() if key != "containerStatuses"}
    if missing:
        waiting = {"waiting": {"reason": REASON, "message": missing[0]}}
        held["containerStatuses"] = [_container(one, waiting) for one in pod["spec"]["containers"]]
    home.update(PODS_TYPE, pod, {**pod, "status": held})


def _container(container: Mapping[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    names = {"name": container["name"], "image": container["image"], "imageID": ""}
    return {**names, "ready": False, "started": False, "restartCount": 0, "state": state}


def _wanted(spec: Mapping[str, Any]) -> Wanted:
    for container in [*(spec.get("initContainers") or ()), *spec["containers"]]:
        for source in container.get("envFrom") or ():
            yield from _named(source.get("configMapRef"), source.get("secretRef"))
        for entry in container.get("env") or ():
            source = entry.get("valueFrom") or {}
            yield from _named(source.get("configMapKeyRef"), source.get("secretKeyRef"))
    for volume in spec.get("volumes") or ():
        secret = volume.get("secret")
        by_name = {"name": secret["secretName"], "optional": secret.get("optional")} if secret else None
        yield from _named(volume.get("configMap"), by_name)
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield from _named(source.get("configMap"), source.get("secret"))


def _named(config: Mapping[str, Any] | None, secret: Mapping[str, Any] | None) -> Wanted:
    for kind, ref in (("configmap", config), ("secret", secret)):
        if ref and not ref.get("optional"):
            yield kind, ref["name"]
