"""Server-side apply and patches over the wire: ownership, conflicts, force, removal, and what a real server refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from kubernetes.dynamic import DynamicClient

from tests.contract.lab_kube_site import (
    APPLY,
    CM,
    CRDS,
    DEPLOYMENTS,
    PODS,
    WIDGETS,
    Host,
    Site,
    config_map,
    deployment,
    widget,
    widget_crd,
)


@pytest.fixture(scope="module")
def site(host: Host) -> Iterator[Site]:
    with host.fresh_site() as running:
        yield running


def test_apply_creates_then_changes_then_does_nothing(site: Site) -> None:
    first = site.apply(f"{CM}/a", config_map("a", k="1"))
    second = site.apply(f"{CM}/a", config_map("a", k="2"))
    third = site.apply(f"{CM}/a", config_map("a", k="2"))
    assert (first.code, second.code, third.code) == (201, 200, 200)
    assert second.body["data"] == {"k": "2"}
    assert third.body == second.body


def test_a_field_that_the_applier_drops_is_removed(site: Site) -> None:
    site.apply(f"{CM}/dropped", config_map("dropped", mine="1", also="2"))
    site.merge(f"{CM}/dropped", {"data": {"theirs": "3"}})
    after = site.apply(f"{CM}/dropped", config_map("dropped", mine="1"))
    assert after.body["data"] == {"mine": "1", "theirs": "3"}


def test_a_foreign_field_is_a_conflict_until_forced(site: Site) -> None:
    site.apply(f"{CM}/fought", config_map("fought", k="1"), "first")
    refused = site.apply(f"{CM}/fought", config_map("fought", k="2"), "second")
    assert (refused.code, refused.body["reason"]) == (409, "Conflict")
    assert refused.body["message"] == 'Apply failed with 1 conflict: conflict with "first": .data.k'
    assert refused.causes == [(".data.k", "FieldManagerConflict")]
    forced = site.apply(f"{CM}/fought", config_map("fought", k="2"), "second", "&force=true")
    assert forced.body["data"] == {"k": "2"}
    owners = {one["manager"]: one["fieldsV1"] for one in forced.body["metadata"]["managedFields"]}
    assert owners == {"second": {"f:data": {"f:k": {}}}}


def test_an_update_takes_ownership_from_nobody_it_agrees_with(site: Site) -> None:
    site.apply(f"{CM}/shared", config_map("shared", k="1"), "applier")
    site.call("PUT", f"{CM}/shared?fieldManager=editor", config_map("shared", k="1", more="2"))
    clash = site.apply(f"{CM}/shared", config_map("shared", k="1", more="3"), "applier")
    assert (clash.code, clash.causes) == (409, [(".data.more", "FieldManagerConflict")])


def test_apply_without_a_field_manager_is_422(site: Site) -> None:
    reply = site.call("PATCH", f"{CM}/a", config_map("a"), content_type=APPLY)
    assert (reply.code, reply.causes) == (422, [("fieldManager", "FieldValueRequired")])


def test_apply_of_an_unknown_field_is_a_typed_error(site: Site) -> None:
    body = deployment("unknown")
    body["spec"]["sizee"] = 1
    reply = site.apply(f"{DEPLOYMENTS}/unknown", body)
    assert reply.code == 500
    assert reply.body["message"] == (
        "failed to create typed patch object (default/unknown; apps/v1, Kind=Deployment): "
        ".spec.sizee: field not declared in schema"
    )


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"kind": "ConfigMap", "metadata": {"name": "a"}}, id="no-version"),
        pytest.param({**config_map("b")}, id="other-name"),
        pytest.param([1], id="no-object"),
        pytest.param(
            {**config_map("a"), "metadata": {"name": "a", "managedFields": [{"manager": "x"}]}}, id="managed-fields"
        ),
    ],
)
def test_an_apply_that_does_not_fit_its_path_is_refused(site: Site, body: Any) -> None:
    assert site.apply(f"{CM}/a", body).code == 400


def test_apply_honours_a_revision_it_names(site: Site) -> None:
    made = site.apply(f"{CM}/versioned", config_map("versioned", k="1")).body
    body = {**config_map("versioned", k="2"), "metadata": {"name": "versioned", "resourceVersion": "1"}}
    assert site.apply(f"{CM}/versioned", body).code == 409
    body["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    assert site.apply(f"{CM}/versioned", body).code == 200


def test_apply_with_a_dry_run_keeps_nothing(site: Site) -> None:
    assert site.apply(f"{CM}/dry", config_map("dry", k="1"), query="&dryRun=All").code == 201
    assert site.call("GET", f"{CM}/dry").code == 404


def test_ports_are_merged_by_number_and_defaulted_protocol(site: Site) -> None:
    one, two = deployment("ports"), deployment("ports")
    one["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 80}]
    site.apply(f"{DEPLOYMENTS}/ports", one, "first")
    two["spec"] = {
        "template": {"spec": {"containers": [{"name": "main", "ports": [{"containerPort": 81, "protocol": "TCP"}]}]}}
    }
    after = site.apply(f"{DEPLOYMENTS}/ports", two, "second").body
    ports = after["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert [(port["containerPort"], port["protocol"]) for port in ports] == [(80, "TCP"), (81, "TCP")]


def test_status_is_applied_apart(site: Site) -> None:
    site.apply(f"{DEPLOYMENTS}/two-doors", deployment("two-doors"), "deployer")
    head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "two-doors"}}
    body = {**head, "spec": {"replicas": 9}, "status": {"replicas": 1}}
    after = site.apply(f"{DEPLOYMENTS}/two-doors/status", body, "controller").body
    assert (after["spec"]["replicas"], after["status"]["replicas"]) == (1, 1)
    owners = {(one["manager"], one.get("subresource", "")) for one in after["metadata"]["managedFields"]}
    assert owners == {("deployer", ""), ("controller", "status")}


def test_the_dynamic_client_applies_and_tells_of_conflicts(site: Site, tmp_path: Path) -> None:
    dynamic = DynamicClient(site.api(), cache_file=str(tmp_path / "discovery.json"))
    maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
    body = config_map("dynamic", k="1")
    made = dynamic.server_side_apply(maps, body, name="dynamic", namespace="default", field_manager="one")
    assert made.data.k == "1"
    with pytest.raises(client.ApiException) as clash:
        dynamic.server_side_apply(
            maps, config_map("dynamic", k="2"), name="dynamic", namespace="default", field_manager="two"
        )
    assert clash.value.status == 409


def test_the_typed_client_applies(site: Site) -> None:
    core = client.CoreV1Api(site.api())
    made = core.patch_namespaced_config_map(
        "typed", "default", config_map("typed", k="1"), field_manager="me", force=True, _content_type=APPLY
    )
    assert made.metadata.managed_fields[0].operation == "Apply"


def test_custom_resources_are_applied_by_their_schema(site: Site) -> None:
    site.make(CRDS, widget_crd())
    first = site.apply(f"{WIDGETS}/w", widget("w", size=3), "one")
    assert (first.code, first.body["spec"]) == (201, {"size": 3, "colour": "blue"})
    assert site.apply(f"{WIDGETS}/w", widget("w", size=4), "two").code == 409
    assert site.apply(f"{WIDGETS}/w", widget("w", size=99), "one").code == 422


@pytest.mark.parametrize(
    ("media", "patch", "data"),
    [
        pytest.param("application/merge-patch+json", {"data": {"k": None, "n": "1"}}, {"n": "1", "l": "x"}, id="merge"),
        pytest.param(
            "application/strategic-merge-patch+json", {"data": {"k": "9"}}, {"k": "9", "l": "x"}, id="strategic"
        ),
        pytest.param(
            "application/json-patch+json",
            [{"op": "test", "path": "/data/k", "value": "1"}, {"op": "remove", "path": "/data/l"}],
            {"k": "1"},
            id="json",
        ),
    ],
)
def test_each_kind_of_patch_changes_what_it_says(site: Site, media: str, patch: Any, data: dict[str, str]) -> None:
    name = f"patched-{media.split('/')[1].split('-', maxsplit=1)[0]}"
    site.make(CM, config_map(name, k="1", l="x"))
    reply = site.call("PATCH", f"{CM}/{name}", patch, content_type=media)
    assert (reply.code, reply.body["data"]) == (200, data)


def test_a_strategic_patch_merges_containers_by_name(site: Site) -> None:
    site.make(DEPLOYMENTS, deployment("strategic"))
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:1"}]}}}}
    media = "application/strategic-merge-patch+json"
    after = site.call("PATCH", f"{DEPLOYMENTS}/strategic", patch, content_type=media).body
    assert sorted(one["name"] for one in after["spec"]["template"]["spec"]["containers"]) == ["main", "side"]


@pytest.mark.parametrize(
    ("media", "patch", "code"),
    [
        pytest.param("application/json-patch+json", [{"op": "remove", "path": "/data/none"}], 422, id="absent"),
        pytest.param(
            "application/json-patch+json", [{"op": "test", "path": "/data/k", "value": "other"}], 422, id="test"
        ),
        pytest.param("application/merge-patch+json", {"metadata": {"name": "else"}}, 400, id="rename"),
        pytest.param("application/merge-patch+json", {"metadata": None}, 422, id="no-metadata"),
        pytest.param("application/merge-patch+json", [1], 422, id="no-object"),
        pytest.param("application/json", {"data": {}}, 415, id="media"),
    ],
)
def test_a_patch_that_cannot_be_carried_out_is_refused(site: Site, media: str, patch: Any, code: int) -> None:
    site.apply(f"{CM}/unpatched", config_map("unpatched", k="1"))
    reply = site.call("PATCH", f"{CM}/unpatched", json.dumps(patch), content_type=media)
    assert reply.code == code, reply.body
    assert site.get(f"{CM}/unpatched")["data"] == {"k": "1"}


def test_custom_resources_take_no_strategic_patch(site: Site) -> None:
    site.call("POST", CRDS, widget_crd())
    site.apply(f"{WIDGETS}/plain", widget("plain", size=1))
    media = "application/strategic-merge-patch+json"
    assert site.call("PATCH", f"{WIDGETS}/plain", {"spec": {"size": 2}}, content_type=media).code == 415


def test_a_strict_patch_refuses_unknown_fields(site: Site) -> None:
    site.make(DEPLOYMENTS, deployment("strict"))
    reply = site.merge(f"{DEPLOYMENTS}/strict?fieldValidation=Strict", {"spec": {"sizee": 1}})
    assert (reply.code, reply.causes) == (422, [("patch", "FieldValueInvalid")])


def test_a_patch_of_something_absent_is_not_found(site: Site) -> None:
    assert site.merge(f"{PODS}/nobody", {"metadata": {}}).code == 404
