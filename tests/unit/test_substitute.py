"""Substitution: Flux's syntax, filled into parsed scalars, so that a value never becomes structure."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import InvalidInput
from edge.policy import substitute
from edge.policy.substitute import Filler, parse_template
from edge.policy.yaml_text import parse_documents


def take(text: str, plain: bool, line: int) -> object:
    return parse_template(text, plain=plain, file="app.yaml", line=line)


def fill(text: str, values: Mapping[str, str], texts: Collection[str] = ()) -> object:
    [document] = parse_documents(text, origin="app.yaml", take_template=take)
    return Filler(values, texts).fill(document)


def refused(text: str, values: Mapping[str, str], texts: Collection[str] = ()) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        fill(text, values, texts)
    return caught.value


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${name}", "mill"),
        ("a-${name}-b", "a-mill-b"),
        ("${name}${name}", "millmill"),
        ("${name:=other}", "mill"),
        ("${absent:=other}", "other"),
        ("${absent:-other}", "other"),
        ("${empty:=other}", "other"),
        ("'${empty}'", ""),
        ("'${absent:=}'", ""),
        ("${absent:=a:=b}", "a:=b"),
        ("$${name}", "${name}"),
        ("$${name} ${name}", "${name} mill"),
        ("$name $(name) $$ $", "$name $(name) $$ $"),
        ("some ${name}$${var$${name}$name${name}", "some mill${var${name}$namemill"),
        ("'5'", "5"),
    ],
)
def test_text_is_substituted_as_flux_does(text: str, filled: str) -> None:
    assert fill(f"field: {text}", {"name": "mill", "empty": ""}) == {"field": filled}


@pytest.mark.parametrize(
    ("text", "value", "typed"),
    [
        ("${n}", "3", 3),
        ("${n}", "true", True),
        ("'${n}'", "3", "3"),
        ('"${n}"', "no", "no"),
        ("!!str ${n}", "3", "3"),
        ("${n}0", "3", 30),
        ("${absent:=2}", "", 2),
        ("|-\n  ${n}", "3", "3"),
    ],
)
def test_only_an_unquoted_scalar_gets_its_type_from_the_value(text: str, value: str, typed: object) -> None:
    assert fill(f"field: {text}", {"n": value}) == {"field": typed}


@pytest.mark.parametrize(
    "text", ["${n", "${}", "${a b}", "${1a}", "${a,,}", "${a/b/c}", "${#a}", "${a:2}", "${a:=${b}}"]
)
def test_what_is_not_a_substitution_is_refused_with_its_place(text: str) -> None:
    error = refused(f"one: 1\nfield: '{text}'", {"a": "x", "b": "x", "n": "x"})
    assert error.where["file"] == "app.yaml"
    assert error.where["line"] == "2"


def test_an_unknown_variable_is_refused_with_file_line_and_name() -> None:
    error = refused("field:\n  - x\n  - ${absent}", {})
    assert (error.where["file"], error.where["line"], error.where["variable"]) == ("app.yaml", "3", "absent")


@pytest.mark.parametrize("value", ["1.10", "no", "0123", "1e3", "", "null", "~"])
def test_a_text_that_would_lose_its_type_is_refused(value: str) -> None:
    error = refused("version: ${v}", {"v": value}, {"v"})
    assert "quotes" in error.remedy
    assert fill('version: "${v}"', {"v": value}, {"v"}) == {"version": value}


def test_a_variable_in_a_comment_is_not_one() -> None:
    assert fill("# ${absent}\nfield: 1", {}) == {"field": 1}


HOSTILE = [
    "a: b",
    "# gone",
    "]\n}",
    "'",
    '"',
    "*alias",
    "&anchor",
    "!!binary x",
    "- x",
    "{a: 1}",
    "\n---\nkind: Pod",
    "${other}",
]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    "text", ["${v}", "'${v}'", '"x ${v}"', "|\n  ${v}"], ids=["plain", "single", "double", "block"]
)
def test_a_value_never_becomes_structure(text: str, value: str) -> None:
    filled = fill(f"before: 1\nfield: {text}\nafter: 2", {"v": value, "other": "secret"})
    assert isinstance(filled, dict)
    assert list(filled) == ["before", "field", "after"]
    assert isinstance(filled["field"], str)
    assert value in filled["field"]


@given(st.text())
@settings(deadline=None)
def test_any_value_is_filled_into_quotes_as_it_is(value: str) -> None:
    assert fill("field: 'a${v}b'", {"v": value}) == {"field": f"a{value}b"}


@given(st.text(st.sampled_from("${}:=-ab$ ")))
@settings(deadline=None)
def test_any_text_is_filled_to_text_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        template = parse_template(text, plain=False, file="f", line=1)
        assert isinstance(Filler({"a": "1", "b": "2", "ab": "3"}).fill(template), str)


def test_the_parsed_manifest_is_not_changed_by_filling_it() -> None:
    [document] = parse_documents("a: {b: ['${v}']}", origin="f", take_template=take)
    assert Filler({"v": "1"}).fill(document) == {"a": {"b": ["1"]}}
    assert Filler({"v": "2"}).fill(document) == {"a": {"b": ["2"]}}


def test_a_stamp_that_grows_without_end_is_refused() -> None:
    lines = "".join(f"k{i}: '{'${v}' * 100}'\n" for i in range(100))
    assert str(substitute.MAX_FILLED) in refused(lines, {"v": "x" * 4096}).what
