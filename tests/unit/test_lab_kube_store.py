"""One site's store: revisions, subscribers, ownership, snapshots."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from edge.lab.kube.errors import ApiError
from edge.lab.kube.resources import builtin
from edge.lab.kube.store import HISTORY, Event, SiteStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAPS = builtin("configmaps")
DEPLOYMENTS = builtin("deployments", "apps")


def _store() -> SiteStore:
    return SiteStore("site-0001", lambda: NOW)


def _map(name: str, namespace: str = "default", **meta: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace, **meta}}


def test_each_commit_has_a_revision_of_its_own() -> None:
    store = _store()
    first = store.create(MAPS, _map("a"))
    second = store.replace(MAPS, {**first, "data": {"k": "1"}})
    gone = store.remove(MAPS, "default", "a")
    revisions = [int(one["metadata"]["resourceVersion"]) for one in (first, second, gone)]
    assert revisions == sorted(set(revisions))
    assert [event.type for event in store.since(int(first["metadata"]["resourceVersion"]))] == ["MODIFIED", "DELETED"]


def test_stored_objects_are_never_changed_by_later_writes() -> None:
    store = _store()
    first = store.create(MAPS, _map("a"))
    before = json.dumps(first)
    store.replace(MAPS, {**first, "data": {"k": "1"}})
    store.remove(MAPS, "default", "a")
    assert json.dumps(first) == before


def test_objects_are_listed_in_order_and_by_namespace() -> None:
    store = _store()
    for name, namespace in (("b", "y"), ("a", "y"), ("c", "x")):
        store.create(MAPS, _map(name, namespace))
    assert [one["metadata"]["name"] for one in store.list(MAPS)] == ["c", "a", "b"]
    assert [one["metadata"]["name"] for one in store.list(MAPS, "y")] == ["a", "b"]


def test_what_a_subscriber_writes_is_told_after_what_made_it() -> None:
    store, seen = _store(), []

    def follow(event: Event) -> None:
        if event.obj["metadata"]["name"] == "a":
            store.create(MAPS, _map("consequence"))

    store.subscribe(follow)
    end = store.subscribe(lambda event: seen.append(event.obj["metadata"]["name"]))
    store.create(MAPS, _map("a"))
    end()
    store.create(MAPS, _map("b"))
    assert seen == ["a", "consequence"]


def test_the_last_finalizer_lets_a_deleted_object_go() -> None:
    store = _store()
    made = store.create(MAPS, _map("a", finalizers=["x"], deletionTimestamp="2026-03-01T12:00:00Z"))
    store.replace(MAPS, {**made, "metadata": {**made["metadata"], "finalizers": []}})
    assert store.get(MAPS, "default", "a") is None


def test_generation_counts_what_is_asked_for() -> None:
    store = _store()
    body = {"metadata": {"name": "d", "namespace": "default"}, "spec": {"replicas": 1}}
    made = store.create(DEPLOYMENTS, body)
    told = store.replace(DEPLOYMENTS, {**made, "status": {"replicas": 1}})
    asked = store.replace(DEPLOYMENTS, {**told, "spec": {"replicas": 2}})
    assert [one["metadata"]["generation"] for one in (made, told, asked)] == [1, 1, 2]


def test_owners_know_their_dependents() -> None:
    store = _store()
    owner = store.create(MAPS, _map("owner"))
    uid = owner["metadata"]["uid"]
    child = store.create(MAPS, _map("child", ownerReferences=[{"uid": uid}]))
    assert [one["metadata"]["name"] for _, one in store.dependents(uid)] == ["child"]
    store.remove(MAPS, "default", child["metadata"]["name"])
    assert store.dependents(uid) == []


def test_history_is_bounded_and_says_from_where_it_is_whole() -> None:
    store = _store()
    made = store.create(MAPS, _map("a"))
    for number in range(HISTORY + 10):
        made = store.replace(MAPS, {**made, "data": {"k": str(number)}})
    assert store.oldest == store.history[0].revision - 1
    assert len(store.since(store.oldest)) == HISTORY


def test_absent_and_taken_names_are_refused() -> None:
    store = _store()
    store.create(MAPS, _map("a"))
    for act, code in (
        (lambda: store.create(MAPS, _map("a")), 409),
        (lambda: store.replace(MAPS, _map("b")), 404),
        (lambda: store.remove(MAPS, "default", "b"), 404),
    ):
        with pytest.raises(ApiError) as refused:
            act()
        assert refused.value.code == code


def test_a_snapshot_restores_objects_revision_and_crds() -> None:
    store = _store()
    store.create(MAPS, _map("a"))
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object"}},
    }
    spec = {"group": "x.io", "scope": "Cluster", "names": {"plural": "ys", "kind": "Y"}, "versions": [version]}
    crds = builtin("customresourcedefinitions", "apiextensions.k8s.io")
    store.create(crds, {"metadata": {"name": "ys.x.io"}, "spec": spec})
    custom = store.types.find("x.io", "v1", "ys")
    assert custom is not None
    store.create(custom, {"apiVersion": "x.io/v1", "kind": "Y", "metadata": {"name": "one"}})
    again = SiteStore.restore(json.loads(json.dumps(store.snapshot())), lambda: NOW)
    kept = again.types.find("x.io", "v1", "ys")
    assert kept is not None
    assert again.get(kept, "", "one") == store.get(custom, "", "one")
    assert (again.revision, again.key, again.count()) == (store.revision, store.key, store.count())
