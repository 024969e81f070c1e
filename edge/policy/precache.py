"""Images ahead of time: which ones a site will need, and the DaemonSet that makes every node pull them.

An image may hold nothing that can be run by name, not even a shell. So the first container copies a static program to
a volume, and each image then runs that one, which does nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from edge.model.kube import KubeObject
from edge.policy.fencing import NAMESPACE
from edge.policy.pod_shapes import shape_of

RUNNER_IMAGE: Final = "docker.io/library/busybox:1.37-musl"
"""An image with a statically linked busybox at /bin/busybox."""
_LABEL: Final = "edge-platform.io/precache"
_PROGRAM: Final = "/edge-precache/busybox"
_ENDLESS_S: Final = "2147483647"
_LITTLE: Final = {"cpu": "10m", "memory": "16Mi"}
_NOBODY: Final = 65534


def images_of(objects: Iterable[KubeObject]) -> tuple[str, ...]:
    """The images of all pods that these objects make, each once, in their order."""
    found = (str(one.get("image") or "") for spec in _pod_specs(objects) for one in _containers(spec))
    return tuple(dict.fromkeys(image for image in found if image))


def pull_secrets_of(objects: Iterable[KubeObject]) -> tuple[str, ...]:
    """The names of the Secrets that the pods of these objects pull with."""
    found = (str(one.get("name") or "") for spec in _pod_specs(objects) for one in spec.get("imagePullSecrets") or ())
    return tuple(dict.fromkeys(name for name in found if name))


class Pulling(NamedTuple):
    """Where images are pulled from within a site, with which Secrets, and what runs in them."""

    namespace: str = NAMESPACE
    secrets: tuple[str, ...] = ()
    runner: str = RUNNER_IMAGE


def precache_object(images: Sequence[str], pulling: Pulling) -> dict[str, Any]:
    """The DaemonSet; its name comes from the images, so that a second try finds the first one's."""
    name = f"edge-precache-{hashlib.sha256(' '.join(images).encode()).hexdigest()[:10]}"
    labels = {_LABEL: name, "app.kubernetes.io/managed-by": "edge-platform"}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": pulling.namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": {_LABEL: name}},
            "updateStrategy": {"rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {"metadata": {"labels": labels}, "spec": _pod(images, pulling)},
        },
    }


def pods_of(precache: KubeObject) -> str:
    """The label selector of its pods."""
    return f"{_LABEL}={precache['metadata']['name']}"


def not_pulled(pods: Iterable[KubeObject]) -> tuple[str, ...]:
    """`image (reason)` for each image that a node has trouble with, each once."""
    found: dict[str, None] = {}
    for pod in pods:
        status = pod.get("status") or {}
        for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            reason = ((one.get("state") or {}).get("waiting") or {}).get("reason", "")
            if reason and reason != "PodInitializing":
                found[f"{one.get('image', '')} ({reason})"] = None
    return tuple(found)


def _pod(images: Sequence[str], pulling: Pulling) -> dict[str, Any]:
    copy = _container("copy", pulling.runner, ["/bin/busybox", "cp", "/bin/busybox", _PROGRAM])
    pulls = [_container(f"image-{at}", image, [_PROGRAM, "true"]) for at, image in enumerate(images)]
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "imagePullSecrets": [{"name": name} for name in pulling.secrets],
        "initContainers": [copy, *pulls],
        "containers": [_container("rest", pulling.runner, [_PROGRAM, "sleep", _ENDLESS_S])],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [{"name": "program", "emptyDir": {"sizeLimit": "16Mi"}}],
    }


def _container(name: str, image: str, command: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "resources": {"requests": dict(_LITTLE), "limits": dict(_LITTLE)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "program", "mountPath": _PROGRAM.rpartition("/")[0]}],
    }


def _pod_specs(objects: Iterable[KubeObject]) -> Iterator[Mapping[str, Any]]:
    for obj in objects:
        shape = shape_of(obj)
        spec: Any = obj
        for word in shape.pod.split(".")[1:] if shape else ():
            spec = spec.get(word) if isinstance(spec, Mapping) else None
        if shape and isinstance(spec, Mapping):
            yield spec


def _containers(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
