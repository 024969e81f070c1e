"""Custom resources in the lab's API server: served as soon as defined, checked by their schema, gone with their CRD."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client
from kubernetes.dynamic import DynamicClient

from tests.contract.lab_kube_site import CRDS, WIDGETS, Host, Site, widget, widget_crd

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@pytest.fixture
def site(host: Host) -> Iterator[Site]:
    with host.fresh_site() as running:
        running.make(CRDS, widget_crd())
        yield running


def test_a_crd_is_established_at_once(site: Site) -> None:
    status = site.get(f"{CRDS}/widgets.edge.example.com")["status"]
    assert {one["type"]: one["status"] for one in status["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    assert status["acceptedNames"]["listKind"] == "WidgetList"
    assert status["storedVersions"] == ["v1"]


def test_discovery_and_openapi_show_it(site: Site, tmp_path: Path) -> None:
    listed = site.get("/apis/edge.example.com/v1")["resources"]
    assert [one["name"] for one in listed] == ["widgets", "widgets/scale", "widgets/status"]
    document = site.get("/openapi/v3/apis/edge.example.com/v1")
    assert "com.example.edge.v1.Widget" in document["components"]["schemas"]
    dynamic = DynamicClient(site.api(), cache_file=str(tmp_path / "cache.json"))
    assert dynamic.resources.get(api_version="edge.example.com/v1", kind="Widget").namespaced


def test_objects_are_defaulted_and_pruned(site: Site) -> None:
    made = site.make(WIDGETS, widget("w", size=1, unknown="x"))
    assert made["spec"] == {"size": 1, "colour": "blue"}
    assert made["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param({"size": 10}, "spec.size", id="maximum"),
        pytest.param({"size": "x"}, "spec.size", id="type"),
        pytest.param({"size": 1, "colour": "green"}, "spec.colour", id="enum"),
        pytest.param({}, "spec.size", id="required"),
    ],
)
def test_an_object_against_the_schema_is_422(site: Site, spec: dict[str, object], field: str) -> None:
    reply = site.call("POST", WIDGETS, widget("bad", **spec))
    assert (reply.code, reply.body["reason"]) == (422, "Invalid")
    assert [place for place, _ in reply.causes] == [field]


def test_strict_validation_names_unknown_fields(site: Site) -> None:
    reply = site.call("POST", f"{WIDGETS}?fieldValidation=Strict", widget("w", size=1, unknown="x"))
    assert reply.code == 400
    assert 'unknown field "spec.unknown"' in reply.body["message"]


def test_status_and_scale_are_doors_of_their_own(site: Site) -> None:
    site.make(WIDGETS, {**widget("w", size=1, replicas=2), "status": {"phase": "Lied"}})
    assert "status" not in site.get(f"{WIDGETS}/w")
    custom = client.CustomObjectsApi(site.api())
    place = ("edge.example.com", "v1", "default", "widgets", "w")
    custom.patch_namespaced_custom_object_status(*place, {"status": {"phase": "Ready", "replicas": 2}})
    assert site.get(f"{WIDGETS}/w")["status"] == {"phase": "Ready", "replicas": 2}
    assert site.get(f"{WIDGETS}/w")["metadata"]["generation"] == 1
    assert site.get(f"{WIDGETS}/w/scale")["spec"] == {"replicas": 2}
    assert site.merge(f"{WIDGETS}/w/scale", {"spec": {"replicas": 5}}).body["spec"] == {"replicas": 5}
    assert site.get(f"{WIDGETS}/w")["spec"]["replicas"] == 5


def test_its_columns_are_printed(site: Site) -> None:
    site.make(WIDGETS, widget("w", size=7))
    table = site.call("GET", WIDGETS, accept=TABLE).body
    assert [one["name"] for one in table["columnDefinitions"]] == ["Name", "Size"]
    assert table["rows"][0]["cells"] == ["w", 7]


def test_another_version_shows_the_same_objects(site: Site) -> None:
    site.make(WIDGETS, widget("w", size=7))
    crd = site.get(f"{CRDS}/widgets.edge.example.com")
    second = {**crd["spec"]["versions"][0], "name": "v2", "storage": False}
    site.merge(f"{CRDS}/widgets.edge.example.com", {"spec": {"versions": [crd["spec"]["versions"][0], second]}})
    seen = site.get(f"{WIDGETS.replace('/v1/', '/v2/')}/w")
    assert (seen["apiVersion"], seen["spec"]["size"]) == ("edge.example.com/v2", 7)
    assert site.get(f"{WIDGETS}/w")["apiVersion"] == "edge.example.com/v1"


def test_the_most_mature_version_is_preferred_whatever_is_stored(site: Site) -> None:
    crd = site.get(f"{CRDS}/widgets.edge.example.com")
    stored = crd["spec"]["versions"][0]
    others = [{**stored, "name": name, "storage": False} for name in ("v2beta1", "v10", "v2")]
    site.merge(f"{CRDS}/widgets.edge.example.com", {"spec": {"versions": [stored, *others]}})
    group = site.get("/apis/edge.example.com")
    assert [one["version"] for one in group["versions"]] == ["v10", "v2", "v1", "v2beta1"]
    assert group["preferredVersion"]["version"] == "v10"
    site.make(WIDGETS.replace("/v1/", "/v10/"), {**widget("w", size=1), "apiVersion": "edge.example.com/v10"})
    assert site.get(f"{WIDGETS}/w")["apiVersion"] == "edge.example.com/v1"
    assert site.call("DELETE", f"{WIDGETS}/w").code == 200


def test_openapi_offers_no_strategic_patch_of_custom_kinds(site: Site) -> None:
    paths = site.get("/openapi/v3/apis/edge.example.com/v1")["paths"]
    content = paths["/apis/edge.example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"]["requestBody"][
        "content"
    ]
    assert "application/apply-patch+yaml" in content
    assert "application/strategic-merge-patch+json" not in content


def test_a_crd_takes_its_objects_with_it(site: Site) -> None:
    site.make(WIDGETS, widget("free", size=1))
    held = widget("held", size=1)
    held["metadata"]["finalizers"] = ["example.com/hold"]
    site.make(WIDGETS, held)
    site.call("DELETE", f"{CRDS}/widgets.edge.example.com")
    assert site.call("GET", f"{WIDGETS}/free").code == 404
    assert site.get(f"{CRDS}/widgets.edge.example.com")["metadata"]["deletionTimestamp"]
    site.merge(f"{WIDGETS}/held", {"metadata": {"finalizers": None}})
    assert site.call("GET", f"{CRDS}/widgets.edge.example.com").code == 404
    assert site.call("GET", WIDGETS).code == 404


@pytest.mark.parametrize("wrong", ["name", "storage", "schema", "untyped", "scope"])
def test_a_crd_that_does_not_hold_together_is_422(site: Site, wrong: str) -> None:
    crd = widget_crd()
    crd["metadata"]["name"] = "gadgets.edge.example.com"
    crd["spec"]["names"] |= {"plural": "gadgets", "kind": "Gadget"}
    version = crd["spec"]["versions"][0]
    if wrong == "name":
        crd["metadata"]["name"] = "other.edge.example.com"
    elif wrong == "storage":
        version["storage"] = False
    elif wrong == "schema":
        del version["schema"]
    elif wrong == "untyped":
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["loose"] = {"description": "x"}
    else:
        crd["spec"]["scope"] = "Everywhere"
    reply = site.call("POST", CRDS, crd)
    assert (reply.code, reply.body["reason"]) == (422, "Invalid"), reply.body
