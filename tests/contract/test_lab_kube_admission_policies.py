"""ValidatingAdmissionPolicy in the lab's API server, and who a request is made as when somebody acts for another."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client

from tests.contract.lab_kube_site import ADMIN, CM, DEPLOYMENTS, PODS, Reply, Site, config_map, deployment, pod

_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
_MAPS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}
_EVERYTHING = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}


def _policy(site: Site, *validations: dict[str, Any], rule: dict[str, Any] = _MAPS, **spec: Any) -> Reply:
    body = {
        "metadata": {"name": "rule"},
        "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": list(validations), **spec},
    }
    return site.call("POST", f"{_ADMISSION}/validatingadmissionpolicies", body)


def _bind(site: Site, *actions: str, **spec: Any) -> None:
    wish = {"policyName": "rule", "validationActions": list(actions or ("Deny",)), **spec}
    site.make(f"{_ADMISSION}/validatingadmissionpolicybindings", {"metadata": {"name": "bound"}, "spec": wish})


def _refused(site: Site, name: str = "a", **data: str) -> str:
    reply = site.call("POST", CM, config_map(name, **data))
    assert reply.code in {422, 403}, reply.body
    return str(reply.body["message"])


def test_a_write_that_breaks_a_policy_is_refused_in_a_real_servers_words(site: Site) -> None:
    _policy(site, {"expression": "object.data.size() < 2", "message": "one key at most"})
    site.make(CM, config_map("before", a="1", b="2"))
    _bind(site)
    reply = site.call("POST", CM, config_map("a", a="1", b="2"))
    told = "ValidatingAdmissionPolicy 'rule' with binding 'bound' denied request: one key at most"
    assert (reply.code, reply.body["reason"]) == (422, "Invalid")
    assert reply.body["message"] == f'configmaps "a" is forbidden: {told}'
    assert reply.body["details"]["causes"] == [{"message": told}]
    assert site.call("GET", f"{CM}/a").code == 404
    assert site.apply(f"{CM}/before", config_map("before", c="3")).code == 422
    assert site.call("POST", f"{CM}?dryRun=All", config_map("a", a="1", b="2")).code == 422
    site.make(CM, config_map("b", a="1"))


def test_a_policy_without_a_binding_does_nothing(site: Site) -> None:
    _policy(site, {"expression": "false"})
    site.make(CM, config_map("a"))


@pytest.mark.parametrize(
    ("validation", "message", "code"),
    [
        ({"expression": " has(object.data) "}, "failed expression: has(object.data)", 422),
        ({"expression": "false", "messageExpression": "'no ' + object.metadata.name"}, "no a", 422),
        ({"expression": "false", "messageExpression": "object.absent", "message": "plain"}, "plain", 422),
        ({"expression": "false", "message": "no", "reason": "Forbidden"}, "no", 403),
        (
            {"expression": "object.spec.x == 1"},
            "expression 'object.spec.x == 1' resulted in error: no such key: spec",
            422,
        ),
    ],
    ids=["expression", "made", "made-in-vain", "reason", "error"],
)
def test_what_a_refusal_says(site: Site, validation: dict[str, Any], message: str, code: int) -> None:
    _policy(site, validation)
    _bind(site)
    reply = site.call("POST", CM, config_map("a"))
    assert (reply.code, reply.body["message"].partition("denied request: ")[2]) == (code, message)


def test_a_fault_of_a_policy_that_ignores_failures_lets_the_write_pass(site: Site) -> None:
    _policy(site, {"expression": "object.spec.x == 1"}, failurePolicy="Ignore")
    _bind(site)
    site.make(CM, config_map("a"))


def test_warnings_are_told_and_nothing_is_refused(site: Site) -> None:
    _policy(site, {"expression": "false", "message": "better not"})
    _bind(site, "Warn", "Audit")
    reply = site.call("POST", CM, config_map("a"))
    assert reply.code == 201
    where = "ValidatingAdmissionPolicy 'rule' with binding 'bound'"
    assert reply.headers["warning"] == f'299 - "Validation failed for {where}: better not"'


def test_conditions_and_variables_are_used(site: Site) -> None:
    _policy(
        site,
        {"expression": "variables.twice <= variables.most"},
        matchConditions=[{"name": "not-kept", "expression": "!object.metadata.name.startsWith('kept-')"}],
        variables=[
            {"name": "keys", "expression": "has(object.data) ? object.data.size() : 0"},
            {"name": "twice", "expression": "variables.keys * 2"},
            {"name": "most", "expression": "2"},
        ],
    )
    _bind(site)
    assert "variables.twice" in _refused(site, a="1", b="2")
    site.make(CM, config_map("kept-1", a="1", b="2"))
    site.make(CM, config_map("one", a="1"))


def test_a_condition_that_fails_decides_as_the_policy_says(site: Site) -> None:
    _policy(
        site, {"expression": "true"}, matchConditions=[{"name": "team", "expression": "request.userInfo.extra.team"}]
    )
    _bind(site)
    fault = "expression 'request.userInfo.extra.team' resulted in error: no such key: extra"
    assert _refused(site).endswith(f"denied request: {fault}")
    site.merge(f"{_ADMISSION}/validatingadmissionpolicies/rule", {"spec": {"failurePolicy": "Ignore"}})
    site.make(CM, config_map("a"))


def test_selectors_and_exclusions_narrow_a_policy(site: Site) -> None:
    _policy(site, {"expression": "false"})
    site.make("/api/v1/namespaces", {"metadata": {"name": "free", "labels": {"guard": "off"}}})
    outside = {"matchExpressions": [{"key": "guard", "operator": "DoesNotExist"}]}
    spared = {**_MAPS, "resourceNames": ["spared"]}
    _bind(site, matchResources={"namespaceSelector": outside, "excludeResourceRules": [spared]})
    _refused(site)
    site.make(CM, config_map("spared"))
    site.make("/api/v1/namespaces/free/configmaps", config_map("a"))


def test_deletion_scaling_and_eviction_are_judged_too(site: Site) -> None:
    site.make(DEPLOYMENTS, deployment("app"))
    site.make(PODS, pod("app"))
    site.make(CM, config_map("a"))
    rule = {**_EVERYTHING, "resources": ["configmaps", "deployments/scale", "pods/eviction"]}
    _policy(site, {"expression": "request.operation + request.kind.kind == ''"}, rule=rule)
    _bind(site)
    assert site.call("DELETE", f"{CM}/a").code == 422
    assert site.call("DELETE", CM).code == 422
    assert site.merge(f"{DEPLOYMENTS}/app/scale", {"spec": {"replicas": 3}}).code == 422
    assert site.call("POST", f"{PODS}/app/eviction", {"metadata": {"name": "app"}}).code == 422
    assert site.merge(f"{DEPLOYMENTS}/app", {"spec": {"replicas": 3}}).code == 200


def test_what_rules_admission_stays_open_to_change(site: Site) -> None:
    _policy(site, {"expression": "false"}, rule=_EVERYTHING)
    _bind(site)
    _refused(site)
    assert site.call("DELETE", f"{_ADMISSION}/validatingadmissionpolicybindings/bound").code == 200
    site.make(CM, config_map("a"))


def test_a_policy_that_does_not_compile_is_not_taken(site: Site) -> None:
    reply = _policy(site, {"expression": "object.data &&"}, matchConditions=[{"name": "x", "expression": "guess(1)"}])
    assert reply.causes == [
        ("spec.validations[0].expression", "FieldValueInvalid"),
        ("spec.matchConditions[0].expression", "FieldValueInvalid"),
    ]
    assert "undeclared reference to 'guess'" in reply.body["message"]


def _fence(site: Site, missing: str = "Allow", token: int = 7) -> None:
    site.make(_LEASES, {"metadata": {"name": "edge"}, "spec": {"holderIdentity": "run", "leaseTransitions": token}})
    _policy(
        site,
        {"expression": "int(request.userInfo.extra['edge-fence'][0]) >= params.spec.leaseTransitions"},
        rule=_EVERYTHING,
        paramKind={"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"},
        matchConditions=[
            {"name": "fenced", "expression": "has(request.userInfo.extra) && 'edge-fence' in request.userInfo.extra"}
        ],
    )
    _bind(site, paramRef={"name": "edge", "namespace": "default", "parameterNotFoundAction": missing})


def test_parameters_and_the_users_extras_make_a_fence(site: Site) -> None:
    _fence(site)
    headers = {"impersonate-user": "edge-admin", "impersonate-group": "system:masters"}

    def write(token: str, name: str) -> int:
        head = {**headers, "impersonate-extra-Edge-Fence": token, "content-type": "application/json"}
        return site.http.post(CM, json=config_map(name), headers=head).status_code

    assert (write("6", "a"), write("7", "b"), write("8", "c")) == (422, 201, 201)
    site.make(CM, config_map("by-hand"))


@pytest.mark.parametrize(("action", "code"), [("Allow", 201), ("Deny", 422)])
def test_parameters_that_are_not_there_allow_or_deny(site: Site, action: str, code: int) -> None:
    _fence(site, action)
    assert site.call("DELETE", f"{_LEASES}/edge").code in {200, 422}
    reply = site.call("POST", CM, config_map("a"))
    assert reply.code == code
    if code == 422:
        assert "no params found for policy binding with `Deny` parameterNotFoundAction" in reply.body["message"]


def test_who_acts_for_another_is_told_with_groups_and_extras(site: Site) -> None:
    head = [
        ("authorization", f"Bearer {ADMIN}"),
        ("impersonate-user", "jane"),
        ("impersonate-group", "one"),
        ("impersonate-group", "two"),
        ("Impersonate-Extra-Example.com%2Fteam", "red"),
        ("Impersonate-Extra-Example.com%2Fteam", "blue"),
    ]
    path = f"{site.url}/apis/authentication.k8s.io/v1/selfsubjectreviews"
    told = site.http.post(path, json={}, headers=head).json()["status"]["userInfo"]
    assert told == {
        "username": "jane",
        "groups": ["one", "two", "system:authenticated"],
        "extra": {"example.com/team": ["red", "blue"]},
    }


def test_extras_without_a_user_or_without_the_right_are_refused(site: Site) -> None:
    assert site.call("GET", CM, impersonate_extra_fence="1").code == 500
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rule = {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}
    site.make(f"{rbac}/clusterroles", {"metadata": {"name": "act"}, "rules": [rule]})
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "edge-viewer"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "act"}
    site.make(f"{rbac}/clusterrolebindings", {"metadata": {"name": "act"}, "roleRef": role, "subjects": [subject]})
    plain = site.call("GET", CM, token="viewer-token", impersonate_user="edge-admin")
    assert plain.code == 403
    assert 'User "edge-admin" cannot list' in plain.body["message"]
    reply = site.call("GET", CM, token="viewer-token", impersonate_user="edge-admin", impersonate_extra_fence="1")
    assert reply.code == 403
    assert 'cannot impersonate resource "userextras/fence"' in reply.body["message"]


def test_the_official_client_writes_and_reads_policies(site: Site) -> None:
    _policy(site, {"expression": "true"})
    api = client.AdmissionregistrationV1Api(site.api())
    found = api.read_validating_admission_policy("rule")
    assert found.spec.failure_policy == "Fail"
    assert found.spec.validations[0].expression == "true"
