"""What is tried at a site to know that its baseline holds: what must be refused, and what must be allowed.

Each probe is made so that just one thing stands in its way, and says which: a probe that something else refuses proves
nothing.
"""

from __future__ import annotations

import re
from typing import Any

from edge.model.baseline import Baseline, PodSecurity, Probe, ProbeVerb
from edge.model.site import Site
from edge.policy import quantity
from edge.policy.baseline import NAME, baseline_namespace, tenant_user

_PREFIX = "edge-baseline-probe"
_IMAGE = "registry.invalid/edge/probe:1"
"""Never pulled: every probe is a dry run."""
_LITTLE = {"cpu": "1m", "memory": "1Mi"}
_QUOTA_IS_FULL = re.compile(rf"exceeded quota: {NAME},")


def probes(site: Site, baseline: Baseline) -> tuple[Probe, ...]:
    """What is tried, as the tenant's service account."""
    return (*_pod_security(site, baseline), *_sizes(site, baseline), *_rights(site), _modest(site))


def probe_fault(probe: Probe, refusal: str | None) -> str:
    """Why the probe does not pass; "" when it does. `refusal` is what the server refused with; None: it allowed it.

    A modest pod that finds its quota used up has passed all else, since the quota is asked last.
    """
    if not probe.refused_by:
        if refusal is None or _QUOTA_IS_FULL.search(refusal):
            return ""
        return f"{probe.name} is refused: {refusal}"
    if refusal is None:
        return f"{probe.name} is allowed"
    if not re.search(probe.refused_by, refusal):
        return f"{probe.name} is refused by something else: {refusal}"
    return ""


def _pod_security(site: Site, baseline: Baseline) -> tuple[Probe, ...]:
    level = baseline.tenant_namespace.pod_security.enforce
    if level is PodSecurity.PRIVILEGED:
        return ()
    asked: tuple[tuple[str, str, dict[str, Any], dict[str, Any]], ...] = (
        ("a privileged pod", "privileged", {}, {"securityContext": {"privileged": True}}),
        ("a pod in the host's network", "host namespaces", {"hostNetwork": True}, {}),
        ("a pod with a host path", "", {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}, {}),
    )
    # At the level restricted a host path is one of many volume types that are not allowed.
    path = "restricted volume types" if level is PodSecurity.RESTRICTED else "hostPath volumes"
    return tuple(
        Probe(
            name=name,
            target=_pod(site, spec, container),
            refused_by=rf'violates PodSecurity "{level.value}:.*{re.escape(reason or path)}',
        )
        for name, reason, spec, container in asked
    )


def _sizes(site: Site, baseline: Baseline) -> tuple[Probe, ...]:
    tenant = baseline.tenant_namespace
    what, most = next(iter(sorted(tenant.limits.max.items())))
    over = {what: _twice(most)}
    container = Probe(
        name="a container over the limit",
        target=_pod(site, {}, {"resources": {"limits": over, "requests": _LITTLE}}),
        refused_by=rf"maximum {re.escape(what)} usage per Container is ",
    )
    return (container, *_over_quota(site, baseline))


def _over_quota(site: Site, baseline: Baseline) -> tuple[Probe, ...]:
    """A pod whose containers each keep the limits, and together are more than the quota."""
    tenant = baseline.tenant_namespace
    for name, hard in sorted(tenant.quota.items()):
        what = name.removeprefix("requests.")
        if what not in ("cpu", "memory"):
            continue
        each = min(hard, tenant.limits.max.get(what, hard), key=quantity.parse)
        share = quantity.parse(each)
        if not share:
            continue
        count = int(quantity.parse(hard) // share) + 1
        sized = {"resources": {"requests": {**_LITTLE, what: each}, "limits": {**_LITTLE, what: each}}}
        containers = [{"name": f"probe-{number}", "image": _IMAGE, **sized} for number in range(count)]
        target = _pod(site, {"containers": containers}, {})
        return (Probe(name="a pod over the quota", target=target, refused_by=rf"exceeded quota: {NAME},"),)
    return ()


def _rights(site: Site) -> tuple[Probe, ...]:
    user = re.escape(tenant_user(site))
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": _PREFIX},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    }
    elsewhere = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": _PREFIX, "namespace": "default"},
    }
    secrets = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "kube-system"}}
    cannot = rf'User "{user}" cannot '
    return (
        Probe(
            name="a cluster role binding by the tenant",
            target=binding,
            refused_by=rf'{cannot}create resource "clusterrolebindings"',
        ),
        Probe(
            name="secrets of kube-system read by the tenant",
            verb=ProbeVerb.LIST,
            target=secrets,
            refused_by=rf'{cannot}list resource "secrets" in API group "" in the namespace "kube-system"',
        ),
        Probe(
            name="an object of the tenant in another namespace",
            target=elsewhere,
            refused_by=rf'{cannot}create resource "configmaps" in API group "" in the namespace "default"',
        ),
    )


def _modest(site: Site) -> Probe:
    """A pod that keeps all rules, the level restricted included."""
    container = {
        "resources": {"requests": _LITTLE, "limits": _LITTLE},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {"securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}}
    return Probe(name="a modest pod", target=_pod(site, spec, container))


def _pod(site: Site, spec: dict[str, Any], container: dict[str, Any]) -> dict[str, object]:
    small = {"name": "probe", "image": _IMAGE, "resources": {"requests": _LITTLE, "limits": _LITTLE}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _PREFIX, "namespace": baseline_namespace(site)},
        "spec": {"containers": [{**small, **container}], **spec},
    }


def _twice(amount: str) -> str:
    return quantity.text(quantity.parse(amount) * 2, amount)
