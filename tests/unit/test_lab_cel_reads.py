"""What a CEL expression can read of its variables."""

from __future__ import annotations

import pytest

from edge.lab.kube.cel_functions import CelFault, compiled, surroundings
from edge.lab.kube.cel_reads import Tree, joined, reads, trimmed


@pytest.mark.parametrize(
    ("source", "tree"),
    [
        ("object.spec.replicas < 3", {"object": {"spec": {"replicas": None}}}),
        ("object.data.size() < 3", {"object": {"data": None}}),
        ("has(object.spec) && object.spec.x == 1", {"object": {"spec": None}}),
        ("object.a == 1 && object == null", {"object": None}),
        ("object['a'].b == object.c", {"object": None}),
        ("object.a.all(x, x.object.b)", {"object": {"a": None, "b": None}}),
        ("true", {}),
    ],
    ids=["path", "method", "prefix", "whole", "index", "loop", "nothing"],
)
def test_paths_are_read_from_the_text(source: str, tree: Tree) -> None:
    assert reads(source, ("object",)) == tree


def test_values_keep_what_somebody_reads() -> None:
    tree = joined([{"object": {"a": {"b": None}}}, {"object": {"c": None}}, {"other": None}])
    values = {"object": {"a": {"b": 1, "x": 2}, "c": {"d": 3}, "y": 4}, "other": [5], "z": 6}
    assert trimmed(values, tree) == {"object": {"a": {"b": 1}, "c": {"d": 3}}, "other": [5]}
    assert trimmed({"object": None}, tree) == {"object": None}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("x.lowerAscii().substring(1)", "bc"),
        ("'%s has %d'.format([x, 2])", "ABC has 2"),
        ("quantity('1Gi').isGreaterThan(quantity('1G'))", True),
        ("quantity('500m').compareTo(quantity('0.5'))", 0),
        ("x.split('B').join('-')", "A-C"),
        ("isQuantity('1Gi') && !isQuantity('1 pound')", True),
    ],
    ids=["text", "format", "quantity", "compare", "parts", "is-quantity"],
)
def test_the_functions_of_an_api_server_are_there(source: str, value: object) -> None:
    expression = compiled(source)
    assert expression(surroundings({"x": "ABC"}, expression)) == value


@pytest.mark.parametrize(
    ("source", "fault"),
    [("x.y", "no such overload"), ("{'a': 1}.b", "no such key: b"), ("x.substring(9)", "outside"), ("y", "Undefined")],
    ids=["type", "key", "range", "name"],
)
def test_what_has_no_value_says_why(source: str, fault: str) -> None:
    expression = compiled(source)
    with pytest.raises(CelFault, match=fault):
        expression(surroundings({"x": "ABC"}, expression))
