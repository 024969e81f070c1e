"""Going back to a snapshot: exact, by the rules by which an API server merges and keeps who owns what."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import InvalidInput, OwnershipConflict
from edge.lab.kube.apply import server_side_apply, track_update
from edge.lab.kube.schema import Schema, builtin_schema, crd_schema
from edge.model.kube import ObjectRef
from edge.policy import snapshot
from edge.policy.owned_fields import difference, fields_of, intersection, paths, union
from edge.policy.ownership import check_stamps

Obj = dict[str, Any]
OURS = "edge-platform"
TEXT = {"type": "string"}
WIDGET = crd_schema(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "size": {"type": "integer"},
                    "mode": {**TEXT, "default": "plain"},
                    "words": {"type": "object", "additionalProperties": TEXT},
                    "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": TEXT},
                    "parts": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["id"],
                        "items": {
                            "type": "object",
                            "properties": {
                                "id": {"type": "integer"},
                                "kind": {**TEXT, "default": "usual"},
                                "words": {"type": "object", "additionalProperties": TEXT},
                            },
                        },
                    },
                    "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT},
                    "list": {"type": "array", "items": TEXT},
                },
            }
        },
    }
)
MAYBE_DEPLOYMENT = builtin_schema("apps", "v1", "Deployment")
assert MAYBE_DEPLOYMENT is not None
DEPLOYMENT: Schema = MAYBE_DEPLOYMENT

word = st.sampled_from("abc")
words = st.dictionaries(word, word, max_size=3)
part: st.SearchStrategy[Obj] = st.fixed_dictionaries({"id": st.integers(1, 3)}, optional={"kind": word, "words": words})


def filled(body: Any) -> Any:
    """Without empty lists and maps: nobody owns those, so nobody can be said to have written them."""
    if isinstance(body, dict):
        return {key: filled(value) for key, value in body.items() if value not in ({}, [])}
    return [filled(one) for one in body] if isinstance(body, list) else body


spec: st.SearchStrategy[Obj] = st.fixed_dictionaries(
    {},
    optional={
        "size": st.integers(1, 3),
        "mode": word,
        "words": words,
        "whole": words,
        "parts": st.lists(part, max_size=3, unique_by=lambda one: str(one["id"])),
        "tags": st.lists(word, max_size=3, unique=True),
        "list": st.lists(word, max_size=3),
    },
).map(filled)


def unordered(obj: Obj) -> Obj:
    """What several managers have put into one list has no order that all of them know."""
    body = {key: sorted(value, key=str) if isinstance(value, list) else value for key, value in obj["spec"].items()}
    return {**obj, "spec": body}


def widget(body: Obj) -> Obj:
    return {"apiVersion": "edge.example.com/v1", "kind": "Widget", "metadata": {"name": "one"}, "spec": body}


def settled(schema: Schema, obj: Obj) -> Obj:
    made: Obj = copy.deepcopy(obj)
    schema.prune(made)
    schema.default(made)
    return made


def applied(live: Obj | None, obj: Obj, manager: str = OURS, schema: Schema = WIDGET) -> Obj:
    made = server_side_apply(schema, live, obj, manager=manager, force=True, now="2026-03-01T12:00:00Z")
    return settled(schema, made)


def edited(live: Obj, body: Obj, manager: str = "person") -> Obj:
    """A merge patch of the spec's first level, as a person's or a controller's update."""
    after = settled(WIDGET, {**live, "spec": {**live.get("spec", {}), **body}})
    return track_update(WIDGET, live, after, manager=manager, now="2026-03-02T12:00:00Z")


def gone_back(was: Obj, live: Obj, schema: Schema = WIDGET) -> Obj:
    """What a site makes of the two writes of going back."""
    wanted = settled(schema, snapshot.gone_back(was, live))
    put = track_update(schema, live, wanted, manager=OURS, now="2026-03-03T12:00:00Z")
    owners = snapshot.managers_back(was, live) or live["metadata"]["managedFields"]
    named = {**put, "metadata": {**put["metadata"], "managedFields": owners}}
    return track_update(schema, put, named, manager=OURS, now="2026-03-03T12:00:00Z")


def owned(obj: Obj) -> list[tuple[str, str, str]]:
    entries = obj["metadata"].get("managedFields") or ()
    return sorted((one["manager"], one["operation"], json.dumps(one["fieldsV1"], sort_keys=True)) for one in entries)


