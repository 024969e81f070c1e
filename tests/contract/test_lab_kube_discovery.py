"""What the lab's API server says about itself: discovery in both forms, OpenAPI, events in both groups, snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client
from kubernetes.dynamic import DynamicClient

from edge.lab.kube.resources import builtin, builtin_types
from edge.lab.kube.store import SiteStore
from tests.contract.lab_kube_site import CM, Host, Site, config_map

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


@pytest.fixture(scope="module")
def site(host: Host) -> Iterator[Site]:
    with host.fresh_site() as running:
        yield running


def test_the_official_client_reads_version_and_groups(site: Site) -> None:
    assert client.VersionApi(site.api()).get_code().git_version.startswith("v1.37")
    groups = client.ApisApi(site.api()).get_api_versions().groups
    assert {"apps", "batch", "rbac.authorization.k8s.io"} <= {group.name for group in groups}
    names = [one.name for one in client.AppsV1Api(site.api()).get_api_resources().resources]
    assert {"deployments", "deployments/scale", "deployments/status"} <= set(names)


def test_plain_and_aggregated_discovery_agree(site: Site) -> None:
    aggregated = {
        (group["metadata"].get("name", ""), version["version"], one["resource"])
        for path in ("/api", "/apis")
        for group in site.call("GET", path, accept=AGGREGATED).body["items"]
        for version in group["versions"]
        for one in version["resources"]
    }
    heads = {(one.group, one.version) for one in builtin_types()}
    plain = {
        (group, version, entry["name"])
        for group, version in heads
        for entry in site.get(f"/apis/{group}/{version}" if group else "/api/v1")["resources"]
        if "/" not in entry["name"]
    }
    assert aggregated == plain == {(one.group, one.version, one.plural) for one in builtin_types()}


def test_aggregated_discovery_says_its_media_type(site: Site) -> None:
    reply = site.call("GET", "/apis", accept=AGGREGATED)
    assert "as=APIGroupDiscoveryList" in reply.headers["content-type"]
    assert reply.body["kind"] == "APIGroupDiscoveryList"


def test_the_dynamic_client_finds_kinds_by_discovery(site: Site, tmp_path: Path) -> None:
    dynamic = DynamicClient(site.api(), cache_file=str(tmp_path / "cache.json"))
    found = dynamic.resources.get(api_version="apps/v1", kind="Deployment")
    assert (found.name, found.namespaced, "scale" in found.subresources) == ("deployments", True, True)


def test_every_openapi_document_in_the_index_is_there(site: Site) -> None:
    for name, entry in site.get("/openapi/v3")["paths"].items():
        document = site.get(entry["serverRelativeURL"])
        assert document["openapi"].startswith("3.0"), name


def test_writes_take_field_validation_in_openapi(site: Site) -> None:
    document = site.get("/openapi/v3/apis/apps/v1")
    paths = document["paths"]
    for path, method in (
        ("/apis/apps/v1/namespaces/{namespace}/deployments", "post"),
        ("/apis/apps/v1/namespaces/{namespace}/deployments/{name}", "patch"),
    ):
        operation = paths[path][method]
        assert "fieldValidation" in [one["name"] for one in operation["parameters"]]
        assert operation["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
        reference = operation["requestBody"]["content"][
            "application/apply-patch+yaml" if method == "patch" else "application/json"
        ]
        assert reference["schema"]["$ref"].removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_every_builtin_kind_has_a_schema() -> None:
    assert all(one.schema for one in builtin_types())


def test_events_are_the_same_in_both_groups(site: Site) -> None:
    body = {
        "metadata": {"name": "e1", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "message": "hello",
        "reason": "Test",
        "type": "Normal",
    }
    site.make("/api/v1/namespaces/default/events", body)
    other = site.get("/apis/events.k8s.io/v1/namespaces/default/events/e1")
    assert (other["apiVersion"], other["note"], other["regarding"]["name"]) == ("events.k8s.io/v1", "hello", "p")
    found = site.get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name=p,reason=Test")
    assert [one["message"] for one in found["items"]] == ["hello"]


def test_a_snapshot_holds_everything_and_old_watches_are_told(site: Site) -> None:
    site.call("POST", CM, config_map("kept", k="1"))
    data = site.on_loop(site.store.snapshot)
    again = SiteStore.restore(data, site.clock.now)
    assert again.count() == site.on_loop(site.store.count)
    assert again.get(builtin("configmaps"), "default", "kept") == site.get(f"{CM}/kept")
    assert (again.revision, again.oldest) == (data["revision"], data["revision"])


def test_the_older_openapi_is_there_in_both_forms_and_names_no_kind(site: Site) -> None:
    plain = site.get("/openapi/v2")
    accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    coded = site.http.get("/openapi/v2", headers={"accept": accept})
    assert (plain["swagger"], plain["definitions"]) == ("2.0", {})
    assert "protobuf" in coded.headers["content-type"]
    assert b"2.0" in coded.content
    assert b"Kubernetes" in coded.content
