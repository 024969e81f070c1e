"""Server-side apply in the lab: who owns what, who may change it, and what goes when nobody wants it any more."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lab.kube.apply import ApplyConflict, ApplyRefused, server_side_apply, track_update
from edge.lab.kube.field_walk import applied_fields
from edge.lab.kube.fields import (
    difference,
    from_members,
    intersection,
    members,
    path_text,
    union,
)
from edge.lab.kube.schema import Schema, builtin_schema, crd_schema

Obj = dict[str, Any]


def schema_of(group: str, kind: str) -> Schema:
    found = builtin_schema(group, "v1", kind)
    assert found is not None
    return found


CONFIG_MAP = schema_of("", "ConfigMap")
DEPLOYMENT = schema_of("apps", "Deployment")
SERVICE = schema_of("", "Service")
POD = schema_of("", "Pod")
WIDGET = crd_schema(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "size": {"type": "integer"},
                    "word": {"type": "string", "nullable": True},
                    "deep": {
                        "type": "object",
                        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                    },
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "whole": {
                        "type": "object",
                        "x-kubernetes-map-type": "atomic",
                        "additionalProperties": {"type": "string"},
                    },
                    "parts": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["id", "kind"],
                        "items": {
                            "type": "object",
                            "properties": {
                                "id": {"type": "integer"},
                                "kind": {"type": "string", "default": "plain"},
                                "count": {"type": "integer"},
                            },
                        },
                    },
                    "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                    "list": {"type": "array", "items": {"type": "integer"}},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            },
            "status": {"type": "object", "properties": {"ready": {"type": "integer"}}},
        },
    }
)


def config_map(**data: str) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}


def widget(**spec: Any) -> Obj:
    return {"apiVersion": "x.io/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec}


def deployment(*containers: Obj, **spec: Any) -> Obj:
    pod = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": list(containers)}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": pod, **spec},
    }


def apply(
    schema: Schema, live: Obj | None, applied: Obj, manager: str = "one", *, force: bool = False, now: str = "t1"
) -> Obj:
    """One apply as the server does it: the defaults come after the merge."""
    after = deepcopy(server_side_apply(schema, live, applied, manager=manager, force=force, now=now))
    schema.default(after)
    return after


def update(schema: Schema, before: Obj | None, after: Obj, manager: str = "ed", now: str = "t2", sub: str = "") -> Obj:
    return track_update(schema, before, after, manager=manager, now=now, subresource=sub)


def owned(obj: Obj, manager: str, operation: str = "Apply", subresource: str = "") -> list[str]:
    for entry in obj["metadata"].get("managedFields", ()):
        key = (entry["manager"], entry["operation"], entry.get("subresource", ""))
        if key == (manager, operation, subresource):
            return [path_text(path) for path in members(entry["fieldsV1"])]
    return []


def managers(obj: Obj) -> list[tuple[str, str]]:
    return [(entry["manager"], entry["operation"]) for entry in obj["metadata"].get("managedFields", ())]


def content(obj: Obj) -> Obj:
    return {key: value for key, value in obj.items() if key not in ("metadata", "apiVersion", "kind")}


# The record


def test_an_apply_owns_exactly_what_it_sets() -> None:
    live = apply(
        DEPLOYMENT, None, deployment({"name": "app", "image": "i", "ports": [{"containerPort": 80}]}, replicas=2)
    )
    assert owned(live, "one") == [
        ".spec.replicas",
        ".spec.selector",
        ".spec.template.metadata.labels.app",
        '.spec.template.spec.containers[name="app"]',
        '.spec.template.spec.containers[name="app"].image',
        '.spec.template.spec.containers[name="app"].name',
        '.spec.template.spec.containers[name="app"].ports[containerPort=80,protocol="TCP"]',
        '.spec.template.spec.containers[name="app"].ports[containerPort=80,protocol="TCP"].containerPort',
    ]


def test_an_entry_has_the_fields_of_a_real_one() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1"), now="2026-11-24T10:00:00Z")
    assert live["metadata"]["managedFields"] == [
        {
            "manager": "one",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": "2026-11-24T10:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:a": {}}},
        }
    ]


def test_a_create_owns_the_defaults_and_the_maps_it_brings() -> None:
    obj = deployment({"name": "app", "image": "i"})
    DEPLOYMENT.default(obj)
    fields = update(DEPLOYMENT, None, obj)["metadata"]["managedFields"][0]["fieldsV1"]
    assert list(fields) == ["f:spec"]
    spec = fields["f:spec"]
    assert "." not in spec
    assert spec["f:strategy"] == {"f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}, "f:type": {}}
    assert spec["f:template"]["f:metadata"] == {"f:labels": {".": {}, "f:app": {}}}
    assert list(spec["f:template"]["f:spec"]["f:containers"]) == ['k:{"name":"app"}']
    assert spec["f:template"]["f:spec"]["f:containers"]['k:{"name":"app"}']["f:resources"] == {}


def test_nobody_owns_what_belongs_to_the_server() -> None:
    obj = config_map(a="1")
    obj["metadata"].update(uid="u", resourceVersion="1", creationTimestamp="t", generation=1, namespace="n")
    assert owned(update(CONFIG_MAP, None, obj), "ed", "Update") == [".data", ".data.a"]
    assert owned(apply(CONFIG_MAP, None, obj), "one") == [".data.a"]


def test_applied_server_fields_do_not_reach_the_object() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1"))
    live["metadata"]["uid"] = "real"
    wish = config_map(a="1")
    wish["metadata"].update(uid="made up", creationTimestamp=None)
    assert apply(CONFIG_MAP, live, wish)["metadata"]["uid"] == "real"


def test_applying_the_same_again_returns_the_very_object() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1"))
    again = server_side_apply(CONFIG_MAP, live, config_map(a="1"), manager="one", force=False, now="t9")
    assert again is live


def test_a_value_that_settles_to_the_stored_one_changes_nothing() -> None:
    wish = deployment(
        {
            "name": "app",
            "image": "i",
            "resources": {"limits": {"cpu": "1000m"}},
            "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        }
    )
    live = apply(DEPLOYMENT, None, wish)
    assert live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "1"
    assert apply(DEPLOYMENT, live, wish, now="t9") == live


# Conflicts


def test_changing_a_field_of_another_applier_conflicts() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1"))
    with pytest.raises(ApplyConflict) as refusal:
        apply(CONFIG_MAP, live, config_map(a="2"), "two")
    assert str(refusal.value) == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert refusal.value.causes() == [(".data.a", 'conflict with "one"')]


def test_conflicts_are_told_by_manager() -> None:
    live = apply(DEPLOYMENT, None, deployment({"name": "app", "image": "i"}), "one")
    edited = deepcopy(live)
    edited["spec"]["replicas"] = 5
    live = update(DEPLOYMENT, live, edited)
    with pytest.raises(ApplyConflict) as refusal:
        apply(DEPLOYMENT, live, deployment({"name": "app", "image": "j"}, replicas=2), "two")
    assert str(refusal.value) == (
        "Apply failed with 2 conflicts: "
        'conflicts with "ed" using apps/v1:\n- .spec.replicas\n'
        'conflicts with "one":\n- .spec.template.spec.containers[name="app"].image'
    )


def test_a_subresource_is_named_in_the_conflict() -> None:
    live = apply(DEPLOYMENT, None, deployment({"name": "app", "image": "i"}))
    scaled = deepcopy(live)
    scaled["spec"]["replicas"] = 5
    live = update(DEPLOYMENT, live, scaled, "hpa", sub="scale")
    assert owned(live, "hpa", "Update", "scale") == [".spec.replicas"]
    with pytest.raises(
        ApplyConflict, match=r'conflict with "hpa" with subresource "scale" using apps/v1: \.spec\.replicas'
    ):
        apply(DEPLOYMENT, live, deployment({"name": "app", "image": "i"}, replicas=2))


def test_a_conflict_changes_nothing() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1"))
    before = deepcopy(live)
    with pytest.raises(ApplyConflict):
        apply(CONFIG_MAP, live, config_map(a="2"), "two")
    assert live == before


def test_force_takes_the_field_and_an_empty_manager_vanishes() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1"))
    live = apply(CONFIG_MAP, live, config_map(a="2"), "two", force=True, now="t2")
    assert live["data"] == {"a": "2"}
    assert managers(live) == [("two", "Apply")]


def test_force_leaves_the_other_manager_the_rest() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1", b="1"))
    live = apply(CONFIG_MAP, live, config_map(a="2"), "two", force=True)
    assert owned(live, "one") == [".data.b"]
    assert owned(live, "two") == [".data.a"]


def test_the_same_value_is_owned_together() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1"))
    live = apply(CONFIG_MAP, live, config_map(a="1"), "two")
    assert owned(live, "one") == owned(live, "two") == [".data.a"]
    live = apply(CONFIG_MAP, live, config_map(), "one")
    assert live["data"] == {"a": "1"}
    assert apply(CONFIG_MAP, live, config_map(), "two")["data"] == {}


def test_an_update_takes_the_fields_it_changes_and_only_those() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1", b="1"))
    live = update(CONFIG_MAP, live, {**live, "data": {"a": "2", "b": "1", "c": "3"}})
    assert owned(live, "one") == [".data.b"]
    assert owned(live, "ed", "Update") == [".data.a", ".data.c"]


def test_an_update_that_changes_nothing_leaves_the_record_alone() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1"))
    assert update(CONFIG_MAP, live, deepcopy(live)) == live


def test_an_update_that_removes_a_field_removes_it_from_every_manager() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1", b="1"))
    live = apply(CONFIG_MAP, live, config_map(a="1"), "two")
    live = update(CONFIG_MAP, live, {**live, "data": {"b": "1"}})
    assert owned(live, "one") == [".data.b"]
    assert managers(live) == [("one", "Apply")]


def test_a_second_update_by_the_same_manager_adds_to_its_entry() -> None:
    live = update(CONFIG_MAP, None, config_map(a="1"), now="t1")
    live = update(CONFIG_MAP, live, {**live, "data": {"a": "1", "b": "2"}}, now="t2")
    [entry] = live["metadata"]["managedFields"]
    assert entry["time"] == "t2"
    assert owned(live, "ed", "Update") == [".data", ".data.a", ".data.b"]


def test_apply_and_update_of_one_name_are_two_managers() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1"), "kubectl")
    live = update(CONFIG_MAP, live, {**live, "data": {"a": "2"}}, "kubectl")
    assert managers(live) == [("kubectl", "Update")]
    with pytest.raises(ApplyConflict, match=r'conflict with "kubectl" using v1: \.data\.a'):
        apply(CONFIG_MAP, live, config_map(a="1"), "kubectl")


def test_status_is_tracked_apart() -> None:
    live = apply(WIDGET, None, widget(size=1))
    live = update(WIDGET, live, {**live, "status": {"ready": 1}}, "kubelet", sub="status")
    assert owned(live, "kubelet", "Update", "status") == [".status", ".status.ready"]
    assert owned(live, "kubelet", "Update") == []
    assert owned(live, "one") == [".spec.size"]


def test_the_record_can_be_reset_but_not_through_a_subresource() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1"))
    reset = {**live, "metadata": {**live["metadata"], "managedFields": [{}]}}
    assert managers(update(CONFIG_MAP, live, reset, sub="status")) == [("one", "Apply")]
    assert managers(update(CONFIG_MAP, live, reset)) == []


def test_a_client_that_sends_no_record_does_not_lose_it() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1"))
    sent = {**live, "metadata": {"name": "c"}}
    assert managers(update(CONFIG_MAP, live, sent)) == [("one", "Apply")]


def test_an_object_without_a_record_gets_one_at_its_first_apply() -> None:
    live = config_map(a="1", b="2")
    assert managers(update(CONFIG_MAP, live, config_map(a="3", b="2"))) == []
    with pytest.raises(ApplyConflict, match=r'conflict with "before-first-apply" using v1: \.data\.a'):
        apply(CONFIG_MAP, live, config_map(a="3"))
    live = apply(CONFIG_MAP, live, config_map(a="1"))
    assert owned(live, "before-first-apply", "Update") == [".data", ".data.a", ".data.b"]
    assert owned(live, "one") == [".data.a"]


# Removal


def test_a_dropped_field_is_removed() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1", b="2"))
    live = apply(CONFIG_MAP, live, config_map(a="1"), now="t2")
    assert live["data"] == {"a": "1"}
    assert owned(live, "one") == [".data.a"]


def test_a_dropped_field_with_a_default_falls_back_to_it() -> None:
    live = apply(DEPLOYMENT, None, deployment({"name": "app", "image": "i"}, replicas=3))
    live = apply(DEPLOYMENT, live, deployment({"name": "app", "image": "i"}))
    assert live["spec"]["replicas"] == 1


def test_a_dropped_container_goes_with_what_the_server_filled_in() -> None:
    live = apply(DEPLOYMENT, None, deployment({"name": "app", "image": "i"}, {"name": "side", "image": "s"}))
    live = apply(DEPLOYMENT, live, deployment({"name": "app", "image": "i"}))
    assert [each["name"] for each in live["spec"]["template"]["spec"]["containers"]] == ["app"]


def test_a_dropped_struct_goes_whole_and_its_defaults_with_it() -> None:
    strategy = {"type": "Recreate"}
    live = apply(DEPLOYMENT, None, deployment({"name": "app", "image": "i"}, strategy=strategy))
    live = apply(DEPLOYMENT, live, deployment({"name": "app", "image": "i"}))
    assert live["spec"]["strategy"]["type"] == "RollingUpdate"


def test_what_others_own_inside_a_dropped_struct_stays() -> None:
    live = apply(WIDGET, None, widget(deep={"a": 1}))
    live = apply(WIDGET, live, widget(deep={"b": 2}), "two")
    live = apply(WIDGET, live, widget())
    assert live["spec"] == {"deep": {"b": 2}}


def test_what_an_update_owns_is_not_removed_by_an_applier_that_gives_it_up() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1", b="2"))
    live = update(CONFIG_MAP, live, {**live, "data": {"a": "9", "b": "2"}})
    live = apply(CONFIG_MAP, live, config_map(b="2"))
    assert live["data"] == {"a": "9", "b": "2"}


def test_giving_everything_up_ends_the_entry() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1"))
    live = apply(CONFIG_MAP, live, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})
    assert "data" not in live
    assert managers(live) == []


# Lists and maps of each type


def test_ports_meet_by_port_and_protocol_and_tcp_is_understood() -> None:
    def ports(*ports: Obj) -> Obj:
        return deployment({"name": "app", "image": "i", "ports": list(ports)})

    live = apply(DEPLOYMENT, None, ports({"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53}))
    wish = ports({"containerPort": 53, "name": "dns-tcp"}, {"containerPort": 53, "protocol": "UDP"})
    live = apply(DEPLOYMENT, live, wish)
    assert live["spec"]["template"]["spec"]["containers"][0]["ports"] == [
        {"containerPort": 53, "protocol": "TCP", "name": "dns-tcp"},
        {"containerPort": 53, "protocol": "UDP"},
    ]


def test_two_managers_share_a_list_map() -> None:
    live = apply(WIDGET, None, widget(parts=[{"id": 1, "count": 1}]))
    live = apply(WIDGET, live, widget(parts=[{"id": 2, "kind": "odd"}]), "two")
    assert live["spec"]["parts"] == [{"id": 1, "count": 1, "kind": "plain"}, {"id": 2, "kind": "odd"}]
    live = apply(WIDGET, live, widget(parts=[]))
    assert live["spec"]["parts"] == [{"id": 2, "kind": "odd"}]


def test_a_set_is_shared_by_value() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "finalizers": ["a/x", "a/y"]}}
    live = apply(POD, None, pod)
    live = apply(POD, live, {**pod, "metadata": {"name": "p", "finalizers": ["a/y", "a/z"]}}, "two")
    assert owned(live, "two") == ['.metadata.finalizers[="a/y"]', '.metadata.finalizers[="a/z"]']
    live = apply(POD, live, {**pod, "metadata": {"name": "p"}})
    assert live["metadata"]["finalizers"] == ["a/y", "a/z"]


def test_an_atomic_list_is_replaced_and_contested_whole() -> None:
    live = apply(WIDGET, None, widget(list=[1, 2]))
    assert owned(live, "one") == [".spec.list"]
    assert apply(WIDGET, live, widget(list=[2]))["spec"]["list"] == [2]
    with pytest.raises(ApplyConflict, match=r"\.spec\.list"):
        apply(WIDGET, live, widget(list=[1]), "two")


def test_an_atomic_map_is_replaced_whole() -> None:
    live = apply(WIDGET, None, widget(whole={"a": "1"}))
    assert apply(WIDGET, live, widget(whole={"b": "2"}))["spec"]["whole"] == {"b": "2"}


def test_untyped_maps_are_granular_and_their_lists_are_not() -> None:
    live = apply(WIDGET, None, widget(free={"a": {"b": 1}, "l": [{"x": 1}]}))
    live = apply(WIDGET, live, widget(free={"a": {"c": 2}}), "two")
    assert live["spec"]["free"] == {"a": {"b": 1, "c": 2}, "l": [{"x": 1}]}
    assert ".spec.free.l" in owned(live, "one")


def test_an_empty_map_owns_itself_and_an_empty_list_nothing() -> None:
    assert owned(apply(WIDGET, None, widget(labels={}, parts=[])), "one") == [".spec.labels"]


def test_a_null_is_owned_and_stored_only_where_the_schema_knows_null() -> None:
    live = apply(WIDGET, None, widget(word=None, size=1))
    assert live["spec"] == {"word": None, "size": 1}
    assert ".spec.word" in owned(live, "one")
    live = apply(DEPLOYMENT, None, deployment({"name": "app", "image": "i"}, replicas=None, minReadySeconds=None))
    assert live["spec"]["replicas"] == 1
    assert "minReadySeconds" not in live["spec"]


@pytest.mark.parametrize(
    ("live", "wish", "order"),
    [
        pytest.param([1, 2, 3], [3, 1], [2, 3, 1], id="the applied order wins"),
        pytest.param([1, 2, 3], [4], [1, 2, 3, 4], id="new at the end"),
        pytest.param([1, 2, 3], [1, 4, 3], [1, 2, 4, 3], id="others stay where they were"),
        pytest.param([1, 2], [2, 1], [2, 1], id="swapped"),
    ],
)
def test_items_of_others_keep_their_place(live: list[int], wish: list[int], order: list[int]) -> None:
    before = apply(WIDGET, None, widget(parts=[{"id": number} for number in live]))
    after = apply(WIDGET, before, widget(parts=[{"id": number} for number in wish]), "two")
    assert [part["id"] for part in after["spec"]["parts"]] == order


# What cannot be applied


@pytest.mark.parametrize(
    ("container", "text"),
    [
        pytest.param(
            {"name": "app", "colour": "blue"},
            '.spec.template.spec.containers[name="app"].colour: field not declared in schema',
            id="unknown field",
        ),
        pytest.param(
            {"image": "i"},
            ".spec.template.spec.containers: element 0: associative list with keys has an element that omits key "
            'field "name" (and doesn\'t have default value)',
            id="no key",
        ),
        pytest.param(
            {"name": "app", "ports": [{"containerPort": 1}, {"containerPort": 1, "protocol": "TCP"}]},
            '.spec.template.spec.containers[name="app"].ports: duplicate entries for key '
            '[containerPort=1,protocol="TCP"]',
            id="twice",
        ),
        pytest.param(
            {"name": "app", "stdin": "yes"},
            ".spec.template.spec.containers[name=\"app\"].stdin: expected boolean, got 'yes'",
            id="wrong type",
        ),
        pytest.param(
            {"name": "app", "ports": {}},
            '.spec.template.spec.containers[name="app"].ports: expected list, got {}',
            id="map for list",
        ),
        pytest.param(
            {"name": "app", "envFrom": [{"colour": "blue"}]},
            '.spec.template.spec.containers[name="app"].envFrom[0].colour: field not declared in schema',
            id="inside an atomic list",
        ),
    ],
)
def test_what_does_not_fit_the_schema_is_refused_with_its_place(container: Obj, text: str) -> None:
    with pytest.raises(ApplyRefused) as refusal:
        apply(DEPLOYMENT, None, deployment(container))
    assert str(refusal.value) == text


def test_an_applied_object_must_not_carry_managed_fields() -> None:
    live = apply(CONFIG_MAP, None, config_map(a="1"))
    with pytest.raises(ApplyRefused, match=r"metadata\.managedFields must be nil"):
        apply(CONFIG_MAP, live, live)


# Laws

SMALL = st.integers(0, 3)
WORDS = st.sampled_from(["a", "b", "c"])
PARTS = st.dictionaries(
    st.tuples(SMALL, st.sampled_from(["plain", "odd"])),
    st.fixed_dictionaries({}, optional={"count": SMALL}),
    max_size=3,
).map(lambda parts: [{"id": number, "kind": kind, **rest} for (number, kind), rest in parts.items()])
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "size": SMALL,
        "word": WORDS,
        "deep": st.fixed_dictionaries({}, optional={"a": SMALL, "b": SMALL}),
        "labels": st.dictionaries(WORDS, WORDS, max_size=3),
        "whole": st.dictionaries(WORDS, WORDS, max_size=2),
        "parts": PARTS,
        "tags": st.lists(WORDS, unique=True),
        "list": st.lists(SMALL, max_size=3),
        "free": st.dictionaries(WORDS, st.dictionaries(WORDS, SMALL, min_size=1, max_size=2), max_size=2),
    },
)


# Empty maps and lists own themselves or nothing (tested above); laws about fields are clearer without them.
SOLID = SPECS.map(lambda spec: {key: value for key, value in spec.items() if value not in ({}, [])}).filter(bool)


def sets(spec: Obj) -> Obj:
    return applied_fields(WIDGET.root, {"spec": spec})


@given(SPECS)
def test_applying_twice_changes_nothing(spec: Obj) -> None:
    live = apply(WIDGET, None, widget(**spec))
    assert server_side_apply(WIDGET, live, widget(**spec), manager="one", force=False, now="t9") is live


@given(SPECS, SPECS)
def test_after_an_apply_the_object_says_what_was_applied(first: Obj, second: Obj) -> None:
    live = apply(WIDGET, None, widget(**first))
    after = apply(WIDGET, live, widget(**second))
    alone = apply(WIDGET, None, widget(**second))
    # One manager alone: nothing of an earlier configuration is left behind.
    assert difference(sets(after["spec"]), sets(alone["spec"])) == {}
    # An empty list owns nothing, so one that takes the place of items may need a second apply to appear.
    settled = apply(WIDGET, after, widget(**second))
    assert settled == apply(WIDGET, settled, widget(**second))


def _apart(pair: tuple[Obj, Obj]) -> tuple[Obj, Obj]:
    """The second without what shares a field with the first."""
    first, second = pair
    return first, {key: value for key, value in second.items() if not intersection(sets(first), sets({key: value}))}


@given(st.tuples(SOLID, SOLID).map(_apart).filter(lambda pair: bool(pair[1])))
def test_managers_of_disjoint_fields_never_conflict_and_never_meet(pair: tuple[Obj, Obj]) -> None:
    first, second = pair
    alone = apply(WIDGET, None, widget(**first))
    both = apply(WIDGET, alone, widget(**second), "two")
    assert difference(union(sets(first), sets(second)), sets(both["spec"])) == {}
    back = apply(WIDGET, both, widget(), "two")
    assert sets(back["spec"]) == sets(alone["spec"])


@given(SPECS, SPECS)
def test_force_gives_everything_applied_to_the_applier(first: Obj, second: Obj) -> None:
    live = apply(WIDGET, None, widget(**first))
    after = apply(WIDGET, live, widget(**second), "two", force=True)
    assert set(owned(after, "two")) == {path_text(path) for path in members(sets(second))}


@given(SOLID, SOLID)
def test_after_an_update_each_changed_field_has_one_owner(first: Obj, second: Obj) -> None:
    live = apply(WIDGET, None, widget(**first))
    after = update(WIDGET, live, {**live, "spec": second})
    assert not set(owned(after, "one")) & set(owned(after, "ed", "Update"))
    everything = {path_text(path) for path in members(sets(second))}
    leaves = {path for path in everything if not any(other.startswith(path) and other != path for other in everything)}
    assert leaves <= set(owned(after, "one")) | set(owned(after, "ed", "Update"))


@given(SPECS, SPECS)
def test_no_argument_is_changed(first: Obj, second: Obj) -> None:
    live = apply(WIDGET, None, widget(**first))
    wish = widget(**second)
    before = deepcopy((live, wish))
    server_side_apply(WIDGET, live, wish, manager="two", force=True, now="t2")
    track_update(WIDGET, live, {**live, "spec": second}, manager="ed", now="t2")
    assert (live, wish) == before


PATHS = st.lists(
    st.lists(st.sampled_from(["f:a", "f:b", 'k:{"id":1}', 'v:"x"']), min_size=1, max_size=4).map(tuple), max_size=6
)


@given(PATHS)
def test_a_field_set_is_its_members_and_back(paths: list[tuple[str, ...]]) -> None:
    fields = from_members(paths)
    assert set(members(fields)) == set(paths)
    assert from_members(list(members(fields))) == fields


@given(PATHS, PATHS)
def test_field_sets_behave_as_sets(left: list[tuple[str, ...]], right: list[tuple[str, ...]]) -> None:
    one, two = from_members(left), from_members(right)
    assert set(members(union(one, two))) == set(left) | set(right)
    assert set(members(difference(one, two))) == set(left) - set(right)
    assert set(members(intersection(one, two))) == set(left) & set(right)