@settings(max_examples=50)
@given(theirs=spec, ours=spec, by_hand=spec, new=spec)
def test_an_object_goes_back_to_what_it_was_and_to_whom_it_belonged(
    theirs: Obj, ours: Obj, by_hand: Obj, new: Obj
) -> None:
    was = edited(applied(applied(None, widget(theirs), "them"), widget(ours)), by_hand)
    after = gone_back(was, applied(was, widget(new)))
    assert snapshot.plain(after) == snapshot.plain(was)
    assert owned(after) == owned(was)
    assert snapshot.gone_back(was, after) == after
    assert snapshot.managers_back(was, after) is None


@settings(max_examples=50)
@given(theirs=spec, by_hand=spec, new=spec)
def test_an_object_that_was_not_ours_goes_back_too(theirs: Obj, by_hand: Obj, new: Obj) -> None:
    was = edited(applied(None, widget(theirs), "them"), by_hand)
    after = gone_back(was, applied(was, widget(new)))
    assert snapshot.plain(after) == snapshot.plain(was)
    assert owned(after) == owned(was)


@settings(max_examples=50)
@given(ours=spec, new=spec, since=spec)
def test_what_others_wrote_since_stays(ours: Obj, new: Obj, since: Obj) -> None:
    was = applied(None, widget(ours))
    live = applied(applied(was, widget(new)), widget(since), "them")
    after = gone_back(was, live)
    assert fields_of(after, ours=False) == fields_of(live, ours=False)
    again = applied(after, widget(since), "them")
    assert unordered(snapshot.plain(again)) == unordered(snapshot.plain(after))


@settings(max_examples=50)
@given(ours=spec, new=spec, again=spec)
def test_going_back_may_be_cut_off_between_its_two_writes(ours: Obj, new: Obj, again: Obj) -> None:
    was = applied(applied(None, widget(again), "them"), widget(ours))
    live = applied(was, widget(new))
    wanted = settled(WIDGET, snapshot.gone_back(was, live))
    cut = track_update(WIDGET, live, wanted, manager=OURS, now="2026-03-03T12:00:00Z")
    after = gone_back(was, cut)
    assert snapshot.plain(after) == snapshot.plain(was)
    assert owned(after) == owned(was)


