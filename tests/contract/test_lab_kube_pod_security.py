"""Pod Security admission and impersonation at the lab's API server, as callers see them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.lab_kube_site import CM, DEPLOYMENTS, PODS, Site, config_map, deployment, pod

NAMESPACE = "/api/v1/namespaces/default"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
PRIVILEGED = [{"name": "main", "image": "app:1", "securityContext": {"privileged": True}}]
ACCOUNT = "system:serviceaccount:default:worker"


def _level(site: Site, **levels: str) -> None:
    labels = {f"pod-security.kubernetes.io/{mode}": level for mode, level in levels.items()}
    assert site.merge(NAMESPACE, {"metadata": {"labels": labels}}).code == 200


def test_a_pod_that_the_level_forbids_is_403_in_a_real_servers_words(site: Site) -> None:
    _level(site, enforce="baseline")
    for query in ("", "?dryRun=All"):
        reply = site.call("POST", PODS + query, pod("p", hostNetwork=True, containers=PRIVILEGED))
        assert (reply.code, reply.body["reason"]) == (403, "Forbidden")
        assert reply.body["message"] == (
            'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true), '
            'privileged (container "main" must not set securityContext.privileged=true)'
        )
    assert site.call("POST", PODS, pod("p")).code == 201


def test_server_side_apply_is_refused_too(site: Site) -> None:
    _level(site, enforce="baseline")
    assert site.apply(f"{PODS}/p", pod("p", containers=PRIVILEGED)).code == 403


def test_a_pod_that_is_only_warned_of_is_created_with_a_warning(site: Site) -> None:
    _level(site, enforce="baseline", warn="restricted")
    reply = site.call("POST", PODS, pod("p"))
    assert reply.code == 201
    assert '299 - "would violate PodSecurity \\"restricted:latest\\": allowPrivilege' in reply.headers["warning"]
    refused = site.call("POST", PODS, pod("q", containers=PRIVILEGED))
    assert (refused.code, "warning" in refused.headers) == (403, False)


def test_a_workload_is_created_with_a_warning_whatever_is_enforced(site: Site) -> None:
    _level(site, enforce="baseline", warn="baseline")
    body = deployment("web")
    body["spec"]["template"]["spec"]["hostPID"] = True
    reply = site.call("POST", DEPLOYMENTS, body)
    assert reply.code == 201
    assert "host namespaces (hostPID=true)" in reply.headers["warning"]
    assert "warning" not in site.call("POST", DEPLOYMENTS, deployment("fine")).headers


def test_a_pod_that_was_there_before_the_level_may_still_be_labelled(site: Site) -> None:
    site.make(PODS, pod("older", containers=PRIVILEGED))
    _level(site, enforce="baseline")
    assert site.merge(f"{PODS}/older", {"metadata": {"labels": {"tier": "front"}}}).code == 200


@pytest.mark.parametrize(
    ("label", "value", "message"),
    [
        pytest.param("enforce", "strict", "must be one of privileged, baseline, restricted", id="level"),
        pytest.param("warn-version", "1.30", 'must be "latest" or "v1.x"', id="version"),
    ],
)
def test_a_namespace_with_a_level_that_does_not_exist_is_422(site: Site, label: str, value: str, message: str) -> None:
    reply = site.merge(NAMESPACE, {"metadata": {"labels": {f"pod-security.kubernetes.io/{label}": value}}})
    assert (reply.code, reply.causes[0][0]) == (422, f"metadata.labels[pod-security.kubernetes.io/{label}]")
    assert message in reply.body["message"]


def test_acting_as_a_service_account_has_its_rights_and_its_groups(site: Site) -> None:
    site.make(f"{NAMESPACE}/serviceaccounts", {"metadata": {"name": "worker"}})
    refused = site.call("POST", CM, config_map("x"), impersonate_user=ACCOUNT)
    assert refused.body["message"] == (
        f'configmaps is forbidden: User "{ACCOUNT}" cannot create resource "configmaps" in API group "" '
        'in the namespace "default"'
    )
    _bind(site, "system:serviceaccounts:default")
    assert site.call("POST", CM, config_map("x"), impersonate_user=ACCOUNT).code == 201
    # Who names groups gets these and no others, as on a real server.
    assert site.call("POST", CM, config_map("y"), impersonate_user=ACCOUNT, impersonate_group="g").code == 403


def _bind(site: Site, group: str) -> None:
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}
    site.make(f"{RBAC}/namespaces/default/roles", {"metadata": {"name": "r"}, "rules": [rule]})
    binding = {
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "Group", "name": group, "apiGroup": "rbac.authorization.k8s.io"}],
    }
    site.make(f"{RBAC}/namespaces/default/rolebindings", binding)


def test_several_groups_come_in_headers_of_their_own(site: Site) -> None:
    _bind(site, "second")
    head = [("impersonate-user", "x"), ("impersonate-group", "first"), ("impersonate-group", "second")]
    url = site.url + CM
    made = site.http.post(url, json=config_map("x"), headers=[("authorization", "Bearer admin-token"), *head])
    assert made.status_code == 201


@pytest.mark.parametrize(
    ("named", "message"),
    [
        pytest.param(
            {"impersonate_user": "nobody"},
            'users "nobody" is forbidden: User "edge-viewer" cannot impersonate resource "users" in API group "" '
            "at the cluster scope",
            id="user",
        ),
        pytest.param(
            {"impersonate_user": "system:serviceaccount:kube-system:x"},
            'serviceaccounts "x" is forbidden: User "edge-viewer" cannot impersonate resource "serviceaccounts" in API '
            'group "" in the namespace "kube-system"',
            id="service-account",
        ),
    ],
)
def test_who_may_not_act_for_another_is_403(site: Site, named: dict[str, Any], message: str) -> None:
    reply = site.call("GET", CM, token="viewer-token", **named)
    assert (reply.code, reply.body["message"]) == (403, message)


def test_a_right_over_users_is_no_right_over_their_groups(site: Site) -> None:
    rule = {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}
    site.make(f"{RBAC}/clusterroles", {"metadata": {"name": "act"}, "rules": [rule]})
    binding = {
        "metadata": {"name": "act"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "act"},
        "subjects": [{"kind": "User", "name": "edge-viewer", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    site.make(f"{RBAC}/clusterrolebindings", binding)
    named = {"impersonate_user": "nobody"}
    assert 'User "nobody" cannot list' in site.call("GET", CM, token="viewer-token", **named).body["message"]
    masters = site.call("GET", CM, token="viewer-token", **named, impersonate_group="system:masters")
    assert 'groups "system:masters" is forbidden: User "edge-viewer" cannot impersonate' in masters.body["message"]


def test_a_group_without_a_user_is_nobody(site: Site) -> None:
    reply = site.call("GET", CM, impersonate_group="g")
    assert (reply.code, "without impersonating a user" in reply.body["message"]) == (500, True)
