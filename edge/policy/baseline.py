"""What every site gets before any stamp: a fenced namespace for its tenant, and one for the platform.

The fence is made of Pod Security levels, quota, limits, rights and network policies. Stamps bring namespaces of their
own; the tenant's is for what the tenant does by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from edge.errors import InvalidInput
from edge.model.baseline import Baseline, PodSecurityLevels
from edge.model.kube import KubeObject, ObjectRef
from edge.model.site import Site
from edge.policy import quantity
from edge.policy.yaml_text import parse_yaml

MANAGED_BY = {"app.kubernetes.io/managed-by": "edge-platform"}
SETTINGS = "edge-site-settings"
"""The ConfigMap in the platform's namespace that node agents read."""

ACCOUNT = "tenant"
NAME = "baseline"
_RBAC = "rbac.authorization.k8s.io"
_NETWORK = "networking.k8s.io/v1"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_NAMESPACE_LABEL = "kubernetes.io/metadata.name"
_LONGEST_NAME = 63


def parse_baseline(text: str | bytes, origin: str) -> Baseline:
    """A baseline from a YAML file's text. Raises InvalidInput naming `origin`, the field and the value."""
    try:
        return Baseline.model_validate(parse_yaml(text, origin=origin))
    except ValidationError as error:
        fault: Any = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        raise InvalidInput(fault["msg"], file=origin, field=field, value=str(fault.get("input"))[:200]) from error


def baseline_namespace(site: Site) -> str:
    """The tenant's namespace on this site. Too long a name is cut and made unique by its hash: tenants never share."""
    name = f"tenant-{site.tenant}"
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{name[: _LONGEST_NAME - 11].rstrip('-')}-{digest}"


def tenant_user(site: Site) -> str:
    """The user name of the tenant's service account."""
    return f"system:serviceaccount:{baseline_namespace(site)}:{ACCOUNT}"


def baseline_objects(site: Site, baseline: Baseline) -> tuple[KubeObject, ...]:
    """The objects in the order in which they must be applied; the storage class is `storage_class`'s.

    The agents' network policy is among them when the site has agents.
    """
    tenant, platform = baseline.tenant_namespace, baseline.platform_namespace
    objects: tuple[KubeObject, ...] = (
        _namespace(site, platform.name, platform.pod_security),
        _settings(site, baseline),
        _namespace(site, baseline_namespace(site), tenant.pod_security),
        _within(site, "v1", "ResourceQuota", NAME) | {"spec": {"hard": dict(tenant.quota)}},
        _within(site, "v1", "LimitRange", NAME) | {"spec": {"limits": [_limits(baseline)]}},
        _within(site, "v1", "ServiceAccount", ACCOUNT) | {"automountServiceAccountToken": False},
        _within(site, f"{_RBAC}/v1", "Role", ACCOUNT) | {"rules": _rights(baseline)},
        _binding(site),
        *_fence(site, tenant.dns_namespace),
    )
    return (*objects, _agents(site, baseline)) if site.arc_id else objects


def storage_class(site: Site, baseline: Baseline, present: Sequence[KubeObject]) -> KubeObject | None:
    """The storage class to apply; None when another is the default already, or the baseline names none.

    `present` are the storage classes of the cluster.
    """
    wanted = baseline.storage_class
    default = default_class(present)
    if wanted is None or default not in (None, wanted.name):
        return None
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": wanted.name, "labels": _labels(site), "annotations": {_DEFAULT_CLASS: "true"}},
        "provisioner": wanted.provisioner,
        **({"parameters": dict(wanted.parameters)} if wanted.parameters else {}),
        "reclaimPolicy": wanted.reclaim_policy,
        "volumeBindingMode": wanted.volume_binding_mode,
    }


def default_class(present: Sequence[KubeObject]) -> str | None:
    """The name of the default storage class: of several the newest, as the API server takes it."""
    marked = [one["metadata"] for one in present if _is_default(one["metadata"])]
    newest = sorted(marked, key=lambda meta: (str(meta.get("creationTimestamp", "")), str(meta["name"])))
    return str(newest[-1]["name"]) if newest else None


def _is_default(meta: Mapping[str, Any]) -> bool:
    return (meta.get("annotations") or {}).get(_DEFAULT_CLASS) == "true"


