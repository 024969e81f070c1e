"""Whether a cluster finds its way out to Azure: the Job that looks, and what its words mean.

The platform may reach Azure where the cluster cannot, so the look is taken from a pod. It opens a TCP connection to
every endpoint, asks the cluster's DNS about those that did not open, and writes a line each to its termination message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from edge.model.arc import EgressCheck, Endpoint
from edge.model.base import Value
from edge.model.kube import KubeObject
from edge.model.outcome import Cause

DIAGNOSTICS_IMAGE = "docker.io/library/busybox:1.37"
"""By its version's tag. A site that may pull from its own registry only needs another name here."""
NAMESPACE = "edge-precheck"
JOB = "egress"
ENDPOINTS = "EDGE_ENDPOINTS"
LONGEST_S = 60
"""After so many seconds the cluster ends the Job, whether anybody still looks at it or not."""
MANAGED_BY = {"app.kubernetes.io/managed-by": "edge-platform"}

_SCRIPT = """
connects() { nc -z -w 5 "$1" "$2" >/dev/null 2>&1 || nc -w 5 "$1" "$2" -e true </dev/null >/dev/null 2>&1; }
look() {
  if connects "$1" "$2"; then echo "$1:$2 open"; return; fi
  case "$1" in
    *[!0-9.]*) timeout 10 nslookup "$1" >/dev/null 2>&1 || { echo "$1:$2 no-dns"; return; } ;;
  esac
  echo "$1:$2 blocked"
}
for one in $EDGE_ENDPOINTS; do look "${one%:*}" "${one##*:}" >> /dev/termination-log & done
wait
"""
"""BusyBox is built with either of two programs `nc`; the smaller one knows no `-z`, so it is tried with both ways."""
_NEVER = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerError"})


class Way(StrEnum):
    """What a pod found about one endpoint; the words of its lines."""

    OPEN = "open"
    NO_DNS = "no-dns"
    BLOCKED = "blocked"


class Looked(Value):
    """What came of the look. `warning` is a cause that need not stop the connect."""

    causes: tuple[Cause, ...] = ()
    warning: Cause | None = None


def diagnostics_objects(endpoints: Sequence[Endpoint], image: str) -> tuple[KubeObject, ...]:
    """The namespace and the Job, in the order in which they are applied. The pod is as restricted as a pod can be."""
    spec = {
        "backoffLimit": 0,
        "activeDeadlineSeconds": LONGEST_S,
        "template": {"metadata": {"labels": dict(MANAGED_BY)}, "spec": _pod(endpoints, image)},
    }
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": MANAGED_BY | levels}},
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": JOB, "namespace": NAMESPACE, "labels": dict(MANAGED_BY)},
            "spec": spec,
        },
    )


def _pod(endpoints: Sequence[Endpoint], image: str) -> dict[str, Any]:
    container = {
        "name": JOB,
        "image": image,
        "command": ["sh", "-c", _SCRIPT],
        "env": [{"name": ENDPOINTS, "value": " ".join(map(str, endpoints))}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "runAsGroup": 65534,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }


def message_of(pods: Iterable[KubeObject]) -> str | None:
    """The termination message of the Job's pod, once it has ended; None before that."""
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            ended = (container.get("state") or {}).get("terminated")
            if ended is not None:
                return str(ended.get("message") or "")
    return None


def never_starts(pods: Iterable[KubeObject]) -> str:
    """Why the Job's pod will not start however long one waits, in Kubernetes' words; "" when it still may."""
    for pod in pods:
        status = pod.get("status") or {}
        for container in status.get("containerStatuses") or ():
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in _NEVER:
                return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
        for condition in status.get("conditions") or ():
            if condition.get("reason") == "Unschedulable":
                return f"Unschedulable: {condition.get('message', '')}".rstrip(": ")
    return ""


def read_looks(message: str, endpoints: Sequence[Endpoint], check: EgressCheck = EgressCheck.ON) -> Looked:
    """What the pod's lines (`host:port word`) say. An endpoint without a line that can be read was not looked at."""
    ways = _ways(message)
    shut = {way: [one for one in endpoints if ways.get(str(one)) is way] for way in (Way.NO_DNS, Way.BLOCKED)}
    causes = []
    if shut[Way.NO_DNS]:
        causes.append(_no_dns(shut[Way.NO_DNS]))
    if shut[Way.BLOCKED]:
        causes.append(_blocked(shut[Way.BLOCKED]))
    unseen = [str(one) for one in endpoints if str(one) not in ways]
    if not unseen:
        return Looked(causes=tuple(causes))
    left = did_not_run(f"it said nothing about {', '.join(unseen)}", check)
    return Looked(causes=(*causes, *left.causes), warning=left.warning)


def did_not_run(why: str, check: EgressCheck) -> Looked:
    """What it means that the look was not taken, or not to its end."""
    cause = Cause(
        code="arc-diagnostics-did-not-run",
        message=f"The cluster's way out to Azure could not be looked at: {why}",
        remedy="Name an image that the site can pull (EDGE_ARC_DIAGNOSTICS_IMAGE), or switch the look off",
    )
    return Looked(causes=(cause,)) if check == EgressCheck.STRICT else Looked(warning=cause)


def _ways(message: str) -> Mapping[str, Way]:
    found: dict[str, Way] = {}
    for line in message.splitlines():
        words = line.split()
        if len(words) == 2 and words[1] in set(Way):
            found[words[0]] = Way(words[1])
    return found


def _no_dns(endpoints: Sequence[Endpoint]) -> Cause:
    hosts = ", ".join(dict.fromkeys(one.host for one in endpoints))
    return Cause(
        code="arc-no-dns",
        message=f"The cluster's DNS does not resolve {hosts}",
        remedy="Let the cluster's DNS forward to a server that knows public names, and look at CoreDNS' log",
    )


def _blocked(endpoints: Sequence[Endpoint]) -> Cause:
    return Cause(
        code="arc-egress-blocked",
        message=f"Pods on the cluster get no connection to {', '.join(map(str, endpoints))}",
        remedy="Open the site's firewall for these over TCP, or give the agents a proxy",
    )
