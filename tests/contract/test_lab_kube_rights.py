"""Who may do what in the lab's API server: tokens, RBAC objects, reviews, service accounts."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client

from tests.contract.lab_kube_site import CM, VIEWER, Site, config_map

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
REVIEWS = "/apis/authorization.k8s.io/v1"


def test_an_unknown_token_is_401(site: Site) -> None:
    reply = site.call("GET", CM, token="wrong")
    assert (reply.code, reply.body["reason"]) == (401, "Unauthorized")


@pytest.mark.parametrize("token", [b"\xff\xfe.x", b"a.b.c", b".", b"a" * 9_000], ids=range(4))
def test_a_token_of_any_shape_is_just_unknown(site: Site, token: bytes) -> None:
    reply = site.http.get(site.url + CM, headers={b"authorization": b"Bearer " + token})
    assert reply.status_code == 401


def test_without_a_token_only_health_and_version_are_told(site: Site) -> None:
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert site.http.get(site.url + path, headers={"authorization": ""}).status_code == 200
    reply = site.http.get(site.url + CM, headers={"authorization": ""})
    assert reply.status_code == 403
    assert 'User "system:anonymous" cannot list resource "configmaps"' in reply.json()["message"]


def test_a_viewer_reads_and_may_not_write(site: Site) -> None:
    core = client.CoreV1Api(site.api(VIEWER))
    assert core.list_namespaced_config_map("default").items
    with pytest.raises(client.ApiException) as refused:
        core.create_namespaced_config_map("default", config_map("x"))
    assert refused.value.status == 403
    reply = site.call("POST", CM, config_map("x"), token=VIEWER)
    assert reply.body["message"] == (
        'configmaps is forbidden: User "edge-viewer" cannot create resource "configmaps" in API group "" '
        'in the namespace "default"'
    )
    assert site.call("GET", "/api/v1/namespaces/default/secrets", token=VIEWER).code == 403


def _account(site: Site, name: str = "worker") -> str:
    site.make(ACCOUNTS, {"metadata": {"name": name}})
    body = {"spec": {"expirationSeconds": 600}}
    token: str = site.call("POST", f"{ACCOUNTS}/{name}/token", body).body["status"]["token"]
    return token


def _role(site: Site, rule: dict[str, Any], name: str = "role") -> None:
    site.make(f"{RBAC}/namespaces/default/roles", {"metadata": {"name": name}, "rules": [rule]})
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "worker", "namespace": "default"}],
    }
    site.make(f"{RBAC}/namespaces/default/rolebindings", binding)


def test_a_role_gives_a_service_account_what_it_says(site: Site) -> None:
    token = _account(site)
    assert site.call("GET", CM, token=token).code == 403
    _role(site, {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["mine"]})
    site.make(CM, config_map("mine"))
    assert site.call("GET", f"{CM}/mine", token=token).code == 200
    assert site.call("GET", f"{CM}/kube-root-ca.crt", token=token).code == 403
    assert site.call("DELETE", f"{CM}/mine", token=token).code == 403
    assert site.call("GET", "/api/v1/namespaces/kube-system/configmaps/mine", token=token).code == 403


def test_a_service_account_token_expires(site: Site) -> None:
    token = _account(site)
    assert site.call("GET", "/apis", token=token).code == 200
    site.on_loop(lambda: site.clock.advance(601))
    assert site.call("GET", "/apis", token=token).code == 401
    assert site.call("GET", "/apis", token=token[:-2] + "xx").code == 401


@pytest.mark.parametrize(
    ("token", "attributes", "allowed"),
    [
        (VIEWER, {"verb": "list", "resource": "pods", "namespace": "default"}, True),
        (VIEWER, {"verb": "create", "resource": "pods", "namespace": "default"}, False),
        (VIEWER, {"verb": "get", "resource": "pods", "subresource": "log"}, True),
        ("admin-token", {"verb": "delete", "resource": "nodes"}, True),
    ],
)
def test_may_i_is_answered(site: Site, token: str, attributes: dict[str, str], allowed: bool) -> None:
    body = {"spec": {"resourceAttributes": attributes}}
    reply = site.call("POST", f"{REVIEWS}/selfsubjectaccessreviews", body, token=token)
    assert (reply.code, reply.body["status"]["allowed"]) == (201, allowed)


def test_others_and_paths_are_asked_about(site: Site) -> None:
    asked = {"user": "nobody", "nonResourceAttributes": {"path": "/apis", "verb": "get"}}
    body = {"spec": asked}
    assert not site.call("POST", f"{REVIEWS}/subjectaccessreviews", body).body["status"]["allowed"]
    body["spec"]["groups"] = ["system:authenticated"]  # type: ignore[assignment]  # a list beside text
    assert site.call("POST", f"{REVIEWS}/subjectaccessreviews", body).body["status"]["allowed"]


def test_rules_and_identity_are_told(site: Site) -> None:
    body = {"spec": {"namespace": "default"}}
    rules = site.call("POST", f"{REVIEWS}/selfsubjectrulesreviews", body, token=VIEWER).body["status"]
    assert any("pods" in rule["resources"] for rule in rules["resourceRules"])
    me = client.AuthenticationV1Api(site.api(VIEWER)).create_self_subject_review(client.V1SelfSubjectReview())
    assert me.status.user_info.username == "edge-viewer"


def test_a_token_can_be_reviewed(site: Site) -> None:
    token = _account(site)
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    known = site.call("POST", path, {"spec": {"token": token}}).body["status"]
    assert known["user"]["username"] == "system:serviceaccount:default:worker"
    assert not site.call("POST", path, {"spec": {"token": "other"}}).body["status"]["authenticated"]


def test_an_admin_may_act_as_somebody_and_a_viewer_may_not(site: Site) -> None:
    as_nobody = site.call("GET", CM, impersonate_user="nobody")
    assert as_nobody.code == 403
    assert 'User "nobody"' in as_nobody.body["message"]
    assert site.call("GET", CM, token=VIEWER, impersonate_user="edge-admin").code == 403
    assert site.call("GET", CM, impersonate_user="x", impersonate_group="edge:viewers").code == 200