def baseline_faults(wanted: Sequence[KubeObject], found: Sequence[KubeObject]) -> list[str]:
    """What is missing or different on the site, one sentence each; empty when the baseline stands.

    `found` is what was read back. Fields that the baseline does not set may have any value.
    """
    by_ref = {ObjectRef.of(obj): obj for obj in found}
    faults: list[str] = []
    for obj in wanted:
        ref = ObjectRef.of(obj)
        if ref not in by_ref:
            faults.append(f"{ref} is missing")
            continue
        faults.extend(f"{ref}: {fault}" for fault in _differences(obj, by_ref[ref], ""))
    return faults


def _namespace(site: Site, name: str, levels: PodSecurityLevels) -> dict[str, Any]:
    labels = {f"pod-security.kubernetes.io/{mode}": level.value for mode, level in levels}
    shared = dict(MANAGED_BY) if name != baseline_namespace(site) else _labels(site)
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": shared | labels}}


def _settings(site: Site, baseline: Baseline) -> dict[str, Any]:
    given = baseline.settings
    data = {
        "time.servers": "\n".join(given.time_servers),
        "time.zone": site.time_zone,
        "log.level": given.log_level.value,
        "log.retention-days": str(given.log_retention_days),
    }
    meta = {"name": SETTINGS, "namespace": baseline.platform_namespace.name, "labels": _labels(site)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def _limits(baseline: Baseline) -> dict[str, Any]:
    limits = baseline.tenant_namespace.limits
    return {
        "type": "Container",
        "default": dict(limits.default),
        "defaultRequest": dict(limits.default_request),
        "max": dict(limits.max),
    }


def _rights(baseline: Baseline) -> list[dict[str, list[str]]]:
    return [
        {"apiGroups": [*right.api_groups], "resources": [*right.resources], "verbs": [*right.verbs]}
        for right in baseline.tenant_namespace.rights
    ]


def _binding(site: Site) -> dict[str, Any]:
    account = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": baseline_namespace(site)}
    return _within(site, f"{_RBAC}/v1", "RoleBinding", ACCOUNT) | {
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": ACCOUNT},
        "subjects": [account],
    }


def _fence(site: Site, dns_namespace: str) -> tuple[dict[str, Any], ...]:
    """Nothing in and nothing out; but to DNS, and among the tenant's own pods."""
    deny = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    own: list[dict[str, Any]] = [{"podSelector": {}}]
    allow = {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": own}],
        "egress": [{"to": own}, _dns(dns_namespace)],
    }
    return (
        _within(site, _NETWORK, "NetworkPolicy", "default-deny") | {"spec": deny},
        _within(site, _NETWORK, "NetworkPolicy", "allow-dns-and-own") | {"spec": allow},
    )


def _dns(namespace: str) -> dict[str, Any]:
    peer = {"namespaceSelector": {"matchLabels": {_NAMESPACE_LABEL: namespace}}}
    return {"to": [peer], "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}


def _agents(site: Site, baseline: Baseline) -> dict[str, Any]:
    """What the agents may reach. Nobody knows the addresses of the cloud or of the API server, so it goes by port."""
    agents = baseline.agents_namespace
    ports = [{"protocol": "TCP", "port": port} for port in agents.egress_ports]
    spec = {
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [{"ports": ports}, _dns(baseline.tenant_namespace.dns_namespace), {"to": [{"podSelector": {}}]}],
    }
    meta = {"name": "agents-egress", "namespace": agents.name, "labels": _labels(site)}
    return {"apiVersion": _NETWORK, "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


def _within(site: Site, api_version: str, kind: str, name: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": baseline_namespace(site), "labels": _labels(site)}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta}


def _labels(site: Site) -> dict[str, str]:
    return {**MANAGED_BY, "edge-platform.io/tenant": site.tenant, "edge-platform.io/site": site.name}


def _differences(wanted: Any, found: Any, path: str) -> Iterator[str]:
    """Where `found` does not hold what `wanted` says; lists must agree in length and order.

    An empty map or list says no more than its absence: a server may leave it out.
    """
    if isinstance(wanted, Mapping):
        there = found if isinstance(found, Mapping) else {}
        for field, value in wanted.items():
            yield from _differences(value, there.get(field), f"{path}.{field}" if path else field)
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _differences(one, other, f"{path}[{index}]")
    elif wanted != found and not _same_amount(wanted, found):
        yield f"{path} is {found!r}, not {wanted!r}"


def _same_amount(wanted: Any, found: Any) -> bool:
    """A server writes `1000m` as `1`."""
    if not isinstance(wanted, str) or not isinstance(found, str):
        return False
    try:
        return quantity.parse(wanted) == quantity.parse(found)
    except ValueError:
        return False
