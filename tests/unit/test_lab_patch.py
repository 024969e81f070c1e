"""The lab's patch formats: JSON patch, merge patch and strategic merge patch with its directives."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lab.kube.patch import PatchRefused, json_patch, merge_patch, strategic_merge
from edge.lab.kube.schema import Schema, builtin_schema

Obj = dict[str, Any]


def schema_of(group: str, kind: str) -> Schema:
    found = builtin_schema(group, "v1", kind)
    assert found is not None
    return found


POD = schema_of("", "Pod")
DEPLOYMENT = schema_of("apps", "Deployment")


def pod(**spec: Any) -> Obj:
    return {"metadata": {"name": "p"}, "spec": spec}


def strategic(before: Obj, patch: Obj) -> Obj:
    """The spec of a pod after a strategic merge patch of its spec."""
    after: Obj = strategic_merge(POD, pod(**before), {"spec": patch})["spec"]
    return after


# JSON patch

DOC: Obj = {"a": {"b": [1, 2, 3]}, "x/y": 1, "m~n": 2}


@pytest.mark.parametrize(
    ("op", "want"),
    [
        pytest.param({"op": "add", "path": "/a/c", "value": 1}, {**DOC, "a": {"b": [1, 2, 3], "c": 1}}, id="add"),
        pytest.param({"op": "add", "path": "/a/b/1", "value": 9}, {**DOC, "a": {"b": [1, 9, 2, 3]}}, id="insert"),
        pytest.param({"op": "add", "path": "/a/b/3", "value": 9}, {**DOC, "a": {"b": [1, 2, 3, 9]}}, id="one past"),
        pytest.param({"op": "add", "path": "/a/b/-", "value": 9}, {**DOC, "a": {"b": [1, 2, 3, 9]}}, id="append"),
        pytest.param({"op": "add", "path": "", "value": {"n": 1}}, {"n": 1}, id="whole"),
        pytest.param({"op": "remove", "path": "/a/b/0"}, {**DOC, "a": {"b": [2, 3]}}, id="remove"),
        pytest.param({"op": "replace", "path": "/a/b", "value": 0}, {**DOC, "a": {"b": 0}}, id="replace"),
        pytest.param({"op": "replace", "path": "/x~1y", "value": 0}, {**DOC, "x/y": 0}, id="slash"),
        pytest.param({"op": "replace", "path": "/m~0n", "value": 0}, {**DOC, "m~n": 0}, id="tilde"),
        pytest.param({"op": "move", "from": "/a/b/0", "path": "/z"}, {**DOC, "a": {"b": [2, 3]}, "z": 1}, id="move"),
        pytest.param({"op": "copy", "from": "/a", "path": "/z"}, {**DOC, "z": {"b": [1, 2, 3]}}, id="copy"),
        pytest.param({"op": "test", "path": "/a", "value": {"b": [1, 2, 3]}}, DOC, id="test"),
    ],
)
def test_an_operation_does_what_the_standard_says(op: Obj, want: Obj) -> None:
    before = deepcopy(DOC)
    assert json_patch(before, [op]) == want
    assert before == DOC


@pytest.mark.parametrize(
    "op",
    [
        pytest.param({"op": "remove", "path": "/nope"}, id="remove what is not there"),
        pytest.param({"op": "replace", "path": "/nope", "value": 1}, id="replace what is not there"),
        pytest.param({"op": "add", "path": "/nope/x", "value": 1}, id="no parent"),
        pytest.param({"op": "add", "path": "/a/b/4", "value": 1}, id="index past the end"),
        pytest.param({"op": "add", "path": "/a/b/01", "value": 1}, id="leading zero"),
        pytest.param({"op": "add", "path": "/a/b/x", "value": 1}, id="no index"),
        pytest.param({"op": "add", "path": "/x~1y/z", "value": 1}, id="below a number"),
        pytest.param({"op": "add", "path": "a", "value": 1}, id="no pointer"),
        pytest.param({"op": "add", "path": "/a"}, id="no value"),
        pytest.param({"op": "test", "path": "/x~1y", "value": True}, id="true is not 1"),
        pytest.param({"op": "move", "from": "/a", "path": "/a/b/0"}, id="into itself"),
        pytest.param({"op": "paint", "path": "/a"}, id="unknown operation"),
        pytest.param("add", id="not an object"),
    ],
)
def test_an_operation_that_does_not_apply_is_refused(op: Any) -> None:
    with pytest.raises(PatchRefused):
        json_patch(DOC, [op])


def test_a_failing_operation_leaves_everything_as_it_was() -> None:
    before = deepcopy(DOC)
    with pytest.raises(PatchRefused, match="testing value /a failed"):
        json_patch(before, [{"op": "remove", "path": "/m~0n"}, {"op": "test", "path": "/a", "value": 1}])
    assert before == DOC


def test_a_json_patch_is_a_list() -> None:
    with pytest.raises(PatchRefused):
        json_patch(DOC, {"op": "remove", "path": "/a"})


# Merge patch


def test_a_merge_patch_merges_deletes_and_replaces() -> None:
    before = {"keep": 1, "drop": 1, "map": {"a": 1, "b": 2}, "list": [1, 2], "text": "x"}
    patch = {
        "drop": None,
        "absent": None,
        "map": {"b": None, "c": 3},
        "list": [3],
        "text": {"now": {"a": None, "b": 1}},
    }
    assert merge_patch(before, patch) == {
        "keep": 1,
        "map": {"a": 1, "c": 3},
        "list": [3],
        "text": {"now": {"b": 1}},
    }


JSON = st.recursive(
    st.integers(0, 2) | st.sampled_from(["x", "y"]),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=8,
)
MAPS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


def merge_diff(before: Obj, after: Obj) -> Obj:
    patch: Obj = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            patch[key] = merge_diff(old, value)
        elif old != value or key not in before:
            patch[key] = value
    return patch


@given(MAPS, MAPS)
def test_a_merge_patch_made_from_two_objects_leads_from_one_to_the_other(before: Obj, after: Obj) -> None:
    assert merge_patch(before, merge_diff(before, after)) == after


# Strategic merge patch


def test_containers_meet_by_name() -> None:
    before = {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}
    after = strategic(before, {"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "3"}]})
    assert after["containers"] == [
        {"name": "a", "image": "1"},
        {"name": "b", "image": "2"},
        {"name": "c", "image": "3"},
    ]


def test_a_list_without_a_merge_key_is_replaced() -> None:
    before = {"tolerations": [{"key": "a"}], "containers": [{"name": "a", "args": ["1", "2"]}]}
    after = strategic(before, {"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["3"]}]})
    assert after == {"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["3"]}]}


def test_a_primitive_list_is_joined() -> None:
    before = {"metadata": {"finalizers": ["a", "b"]}}
    assert strategic_merge(POD, before, {"metadata": {"finalizers": ["b", "c"]}})["metadata"]["finalizers"] == [
        "a",
        "b",
        "c",
    ]


def test_a_null_deletes_also_inside_an_item() -> None:
    before = {"hostNetwork": True, "containers": [{"name": "a", "image": "1", "command": ["x"]}]}
    after = strategic(before, {"hostNetwork": None, "containers": [{"name": "a", "command": None}]})
    assert after == {"containers": [{"name": "a", "image": "1"}]}


def test_items_are_deleted_by_directive() -> None:
    before = {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}
    patch = {"containers": [{"name": "a", "$patch": "delete"}, {"name": "c", "image": "3"}]}
    assert [each["name"] for each in strategic(before, patch)["containers"]] == ["b", "c"]


def test_a_list_is_replaced_by_directive() -> None:
    before = {"containers": [{"name": "a", "image": "1"}]}
    patch = {"containers": [{"$patch": "replace"}, {"name": "z", "image": "9"}]}
    assert strategic(before, patch)["containers"] == [{"name": "z", "image": "9"}]


@pytest.mark.parametrize(
    ("directive", "after"),
    [
        pytest.param("replace", {"runAsUser": 1}, id="replace"),
        pytest.param("delete", {}, id="delete"),
        pytest.param("merge", {"runAsNonRoot": True, "runAsUser": 1}, id="merge"),
    ],
)
def test_a_map_follows_its_directive(directive: str, after: Obj) -> None:
    patch = {"securityContext": {"$patch": directive, "runAsUser": 1}}
    assert strategic({"securityContext": {"runAsNonRoot": True}}, patch)["securityContext"] == after


def test_values_are_taken_out_of_a_primitive_list() -> None:
    before = {"metadata": {"finalizers": ["a", "b", "c"]}}
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "c"]}}
    assert strategic_merge(POD, before, patch)["metadata"]["finalizers"] == ["b"]


def test_retain_keys_clears_the_other_members_of_a_union() -> None:
    before = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic_merge(DEPLOYMENT, before, patch)["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    ("before", "patch", "order", "after"),
    [
        pytest.param(["a", "b"], [], ["b", "a"], ["b", "a"], id="reordered"),
        pytest.param(["a", "b"], ["c"], ["c", "a", "b"], ["c", "a", "b"], id="a new one first"),
        pytest.param(["a", "x", "b"], [], ["b", "a"], ["x", "b", "a"], id="one of the server's keeps before b"),
        pytest.param(["a", "x"], ["b"], ["a", "b"], ["a", "b", "x"], id="one of the server's after a"),
    ],
)
def test_the_order_of_items_follows_the_directive(
    before: list[str], patch: list[str], order: list[str], after: list[str]
) -> None:
    def items(names: list[str]) -> list[Obj]:
        return [{"name": name} for name in names]

    wish = {"containers": items(patch), "$setElementOrder/containers": items(order)}
    assert strategic({"containers": items(before)}, wish)["containers"] == items(after)


def test_directives_never_end_up_in_the_object() -> None:
    patch = {"volumes": [{"name": "v", "$retainKeys": ["name", "emptyDir"], "emptyDir": {}}]}
    assert strategic({}, {**patch, "$setElementOrder/volumes": [{"name": "v"}]}) == {
        "volumes": [{"name": "v", "emptyDir": {}}]
    }


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param({"containers": [{"image": "1"}]}, id="no merge key"),
        pytest.param({"containers": ["a"]}, id="not a map"),
        pytest.param({"securityContext": {"$patch": "paint"}}, id="unknown directive"),
        pytest.param({"$retainKeys": "name"}, id="retainKeys is no list"),
        pytest.param({"$retainKeys": ["a"], "hostname": "h"}, id="retainKeys misses a field"),
        pytest.param({"$setElementOrder/containers": "a"}, id="order is no list"),
    ],
)
def test_a_wrong_strategic_patch_is_refused(patch: Obj) -> None:
    with pytest.raises(PatchRefused):
        strategic({"containers": [{"name": "a"}]}, patch)


NAMES = st.sampled_from("abcd")
CONTAINERS = st.dictionaries(
    NAMES,
    st.fixed_dictionaries(
        {},
        optional={
            "image": NAMES,
            "args": st.lists(NAMES, max_size=2),
            "env": st.dictionaries(NAMES, NAMES, max_size=3).map(
                lambda env: [{"name": name, "value": value} for name, value in env.items()]
            ),
        },
    ),
    max_size=4,
).map(lambda found: [{"name": name, **rest} for name, rest in found.items()])
PODS = st.fixed_dictionaries(
    {},
    optional={
        "containers": CONTAINERS,
        "hostname": NAMES,
        "nodeSelector": st.dictionaries(NAMES, NAMES, max_size=3),
        "tolerations": st.lists(st.fixed_dictionaries({"key": NAMES}), max_size=2),
    },
)


def strategic_diff(before: Obj, after: Obj) -> Obj:
    """The patch a client sends: what was deleted, what was added or changed, and the order of keyed lists."""
    patch: Obj = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if key in ("containers", "env") and isinstance(old, list):
            patch.update(_list_diff(key, old, value))
        elif isinstance(old, dict) and isinstance(value, dict):
            patch[key] = strategic_diff(old, value)
        elif old != value:
            patch[key] = value
    return patch


def _list_diff(field: str, before: list[Obj], after: list[Obj]) -> Obj:
    old, new = ({item["name"]: item for item in items} for items in (before, after))
    deleted = [{"name": name, "$patch": "delete"} for name in old if name not in new]
    changed = [{"name": name, **strategic_diff(old.get(name, {}), item)} for name, item in new.items()]
    return {field: [*changed, *deleted], f"$setElementOrder/{field}": [{"name": name} for name in new]}


@given(PODS, PODS)
def test_a_strategic_patch_made_from_two_objects_leads_from_one_to_the_other(before: Obj, after: Obj) -> None:
    given_before = deepcopy(before)
    assert strategic(before, strategic_diff(before, after)) == after
    assert before == given_before
