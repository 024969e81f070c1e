"""What the lab's API server refuses, field by field and reason by reason, as a real kube-apiserver was seen to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.lab_kube_site import (
    APPLY,
    CM,
    CRDS,
    DEPLOYMENTS,
    MERGE,
    PODS,
    WIDGETS,
    Host,
    Site,
    config_map,
    deployment,
    pod,
    widget,
    widget_crd,
)

SECRETS = "/api/v1/namespaces/default/secrets"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"


@pytest.fixture(scope="module")
def site(host: Host) -> Iterator[Site]:
    with host.fresh_site() as running:
        running.make(CRDS, widget_crd())
        yield running


def named(**meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": "refused", **meta}}


def with_spec(**spec: Any) -> dict[str, Any]:
    return {**named(), "spec": spec}


def workload(template: dict[str, Any], **spec: Any) -> dict[str, Any]:
    body = deployment("refused")
    body["spec"] |= spec
    body["spec"]["template"]["spec"] |= template
    return body


MOUNTING = {"containers": [{"name": "main", "image": "a:1", "volumeMounts": [{"name": "none", "mountPath": "/x"}]}]}
NO_SURGE = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}
RECREATE = {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}
STRATEGY = "spec.strategy.rollingUpdate"
RESTARTS = "spec.template.spec.restartPolicy"
MOUNT = "spec.template.spec.containers[0].volumeMounts[0].name"
OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": ""}

REFUSED = [
    pytest.param(CM, named(annotations={"a b": "c"}), [("metadata.annotations", "Invalid")], id="annotation-key"),
    pytest.param(CM, named(finalizers=["x"]), [("metadata.finalizers[0]", "Invalid")], id="finalizer"),
    pytest.param(
        CM, named(ownerReferences=[OWNER]), [("metadata.ownerReferences[0].uid", "Required")], id="owner-without-uid"
    ),
    pytest.param(
        CM,
        named(ownerReferences=[{**OWNER, "uid": "a", "controller": True}, {**OWNER, "uid": "b", "controller": True}]),
        [("metadata.ownerReferences", "Invalid")],
        id="two-controllers",
    ),
    pytest.param(CM, {**named(), "data": {"a/b": "1"}}, [("data[a/b]", "Invalid")], id="config-key"),
    pytest.param(
        CM, {**named(), "data": {"a": "1"}, "binaryData": {"a": "MQ=="}}, [("data[a]", "Invalid")], id="key-twice"
    ),
    pytest.param(
        SECRETS,
        {**named(), "type": "kubernetes.io/tls", "data": {}},
        [("data[tls.crt]", "Required"), ("data[tls.key]", "Required")],
        id="tls-secret-without-keys",
    ),
    pytest.param(DEPLOYMENTS, workload({"restartPolicy": "Never"}), [(RESTARTS, "NotSupported")], id="restart-policy"),
    pytest.param(DEPLOYMENTS, workload(MOUNTING), [(MOUNT, "NotFound")], id="mount-of-no-volume"),
    pytest.param(
        DEPLOYMENTS,
        workload({"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]}),
        [("spec.template.spec.volumes[0].hostPath", "Forbidden")],
        id="volume-with-two-sources",
    ),
    pytest.param(
        DEPLOYMENTS, workload({}, strategy=NO_SURGE), [(f"{STRATEGY}.maxUnavailable", "Invalid")], id="no-surge-no-less"
    ),
    pytest.param(DEPLOYMENTS, workload({}, strategy=RECREATE), [(STRATEGY, "Forbidden")], id="recreate-and-rolling"),
    pytest.param(
        JOBS,
        with_spec(template={"spec": {"containers": [{"name": "a", "image": "b"}]}}),
        [(RESTARTS, "Required")],
        id="job-without-end",
    ),
    pytest.param(
        CLAIMS, with_spec(), [("spec.accessModes", "Required"), ("spec.resources[storage]", "Required")], id="claim"
    ),
    pytest.param(
        BUDGETS, with_spec(minAvailable=1, maxUnavailable=1, selector={}), [("spec", "Invalid")], id="budget-with-both"
    ),
    pytest.param(
        POLICIES,
        with_spec(podSelector={}, policyTypes=["Some"]),
        [("spec.policyTypes[0]", "NotSupported")],
        id="policy-type",
    ),
    pytest.param(
        ROLES,
        {**named(), "rules": [{"verbs": ["get"], "resources": ["pods"]}]},
        [("rules[0].apiGroups", "Required")],
        id="rule-without-group",
    ),
]


@pytest.mark.parametrize(("path", "body", "causes"), REFUSED)
def test_what_a_real_server_refuses_is_refused_with_field_and_reason(
    site: Site, path: str, body: dict[str, Any], causes: list[tuple[str, str]]
) -> None:
    reply = site.call("POST", path, body)
    assert reply.code == 422, reply.body
    assert reply.causes == [(field, f"FieldValue{reason}") for field, reason in causes]
    assert site.call("GET", f"{path}/refused").code == 404


def test_null_in_lists_is_refused_and_breaks_nothing(site: Site) -> None:
    reply = site.call("POST", CM, named(finalizers=[None], ownerReferences=[None]))
    assert reply.code == 422, reply.body


def test_a_custom_resource_may_have_a_finalizer_of_any_name(site: Site) -> None:
    body = widget("kept", size=1)
    body["metadata"]["finalizers"] = ["plain"]
    site.make(WIDGETS, body)


def test_switching_to_recreate_without_dropping_the_rolling_update_is_refused(site: Site) -> None:
    """The defaults that the server filled in stay until they are set to null: the trap of a real cluster."""
    site.make(DEPLOYMENTS, deployment("switch"))
    refused = site.merge(f"{DEPLOYMENTS}/switch", {"spec": {"strategy": {"type": "Recreate"}}})
    assert refused.causes == [(STRATEGY, "FieldValueForbidden")]
    dropped = {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}
    assert site.merge(f"{DEPLOYMENTS}/switch", dropped).code == 200


def test_of_a_pod_the_images_may_change_and_little_else(site: Site) -> None:
    site.make(PODS, pod("fixed", nodeSelector={"no": "node"}))
    path = f"{PODS}/fixed"
    two = [{"name": name, "image": "app:1"} for name in ("main", "more")]
    assert site.merge(path, {"spec": {"containers": two}}).causes == [("spec.containers", "FieldValueForbidden")]
    assert site.merge(path, {"spec": {"nodeSelector": {"a": "b"}}}).causes == [("spec", "FieldValueForbidden")]
    patch = [{"op": "replace", "path": "/spec/containers/0/image", "value": "app:2"}]
    assert site.call("PATCH", path, patch, content_type="application/json-patch+json").code == 200


def test_a_custom_resource_is_not_replaced_blindly(site: Site) -> None:
    made = site.make(WIDGETS, widget("blind", size=1))
    reply = site.call("PUT", f"{WIDGETS}/blind", widget("blind", size=2))
    assert (reply.code, reply.causes) == (422, [("metadata.resourceVersion", "FieldValueInvalid")])
    made["spec"]["size"] = 2
    assert site.call("PUT", f"{WIDGETS}/blind", made).code == 200


QUERIES = [
    pytest.param("?fieldManager=" + "m" * 129, APPLY, ("fieldManager", "TooLong"), id="long-manager"),
    pytest.param("?fieldManager=a%00b", APPLY, ("fieldManager", "Invalid"), id="unprintable-manager"),
    pytest.param("?dryRun=Some&fieldManager=a", APPLY, ("dryRun", "NotSupported"), id="dry-run"),
    pytest.param("", APPLY, ("fieldManager", "Required"), id="no-manager"),
    pytest.param("?force=true", MERGE, ("force", "Forbidden"), id="force-without-apply"),
]


@pytest.mark.parametrize(("query", "media", "fault"), QUERIES)
def test_the_query_of_a_patch_is_checked(site: Site, query: str, media: str, fault: tuple[str, str]) -> None:
    reply = site.call("PATCH", f"{CM}/queried{query}", config_map("queried"), content_type=media)
    assert (reply.code, reply.causes) == (422, [(fault[0], f"FieldValue{fault[1]}")])
    assert reply.body["message"].startswith('PatchOptions.meta.k8s.io "" is invalid: ')
    assert "name" not in reply.body["details"]


def test_a_deletion_with_two_policies_is_refused(site: Site) -> None:
    site.make(CM, config_map("twice"))
    options = {"propagationPolicy": "Orphan", "orphanDependents": True}
    reply = site.call("DELETE", f"{CM}/twice", options)
    assert (reply.code, reply.causes) == (422, [("propagationPolicy", "FieldValueInvalid")])


def test_a_status_about_no_object_has_empty_details_and_a_conflict_only_causes(site: Site) -> None:
    assert site.call("GET", "/api/v1/namespaces/default/nothings").body["details"] == {}
    site.apply(f"{CM}/fought", config_map("fought", a="1"))
    reply = site.apply(f"{CM}/fought", config_map("fought", a="2"), "two")
    assert (reply.code, set(reply.body["details"])) == (409, {"causes"})


def test_a_replacement_must_say_its_name(site: Site) -> None:
    site.make(CM, config_map("nameless"))
    reply = site.call("PUT", f"{CM}/nameless", {"metadata": {}, "data": {"a": "1"}})
    assert (reply.code, reply.body["reason"]) == (400, "BadRequest")
    assert reply.body["message"].endswith("name must be provided")


def test_an_empty_map_is_left_out_and_no_change(site: Site) -> None:
    first = site.apply(f"{CM}/empty", config_map("empty")).body
    assert "data" not in first
    assert site.apply(f"{CM}/empty", config_map("empty")).body == first
