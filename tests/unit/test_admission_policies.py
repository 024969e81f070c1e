"""The rules as objects for a site: which kinds, which namespaces, which action."""

from __future__ import annotations

from typing import Any

import pytest

from edge.clients.rule_files import baseline_rules
from edge.errors import InvalidInput
from edge.model.rule import Rule
from edge.policy.admission_policies import AdmissionAction, admission_policies


def own(*kinds: str) -> Rule:
    return Rule(code="own-rule", kinds=kinds, expression="has(object.spec)", message="m", fix="f")


def by_name(objects: tuple[dict[str, Any], ...], kind: str) -> dict[str, Any]:
    return {one["metadata"]["name"]: one["spec"] for one in objects if one["kind"] == kind}


def test_each_policy_has_a_binding_to_the_namespaces_of_stamps() -> None:
    made = admission_policies(baseline_rules(), ["a.example"], actions=[AdmissionAction.WARN, AdmissionAction.AUDIT])
    policies = by_name(made, "ValidatingAdmissionPolicy")
    bindings = by_name(made, "ValidatingAdmissionPolicyBinding")
    assert list(policies) == [f"edge-platform-rules-{name}" for name in ("pods", "workloads", "cronjobs")]
    assert [spec["policyName"] for spec in bindings.values()] == list(policies)
    for spec in bindings.values():
        assert spec["validationActions"] == ["Warn", "Audit"]
        assert spec["matchResources"]["namespaceSelector"]["matchExpressions"] == [
            {"key": "edge-platform.io/stamp", "operator": "Exists"}
        ]


def test_a_rule_about_some_kinds_of_a_policy_leaves_the_others() -> None:
    policies = by_name(admission_policies([own("Deployment")], []), "ValidatingAdmissionPolicy")
    assert list(policies) == ["edge-platform-rules-workloads"]
    (validation,) = policies["edge-platform-rules-workloads"]["validations"]
    assert validation["expression"] == "!(object.kind in ['Deployment']) || (has(object.spec))"


def test_a_rule_about_another_kind_has_a_policy_of_its_own() -> None:
    policies = by_name(
        admission_policies([own("Service", "Ingress.networking.k8s.io")], []), "ValidatingAdmissionPolicy"
    )
    rules = policies["edge-platform-rules-own-rule"]["matchConstraints"]["resourceRules"]
    assert [(one["apiGroups"], one["resources"]) for one in rules] == [
        ([""], ["services"]),
        (["networking.k8s.io"], ["ingresses"]),
    ]


def test_a_waiver_leaves_its_namespaces_alone() -> None:
    made = admission_policies([own("Pod")], [], waived={"own-rule": ["line", "o'ther"]})
    (validation,) = by_name(made, "ValidatingAdmissionPolicy")["edge-platform-rules-pods"]["validations"]
    assert validation["expression"] == "object.metadata.namespace in ['line', 'o\\'ther'] || (has(object.spec))"


@pytest.mark.parametrize(
    ("rules", "actions"),
    [
        pytest.param([own("Widget")], ["Deny"], id="kind-not-known"),
        pytest.param([own("Service.example.com")], ["Deny"], id="namesake"),
        pytest.param([own("Pod")], [], id="no-action"),
        pytest.param([own("Pod")], ["Deny", "Warn"], id="deny-and-warn"),
    ],
)
def test_what_a_site_cannot_keep_is_refused(rules: list[Rule], actions: list[str]) -> None:
    with pytest.raises(InvalidInput):
        admission_policies(rules, [], actions=[AdmissionAction(action) for action in actions])
