"""The same rules as objects that a site's own API server keeps: ValidatingAdmissionPolicy and its binding.

They hold for whoever writes to a stamp's namespaces, not only for the platform. One policy for each place where pods'
specs are (`edge.policy.pod_shapes.SHAPES`), so that the server can check the expressions' types against one schema, and
one for each rule about other kinds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from edge.errors import InvalidInput
from edge.model.rule import Rule
from edge.policy.pod_shapes import CONTAINERS, SHAPES, Shape

API = "admissionregistration.k8s.io/v1"
PREFIX = "edge-platform-rules"
NAMESPACE_LABEL = "edge-platform.io/stamp"
"""On the namespaces of stamps: the policies hold there and nowhere else."""

OTHER_KINDS: Mapping[str, tuple[str, str]] = {
    "ConfigMap": ("", "configmaps"),
    "Secret": ("", "secrets"),
    "Service": ("", "services"),
    "ServiceAccount": ("", "serviceaccounts"),
    "PersistentVolumeClaim": ("", "persistentvolumeclaims"),
    "ResourceQuota": ("", "resourcequotas"),
    "LimitRange": ("", "limitranges"),
    "Ingress": ("networking.k8s.io", "ingresses"),
    "NetworkPolicy": ("networking.k8s.io", "networkpolicies"),
    "Role": ("rbac.authorization.k8s.io", "roles"),
    "RoleBinding": ("rbac.authorization.k8s.io", "rolebindings"),
    "PodDisruptionBudget": ("policy", "poddisruptionbudgets"),
    "HorizontalPodAutoscaler": ("autoscaling", "horizontalpodautoscalers"),
}
"""Kinds with a namespace and without pods that a rule may be about: group and plural."""


class AdmissionAction(StrEnum):
    """What a site does with a breach (`validationActions`)."""

    DENY = "Deny"
    WARN = "Warn"
    AUDIT = "Audit"


def admission_policies(
    rules: Sequence[Rule],
    registries: Sequence[str],
    *,
    actions: Sequence[AdmissionAction] = (AdmissionAction.DENY,),
    waived: Mapping[str, Sequence[str]] | None = None,
) -> tuple[dict[str, Any], ...]:
    """Policies and bindings for these rules, in the order in which they are applied.

    `waived`: a rule's code -> the namespaces in which it is waived. A site does not know the time when a waiver ends:
    make them anew then. Raises InvalidInput for actions that Kubernetes does not take together, and for a rule about a
    kind whose place at an API server is not known here.
    """
    chosen = tuple(dict.fromkeys(actions))
    if not chosen or {AdmissionAction.DENY, AdmissionAction.WARN} <= set(chosen):
        said = ", ".join(chosen) or "none"
        raise InvalidInput("Kubernetes takes Deny or Warn, and Audit beside it", field="actions", value=said)
    made = [_of_shape(shape, rules, registries, waived or {}) for shape in SHAPES]
    made += [_of_others(rule, waived or {}) for rule in rules if _has_others(rule)]
    policies = [policy for policy in made if policy is not None]
    return (*policies, *(_binding(policy["metadata"]["name"], chosen) for policy in policies))


def _of_shape(
    shape: Shape, rules: Sequence[Rule], registries: Sequence[str], waived: Mapping[str, Sequence[str]]
) -> dict[str, Any] | None:
    mine = [
        (rule, [kind for kind in shape.kinds if not rule.kinds or _names(rule, kind, shape.kinds)]) for rule in rules
    ]
    validations = [_validation(rule, kinds, shape, waived) for rule, kinds in mine if kinds]
    if not validations:
        return None
    variables = [
        {"name": "registries", "expression": _list(registries)},
        {"name": "pod", "expression": shape.pod},
        {"name": "containers", "expression": CONTAINERS},
    ]
    return _policy(shape.name, list(shape.kinds.values()), validations, variables)


def _names(rule: Rule, kind: str, kinds: Mapping[str, tuple[str, str]]) -> bool:
    return kind in rule.kinds or f"{kind}.{kinds[kind][0]}" in rule.kinds


def _validation(rule: Rule, kinds: Sequence[str], shape: Shape, waived: Mapping[str, Sequence[str]]) -> dict[str, str]:
    expression = f"({rule.expression.strip()})"
    if len(kinds) < len(shape.kinds):
        expression = f"!(object.kind in {_list(kinds)}) || {expression}"
    return _said(rule, expression, waived)


def _said(rule: Rule, expression: str, waived: Mapping[str, Sequence[str]]) -> dict[str, str]:
    places = waived.get(rule.code, ())
    if places:
        expression = f"object.metadata.namespace in {_list(places)} || {expression}"
    message = f"{rule.message} ({rule.code}). {rule.fix}"
    return {"expression": expression, "message": message, "reason": "Invalid"}


def _has_others(rule: Rule) -> bool:
    return any(not _is_workload(kind) for kind in rule.kinds)


def _is_workload(said: str) -> bool:
    kind, _, group = said.partition(".")
    return any(kind in shape.kinds and group in ("", shape.kinds[kind][0]) for shape in SHAPES)


def _of_others(rule: Rule, waived: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    places = []
    for said in rule.kinds:
        kind, _, group = said.partition(".")
        known = OTHER_KINDS.get(kind)
        if _is_workload(said):
            continue
        if known is None or group not in ("", known[0]):
            what = "Where an API server has this kind is not known, so the rule cannot be kept there"
            raise InvalidInput(what, field="kinds", rule=rule.code, value=said)
        places.append(known)
    return _policy(rule.code, places, [_said(rule, f"({rule.expression.strip()})", waived)], [])


def _policy(
    name: str, kinds: Sequence[tuple[str, str]], validations: list[dict[str, str]], variables: list[dict[str, str]]
) -> dict[str, Any]:
    groups: dict[str, list[str]] = {}
    for group, plural in kinds:
        groups.setdefault(group, []).append(plural)
    rules = [
        {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": plurals}
        for group, plurals in groups.items()
    ]
    spec: dict[str, Any] = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules},
        "validations": validations,
    }
    if variables:
        spec["variables"] = variables
    return {"apiVersion": API, "kind": "ValidatingAdmissionPolicy", "metadata": _meta(f"{PREFIX}-{name}"), "spec": spec}


def _binding(name: str, actions: Sequence[AdmissionAction]) -> dict[str, Any]:
    spec = {
        "policyName": name,
        "validationActions": [action.value for action in actions],
        "matchResources": {
            "namespaceSelector": {"matchExpressions": [{"key": NAMESPACE_LABEL, "operator": "Exists"}]},
        },
    }
    return {"apiVersion": API, "kind": "ValidatingAdmissionPolicyBinding", "metadata": _meta(name), "spec": spec}


def _meta(name: str) -> dict[str, Any]:
    return {"name": name, "labels": {"app.kubernetes.io/managed-by": "edge-platform"}}


def _list(texts: Sequence[str]) -> str:
    """A CEL list of texts; what could end a text is written so that it does not."""
    escaped = (text.replace("\\", "\\\\").replace("'", "\\'") for text in texts)
    return "[" + ", ".join(f"'{text}'" for text in escaped) + "]"
