"""Label and field selectors of the lab's API server."""

from __future__ import annotations

from typing import Any

import pytest

from edge.lab.kube.errors import ApiError
from edge.lab.kube.selectors import both, field_selector, label_selector, matches


def _obj(**labels: str) -> dict[str, Any]:
    return {"metadata": {"name": "n", "labels": labels}, "spec": {"nodeName": "x", "hostNetwork": True}}


@pytest.mark.parametrize(
    ("text", "labels", "selected"),
    [
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a!=b", {}, True),
        ("a in (b, c)", {"a": "c"}, True),
        ("a in (b,c),d", {"a": "c"}, False),
        ("a notin (b)", {}, True),
        ("a notin (b)", {"a": "b"}, False),
        ("!a", {"a": ""}, False),
        ("a=", {"a": ""}, True),
        ("a>3", {"a": "x"}, False),
        ("a<3", {"a": "-4"}, True),
        ("example.com/role=front", {"example.com/role": "front"}, True),
    ],
)
def test_a_label_selector_selects(text: str, labels: dict[str, str], selected: bool) -> None:
    wanted = label_selector(text)
    assert wanted is not None
    assert wanted(_obj(**labels)) == selected


@pytest.mark.parametrize("text", ["a b", "a=b c", "(a)", "a in b", "=b"])
def test_a_label_selector_that_cannot_be_read_is_400(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        label_selector(text)
    assert refused.value.code == 400


def test_an_empty_selector_selects_everything() -> None:
    assert label_selector("") is None
    assert field_selector(" ", "Pod") is None
    assert both(None, None) is None


def test_two_selectors_must_both_hold() -> None:
    wanted = both(label_selector("a=b"), field_selector("spec.nodeName=x", "Pod"))
    assert wanted is not None
    assert wanted(_obj(a="b"))
    assert not wanted(_obj(a="c"))


def test_field_selectors_compare_as_text() -> None:
    wanted = field_selector("spec.hostNetwork=true,status.phase!=Running", "Pod")
    assert wanted is not None
    assert wanted(_obj())


def test_a_field_that_is_not_indexed_is_400() -> None:
    with pytest.raises(ApiError) as refused:
        field_selector("spec.replicas=1", "Deployment")
    assert refused.value.message == "field label not supported: spec.replicas"


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ({"key": "a", "operator": "In", "values": ["b"]}, True),
        ({"key": "a", "operator": "NotIn", "values": ["b"]}, False),
        ({"key": "a", "operator": "Exists"}, True),
        ({"key": "a", "operator": "DoesNotExist"}, False),
    ],
    ids=["in", "not-in", "exists", "absent"],
)
def test_a_selector_object_matches_labels(expression: dict[str, Any], selected: bool) -> None:
    assert matches({"matchExpressions": [expression]}, {"a": "b"}) == selected
    assert matches({"matchLabels": {"a": "b"}, "matchExpressions": [expression]}, {"a": "b"}) == selected


def test_no_selector_selects_nothing_and_an_empty_one_everything() -> None:
    assert not matches(None, {"a": "b"})
    assert matches({}, {"a": "b"})
