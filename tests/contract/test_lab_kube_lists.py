"""Lists and watches of the lab's API server: selectors, pages, tables, streams and what is too old."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes import client
from kubernetes.watch import Watch

from tests.contract.lab_kube_site import CM, PODS, Site, config_map, pod

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def _labelled(site: Site) -> None:
    for name, labels in {"a": {"env": "prod"}, "b": {"env": "test", "n": "5"}, "c": {}}.items():
        site.make(CM, {**config_map(name), "metadata": {"name": name, "labels": labels}})


def _names(body: Any) -> list[str]:
    return [one["metadata"]["name"] for one in body["items"] if one["metadata"]["name"] != "kube-root-ca.crt"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("labelSelector=env=prod", ["a"]),
        ("labelSelector=env!=prod", ["b", "c"]),
        ("labelSelector=env", ["a", "b"]),
        ("labelSelector=!env", ["c"]),
        ("labelSelector=env in (prod,test),n", ["b"]),
        ("labelSelector=env notin (prod)", ["b", "c"]),
        ("labelSelector=n>4", ["b"]),
        ("fieldSelector=metadata.name=b", ["b"]),
        ("fieldSelector=metadata.name!=b,metadata.namespace=default", ["a", "c"]),
    ],
)
def test_selectors_select(site: Site, query: str, names: list[str]) -> None:
    _labelled(site)
    assert _names(site.get(f"{CM}?{query}")) == names


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("limit=\u00b2", id="no-plain-digits"),
        pytest.param(f"limit={'9' * 5000}", id="too-many-digits"),
        pytest.param("resourceVersion=x", id="no-revision"),
        pytest.param("resourceVersion=-1", id="negative-revision"),
        pytest.param("resourceVersion=1&resourceVersionMatch=Foo", id="unknown-match"),
        pytest.param("watch=1&resourceVersion=x", id="watch-from-no-revision"),
        pytest.param("watch=1&resourceVersion=\u00b2", id="watch-from-no-plain-digits"),
        pytest.param("watch=1&timeoutSeconds=x", id="no-length-of-time"),
    ],
)
def test_a_number_that_is_none_is_400(site: Site, query: str) -> None:
    reply = site.call("GET", f"{CM}?{query}")
    assert (reply.code, reply.body["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize("query", ["labelSelector=a b c", "fieldSelector=spec.none=1", "limit=x", "fieldSelector=what"])
def test_a_selection_that_cannot_be_read_is_a_bad_request(site: Site, query: str) -> None:
    assert site.call("GET", f"{CM}?{query}").code == 400


def test_pods_are_selected_by_node_and_phase(site: Site) -> None:
    site.make(PODS, pod("placed", nodeName="n1"))
    site.make(PODS, pod("free"))
    assert _names(site.get(f"{PODS}?fieldSelector=spec.nodeName=n1")) == ["placed"]
    site.merge(f"{PODS}/free/status", {"status": {"phase": "Running"}})
    assert _names(site.get("/api/v1/pods?fieldSelector=status.phase=Running")) == ["free"]


def test_pages_show_one_moment(site: Site) -> None:
    for name in "abcde":
        site.make(CM, config_map(name))
    core = client.CoreV1Api(site.api())
    first = core.list_namespaced_config_map("default", limit=3)
    site.call("DELETE", f"{CM}/e")
    site.make(CM, config_map("zz"))
    second = core.list_namespaced_config_map("default", limit=3, _continue=first.metadata._continue)
    assert [one.metadata.name for one in (*first.items, *second.items)] == ["a", "b", "c", "d", "e", "kube-root-ca.crt"]
    assert first.metadata.remaining_item_count == 3
    assert first.metadata.resource_version == second.metadata.resource_version
    assert not second.metadata._continue


def test_a_page_of_a_forgotten_moment_is_gone(site: Site) -> None:
    for name in "abc":
        site.make(CM, config_map(name))
    token = site.get(f"{CM}?limit=1")["metadata"]["continue"]
    site.make(CM, config_map("d"))
    site.on_loop(site.store.compact)
    reply = site.call("GET", f"{CM}?limit=1&continue={token}")
    assert (reply.code, reply.body["reason"]) == (410, "Expired")
    assert site.call("GET", f"{CM}?limit=1&continue=nonsense").code == 400


def test_a_table_has_the_columns_kubectl_prints(site: Site) -> None:
    site.make(PODS, pod("tabled"))
    table = site.call("GET", PODS, accept=TABLE).body
    assert table["kind"] == "Table"
    assert [one["name"] for one in table["columnDefinitions"]][:5] == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert table["rows"][0]["cells"][:4] == ["tabled", "0/1", "Pending", 0]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


def test_metadata_can_be_listed_alone(site: Site) -> None:
    site.make(CM, config_map("meta", k="1"))
    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
    listed = site.call("GET", CM, accept=accept).body
    assert listed["kind"] == "PartialObjectMetadataList"
    assert all("data" not in one for one in listed["items"])


def _stream(site: Site, query: str, act: Any = None) -> list[dict[str, Any]]:
    """The lines of a watch that ends by its own time-out; `act` runs once it has begun."""
    found = []
    with site.http.stream("GET", f"{CM}?watch=true&{query}") as answer:
        assert answer.status_code == 200
        if act:
            act()
        for line in answer.iter_lines():
            found.append(json.loads(line))
    return found


def test_a_watch_begins_with_what_is_there_and_goes_on(site: Site) -> None:
    site.make(CM, config_map("there"))
    seen = []
    for event in Watch().stream(client.CoreV1Api(site.api()).list_namespaced_config_map, "default", timeout_seconds=20):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 2:
            site.make(CM, config_map("new"))
            site.call("DELETE", f"{CM}/there")
        if len(seen) == 4:
            break
    assert seen[:2] == [("ADDED", "kube-root-ca.crt"), ("ADDED", "there")]
    assert seen[2:] == [("ADDED", "new"), ("DELETED", "there")]


def test_a_watch_resumes_after_the_revision_it_names(site: Site) -> None:
    site.make(CM, config_map("before"))
    revision = site.get(CM)["metadata"]["resourceVersion"]
    site.make(CM, config_map("after"))
    site.merge(f"{CM}/after", {"data": {"k": "1"}})
    events = _stream(site, f"resourceVersion={revision}&timeoutSeconds=1")
    assert [(one["type"], one["object"]["metadata"]["name"]) for one in events] == [
        ("ADDED", "after"),
        ("MODIFIED", "after"),
    ]


def test_a_watch_from_a_forgotten_revision_is_told_so(site: Site) -> None:
    site.make(CM, config_map("x"))
    site.on_loop(site.store.compact)
    events = _stream(site, "resourceVersion=3&timeoutSeconds=5")
    assert [(one["type"], one["object"]["code"], one["object"]["reason"]) for one in events] == [
        ("ERROR", 410, "Expired")
    ]


def test_an_object_enters_and_leaves_a_selection(site: Site) -> None:
    site.make(CM, config_map("mover"))

    def act() -> None:
        for labels in ({"in": "yes"}, {"in": "yes", "more": "x"}, {"in": None}):
            site.merge(f"{CM}/mover", {"metadata": {"labels": labels}})

    events = _stream(site, "labelSelector=in&timeoutSeconds=1", act)
    assert [one["type"] for one in events] == ["ADDED", "MODIFIED", "DELETED"]


def test_initial_events_end_with_a_bookmark(site: Site) -> None:
    query = "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1"
    events = _stream(site, query)
    assert [one["type"] for one in events] == ["ADDED", "BOOKMARK"]
    meta = events[-1]["object"]["metadata"]
    assert meta["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert meta["resourceVersion"] == site.get(CM)["metadata"]["resourceVersion"]


def test_one_object_can_be_watched(site: Site) -> None:
    site.make(CM, config_map("one"))
    site.make(CM, config_map("two"))
    events = _stream(site, "fieldSelector=metadata.name=two&timeoutSeconds=1")
    assert [one["object"]["metadata"]["name"] for one in events] == ["two"]


def test_a_watch_that_is_left_is_forgotten(site: Site) -> None:
    before = site.on_loop(lambda: len(site.store._subscribers))
    with site.http.stream("GET", f"{CM}?watch=true") as answer:
        lines = answer.iter_lines()
        assert next(lines)
        assert site.on_loop(lambda: len(site.store._subscribers)) == before + 1
    while site.on_loop(lambda: len(site.store._subscribers)) != before:
        site.get(CM)


def test_events_come_in_the_order_of_their_revisions(site: Site) -> None:
    owner = site.make(CM, config_map("owner"))
    child = config_map("child")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    child["metadata"]["ownerReferences"] = [reference]
    site.make(CM, child)
    revision = site.get(CM)["metadata"]["resourceVersion"]
    events = _stream(site, f"resourceVersion={revision}&timeoutSeconds=1", lambda: site.call("DELETE", f"{CM}/owner"))
    assert [(one["type"], one["object"]["metadata"]["name"]) for one in events] == [
        ("DELETED", "owner"),
        ("DELETED", "child"),
    ]
    revisions = [int(one["object"]["metadata"]["resourceVersion"]) for one in events]
    assert revisions == sorted(revisions)