def deployment(image: str, **more: Any) -> Obj:
    labels = {"app": "one"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image, **more}]}}
    body = {"selector": {"matchLabels": labels}, "template": pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"}, "spec": body}


def test_defaults_that_came_with_a_new_field_go_with_it_and_a_side_car_of_others_stays() -> None:
    was = applied(None, deployment("app:1"), schema=DEPLOYMENT)
    probe = {"livenessProbe": {"httpGet": {"path": "/", "port": 80}}, "ports": [{"containerPort": 80}]}
    live = applied(was, deployment("app:2", **probe), schema=DEPLOYMENT)
    mesh = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"}}
    mesh["spec"] = {"template": {"spec": {"containers": [{"name": "mesh", "image": "mesh:1"}]}}}
    with_mesh = applied(live, mesh, "mesh", DEPLOYMENT)

    alone = gone_back(was, live, DEPLOYMENT)
    assert snapshot.plain(alone) == snapshot.plain(was)
    beside = gone_back(was, with_mesh, DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
    assert [(one["name"], one["image"]) for one in beside] == [("main", "app:1"), ("mesh", "mesh:1")]
    assert beside[0] == was["spec"]["template"]["spec"]["containers"][0]


def test_what_a_cluster_fills_in_by_itself_is_left_to_it() -> None:
    was = applied(None, deployment("app:1"), schema=DEPLOYMENT)
    live = applied(was, deployment("app:2"), schema=DEPLOYMENT)
    live["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "2"}
    after = gone_back(was, live, DEPLOYMENT)
    assert after["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "2"}
    assert snapshot.plain(after) == snapshot.plain(was)

    unbound = {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": {"name": "a"}, "spec": {"x": 1}}
    bound = {**unbound, "spec": {"x": 2, "volumeName": "pv-1"}}
    assert snapshot.gone_back(unbound, bound)["spec"] == {"x": 1, "volumeName": "pv-1"}


def test_what_came_with_an_item_of_others_stays_though_nobody_owns_it() -> None:
    was = applied(None, widget({"size": 1}))
    live = applied(was, widget({"size": 1, "parts": [{"id": 1, "words": {"a": "them"}}]}), "them")
    live["spec"]["parts"][0]["kind"] = "filled in by a webhook"
    assert snapshot.gone_back(was, live) == live


def test_a_field_of_ours_that_others_took_since_is_theirs() -> None:
    was = applied(None, widget({"size": 1, "words": {"a": "ours"}}))
    live = applied(applied(was, widget({"size": 2, "words": {"a": "new"}})), widget({"size": 3}), "them")
    after = gone_back(was, live)
    assert after["spec"] == {"size": 3, "mode": "plain", "words": {"a": "ours"}}
    assert list(paths(fields_of(after, ours=True))) == ["spec.words.a"]
    assert list(paths(fields_of(after, ours=False))) == ["spec.size"]


def test_a_field_that_its_owner_gave_up_since_does_not_come_back() -> None:
    was = applied(applied(None, widget({"words": {"a": "theirs"}}), "them"), widget({"size": 1}))
    live = applied(applied(was, widget({"size": 2})), widget({}), "them")
    assert gone_back(was, live)["spec"] == {"size": 1, "mode": "plain"}


def test_a_snapshot_is_what_was_packed_and_holds_no_status() -> None:
    ref = ObjectRef(api_version="v1", kind="ConfigMap", name="a", namespace="shop")
    other = ref.model_copy(update={"name": "b"})
    body = {"metadata": {"name": "a", "uid": "u"}, "data": {"x": "1"}, "status": {"seen": 1}}
    packed = snapshot.pack({ref: body, other: None})
    assert snapshot.unpack(packed) == {ref: {"metadata": {"name": "a", "uid": "u"}, "data": {"x": "1"}}, other: None}
    assert packed == snapshot.pack({ref: body, other: None})


def test_a_long_snapshot_is_cut_and_put_together_again() -> None:
    packed = snapshot.pack({}) + bytes(range(256)) * 8000
    secrets = snapshot.secrets_for("shop", "rollout:1", packed)
    assert [one["metadata"]["name"] for one in secrets] == ["snapshot.shop.2", "snapshot.shop.1", "snapshot.shop.0"]
    assert all(len(one["data"]["chunk"]) < 1_200_001 for one in secrets)
    found = snapshot.joined(secrets[::-1])
    assert (found.work, found.digest, found.bodies) == ("rollout:1", snapshot.digest_of(packed), {})


def test_a_damaged_snapshot_is_not_used() -> None:
    secrets = snapshot.secrets_for("shop", "rollout:1", snapshot.pack({}))
    broken = {**secrets[0], "data": {"chunk": "bm8="}}
    with pytest.raises(InvalidInput, match="damaged"):
        snapshot.joined([broken])
    with pytest.raises(InvalidInput, match="damaged"):
        snapshot.about({"metadata": {"name": "snapshot.shop.0", "annotations": {}}})
    with pytest.raises(InvalidInput, match="damaged"):
        snapshot.unpack(b"nothing")


def test_an_object_of_another_stamp_is_refused_and_both_are_named() -> None:
    ref = ObjectRef(api_version="v1", kind="ConfigMap", name="a", namespace="shop")
    body = {"metadata": {"name": "a", "labels": {"edge-platform.io/stamp": "bank"}}}
    check_stamps({ref: body}, "bank")
    check_stamps({ref: None}, "shop")
    with pytest.raises(OwnershipConflict) as refused:
        check_stamps({ref: body}, "shop", "site-1")
    assert refused.value.where["stamp"] == "shop"
    assert refused.value.where["other"] == "bank"
    assert refused.value.where["objects"] == "ConfigMap shop/a"


def test_what_a_namespace_holds_of_others_is_found() -> None:
    def obj(kind: str, name: str, **meta: Any) -> Obj:
        return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "shop", **meta}}

    inside = [
        obj("ConfigMap", "kube-root-ca.crt"),
        obj("ServiceAccount", "default"),
        obj("Event", "e"),
        obj("Pod", "p", ownerReferences=[{"kind": "ReplicaSet"}]),
        obj("ConfigMap", "leaving", deletionTimestamp="2026-03-01T12:00:00Z"),
        obj("PersistentVolumeClaim", "data"),
    ]
    assert [str(one) for one in snapshot.foreign(inside)] == ["PersistentVolumeClaim shop/data"]


def test_sets_of_fields_are_joined_shared_and_taken_apart() -> None:
    left: Obj = {"f:a": {}, "f:b": {".": {}, "f:c": {}}}
    right: Obj = {"f:b": {"f:c": {}, "f:d": {}}}
    assert list(paths(union(left, right))) == ["a", "b", "b.c", "b.d"]
    assert list(paths(intersection(left, right))) == ["b.c"]
    assert list(paths(difference(left, right))) == ["a", "b"]
    assert difference(left, left) is None
    assert intersection(left, {"f:z": {}}) is None
