"""What a dry run's answer changes: fields by path, server-set ones left out, secrets masked."""

from __future__ import annotations

from typing import Any

import pytest

from edge.model.plan import Action, FieldChange
from edge.policy.change import MASK, MOST_FIELDS, change_of
from edge.policy.crd_schema import OwnKinds


def obj(kind: str = "ConfigMap", **more: Any) -> dict[str, Any]:
    meta = {"name": "a", "namespace": "x", **more.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": meta, **more}


def test_what_is_not_there_is_created() -> None:
    assert change_of(None, obj()).action is Action.CREATE


@pytest.mark.parametrize(
    "more",
    [
        {"metadata": {"resourceVersion": "2", "generation": 4, "managedFields": [{}], "uid": "u"}},
        {"status": {"phase": "Active"}},
    ],
    ids=["metadata", "status"],
)
def test_what_the_server_sets_is_no_change(more: dict[str, Any]) -> None:
    assert change_of(obj(), obj(**more)).action is Action.NONE


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        pytest.param({"data": {"k": "1"}}, {"data": {"k": "2"}}, ("data.k", "1", "2"), id="value"),
        pytest.param({"data": {}}, {"data": {"k": "2"}}, ("data.k", None, "2"), id="added"),
        pytest.param({"data": {"k": "1"}}, {"data": {}}, ("data.k", "1", None), id="removed"),
        pytest.param({"data": {"a.b": "1"}}, {"data": {"a.b": "2"}}, ("data[a.b]", "1", "2"), id="key-with-a-dot"),
        pytest.param({"n": None}, {"n": True}, ("n", "null", "true"), id="words-of-json"),
        pytest.param({"n": 1}, {"n": "1"}, None, id="type"),
        pytest.param(
            {"c": [{"name": "x", "v": 1}, {"name": "y", "v": 1}]},
            {"c": [{"name": "y", "v": 2}, {"name": "x", "v": 1}]},
            ("c[name=y].v", "1", "2"),
            id="items-by-name",
        ),
        pytest.param({"c": ["a", "b"]}, {"c": ["a", "c"]}, ("c[1]", "b", "c"), id="items-by-place"),
        pytest.param({"c": [1, 2]}, {"c": [1]}, ("c[1]", "2", None), id="item-gone"),
    ],
)
def test_a_change_is_told_by_its_field(
    before: dict[str, Any], after: dict[str, Any], change: tuple[str, str | None, str | None] | None
) -> None:
    found = change_of(obj(**before), obj(**after))
    assert found.action is Action.CHANGE
    told = [(one.path, one.before, one.after) for one in found.fields]
    assert told == [change or ("n", "1", "1")]


def test_values_of_secrets_are_masked() -> None:
    before = obj("Secret", data={"k": "b2xk"}, metadata={"annotations": {"last": "old"}, "labels": {"v": "1"}})
    after = obj(
        "Secret", data={"k": "bmV3", "m": "bQ=="}, metadata={"annotations": {"last": "new"}, "labels": {"v": "2"}}
    )
    found = change_of(before, after)
    assert found.fields == (
        FieldChange(path="data.k", before=MASK, after=MASK),
        FieldChange(path="data.m", before=None, after=MASK),
        FieldChange(path="metadata.annotations.last", before=MASK, after=MASK),
        FieldChange(path="metadata.labels.v", before="1", after="2"),
    )


def test_long_values_and_many_fields_are_cut() -> None:
    texts = ("a" * 5000, "b\n" * 5000)
    before, after = (obj(data={str(n): text for n in range(MOST_FIELDS + 5)}) for text in texts)
    found = change_of(before, after)
    assert (len(found.fields), found.more_fields) == (MOST_FIELDS, 5)
    assert all(len(one.after or "") <= 200 and "\n" not in (one.after or "") for one in found.fields)


def crd(**spec: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"spec": {"type": "object", **spec}}}
    versions = [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]
    names = {"kind": "Widget", "plural": "widgets"}
    body = {"group": "ex.io", "names": names, "versions": versions}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {}, "spec": body}


@pytest.mark.parametrize(
    ("schema", "spec", "fault"),
    [
        pytest.param({"properties": {"n": {"type": "integer"}}}, {"n": 1}, "", id="fits"),
        pytest.param({"properties": {"n": {"type": "integer"}}}, {"n": "x"}, "spec.n", id="type"),
        pytest.param({"properties": {"n": {"type": "integer", "maximum": 2}}}, {"n": 3}, "spec.n", id="bound"),
        pytest.param({"required": ["n"]}, {}, "spec", id="required"),
        pytest.param({"properties": {"n": {}}}, {"m": 1}, "spec", id="unknown-field"),
        pytest.param({"properties": {}, "x-kubernetes-preserve-unknown-fields": True}, {"m": 1}, "", id="preserved"),
        pytest.param({"properties": {"n": {"type": "integer", "nullable": True}}}, {"n": None}, "", id="nullable"),
        pytest.param({"properties": {"n": {"x-kubernetes-int-or-string": True}}}, {"n": "50%"}, "", id="int-or-string"),
        pytest.param({"properties": {"n": {"type": "string", "format": "date"}}}, {"n": "soon"}, "", id="format"),
        pytest.param({"properties": {"n": {"type": "nothing"}}}, {}, "The definition's own schema", id="no-schema"),
    ],
)
def test_an_object_of_the_stamps_own_kind_is_held_against_its_schema(
    schema: dict[str, Any], spec: dict[str, Any], fault: str
) -> None:
    own = OwnKinds([crd(**schema)])
    assert own.define("ex.io/v2", "Widget")
    assert not own.define("other.io/v1", "Widget")
    widget = {"apiVersion": "ex.io/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec}
    faults = own.faults(widget)
    assert [text.startswith(fault) for text in faults] == ([True] if fault else [])


def test_a_version_that_the_definition_does_not_have_is_a_fault() -> None:
    (fault,) = OwnKinds([crd()]).faults({"apiVersion": "ex.io/v2", "kind": "Widget", "metadata": {"name": "w"}})
    assert "no version ex.io/v2" in fault
