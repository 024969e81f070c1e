"""What every site gets before any stamp: a fenced namespace for its tenant.

The fence is made of quota, limits and rights; the Pod Security labels keep privileged pods out. Stamps bring
namespaces of their own; this one is for what the tenant does by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edge.model.kube import KubeObject, ObjectRef
from edge.model.site import Site

MANAGED_BY = {"app.kubernetes.io/managed-by": "edge-platform"}

_ACCOUNT = "tenant"
_LONGEST_NAME = 63
_POD_SECURITY = "baseline"
_QUOTA = {
    "requests.cpu": "4",
    "requests.memory": "8Gi",
    "limits.cpu": "8",
    "limits.memory": "16Gi",
    "requests.storage": "100Gi",
    "pods": "100",
    "services.loadbalancers": "2",
}
_CONTAINER_DEFAULT = {"cpu": "500m", "memory": "512Mi"}
_CONTAINER_REQUEST = {"cpu": "50m", "memory": "64Mi"}
_CONTAINER_MAX = {"cpu": "4", "memory": "8Gi"}
_ALL_VERBS = ["get", "list", "watch", "create", "update", "patch", "delete"]
_RULES: list[dict[str, list[str]]] = [
    {
        "apiGroups": [""],
        "resources": ["configmaps", "secrets", "services", "persistentvolumeclaims", "pods"],
        "verbs": _ALL_VERBS,
    },
    {"apiGroups": [""], "resources": ["pods/log", "events"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets"], "verbs": _ALL_VERBS},
    {"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": _ALL_VERBS},
]


def baseline_namespace(site: Site) -> str:
    """The tenant's namespace on this site. Too long a name is cut and made unique by its hash: tenants never share."""
    name = f"tenant-{site.tenant}"
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{name[: _LONGEST_NAME - 11].rstrip('-')}-{digest}"


def baseline_objects(site: Site) -> tuple[KubeObject, ...]:
    """The objects in the order in which they must be applied."""
    return (
        _namespace(site),
        _within(site, "v1", "ResourceQuota", "baseline") | {"spec": {"hard": dict(_QUOTA)}},
        _within(site, "v1", "LimitRange", "baseline") | {"spec": {"limits": [_limits()]}},
        _within(site, "v1", "ServiceAccount", _ACCOUNT) | {"automountServiceAccountToken": False},
        _within(site, "rbac.authorization.k8s.io/v1", "Role", _ACCOUNT) | {"rules": [dict(rule) for rule in _RULES]},
        _binding(site),
    )


def baseline_faults(site: Site, found: Mapping[ObjectRef, KubeObject] | Sequence[KubeObject]) -> list[str]:
    """What is missing or different on the site, one sentence each; empty when the baseline stands.

    `found` is what was read back. Fields that the baseline does not set may have any value.
    """
    by_ref = found if isinstance(found, Mapping) else {ObjectRef.of(obj): obj for obj in found}
    faults: list[str] = []
    for wanted in baseline_objects(site):
        ref = ObjectRef.of(wanted)
        if ref not in by_ref:
            faults.append(f"{ref} is missing")
            continue
        faults.extend(f"{ref}: {fault}" for fault in _differences(wanted, by_ref[ref], ""))
    return faults


def _namespace(site: Site) -> dict[str, Any]:
    levels = {f"pod-security.kubernetes.io/{mode}": _POD_SECURITY for mode in ("enforce", "audit", "warn")}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": baseline_namespace(site), "labels": _labels(site) | levels},
    }


def _limits() -> dict[str, Any]:
    return {
        "type": "Container",
        "default": dict(_CONTAINER_DEFAULT),
        "defaultRequest": dict(_CONTAINER_REQUEST),
        "max": dict(_CONTAINER_MAX),
    }


def _binding(site: Site) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    account = {"kind": "ServiceAccount", "name": _ACCOUNT, "namespace": baseline_namespace(site)}
    return _within(site, f"{group}/v1", "RoleBinding", _ACCOUNT) | {
        "roleRef": {"apiGroup": group, "kind": "Role", "name": _ACCOUNT},
        "subjects": [account],
    }


def _within(site: Site, api_version: str, kind: str, name: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": baseline_namespace(site), "labels": _labels(site)}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta}


def _labels(site: Site) -> dict[str, str]:
    return {**MANAGED_BY, "edge-platform.io/tenant": site.tenant, "edge-platform.io/site": site.name}


def _differences(wanted: Any, found: Any, path: str) -> Iterator[str]:
    """Where `found` does not hold what `wanted` says; lists must agree in length and order."""
    if isinstance(wanted, Mapping):
        there = found if isinstance(found, Mapping) else {}
        for field, value in wanted.items():
            yield from _differences(value, there.get(field), f"{path}.{field}" if path else field)
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _differences(one, other, f"{path}[{index}]")
    elif wanted != found:
        yield f"{path} is {found!r}, not {wanted!r}"
