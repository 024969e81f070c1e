"""Strict YAML: what is read as what, and what is refused with its place."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import InvalidInput
from edge.policy.yaml_text import MAX_DEPTH, parse_documents, parse_yaml


def parse(text: str | bytes) -> object:
    return parse_yaml(text, origin="file.yaml")


def parse_list(text: str) -> list[object]:
    parsed = parse(text)
    assert isinstance(parsed, list)
    return parsed


def refused(text: str | bytes) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    return caught.value


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("yes", True),
        ("On", True),
        ("y", True),
        ("NO", False),
        ("off", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("0", 0),
        ("-7", -7),
        ("0644", 420),
        ("0o644", 420),
        ("0x1F", 31),
        ("-0b11", -3),
        ("1_000", 1000),
        ("18446744073709551615", 2**64 - 1),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("09", 9.0),
        ("2026-01-31", "2026-01-31"),
        ("1:30", "1:30"),
        ("1.2.3", "1.2.3"),
        ("-x", "-x"),
        ("yEs", "yEs"),
        ("'no'", "no"),
        ("!!str 5", "5"),
        ("! 5", "5"),
    ],
    ids=repr,
)
def test_a_scalar_means_what_it_means_to_kubernetes(plain: str, value: object) -> None:
    [parsed] = parse_list(f"- {plain}")
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "what", "field"),
    [
        ("a: {b: 1, b: 2}", "twice", "a.b"),
        ("a: &x 1", "Anchors", "a"),
        ("a: *x", "Anchors", "a"),
        ("8080: x", "must be text", "<key>"),
        ("on: x", "must be text", "<key>"),
        ("[1, 2]: x", "must be text", "<key>"),
        ("<<: {a: 1}", "Merge keys", "<key>"),
        ("a: .nan", "NaN", "a"),
        ("a: [1, -.inf]", "Infinity", "a.1"),
        ("a: 99999999999999999999", "64 bits", "a"),
        ("a: 1e999", "too large", "a"),
        ("a: " + "9" * 5000, "too long", "a"),
        ("a: !!binary aGk=", "tag", "a"),
        ("a: !!python/object/apply:os.system [x]", "tag", "a"),
        ("a: !!map {}", "tag", "a"),
        ("a: 1\n---\nb: 2", "several documents", None),
        ("a: [", "not YAML", "a"),
        ("a:\n\tb: 1", "not YAML", "a"),
    ],
    ids=lambda case: str(case)[:24],
)
def test_bad_text_is_refused_with_its_place(text: str, what: str, field: str | None) -> None:
    error = refused(text)
    assert what in error.what
    assert error.where.get("field") == field
    assert error.where["file"] == "file.yaml"
    assert int(error.where["line"]) >= 1
    assert int(error.where["column"]) >= 1


@pytest.mark.parametrize(
    "text",
    [b"\xff\xfe", "a: \ud800", "a: \x00", 'a: "\\ud800"'],
    ids=["not utf-8", "half a character", "control character", "escaped half"],
)
def test_text_that_is_not_unicode_is_refused(text: str | bytes) -> None:
    assert refused(text).where["file"] == "file.yaml"


def test_a_number_that_is_refused_is_not_quoted_since_it_may_be_a_secret() -> None:
    assert "9999" not in str(refused("token: 99999999999999999999"))


def test_a_quoted_merge_key_is_a_key() -> None:
    assert parse('"<<": 1') == {"<<": 1}


def test_a_byte_order_mark_is_skipped() -> None:
    assert parse(b"\xef\xbb\xbfa: 1") == {"a": 1}


def test_an_empty_text_is_none() -> None:
    assert parse("# nothing\n") is None


def test_empty_documents_are_left_out() -> None:
    text = "---\n# a comment\n---\na: 1\n---\n---\nb: 2\n"
    assert parse_documents(text, origin="f") == [{"a": 1}, {"b": 2}]


def test_a_text_that_is_too_large_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(InvalidInput, match="too large") as caught:
        parse_yaml("[" * 50_000_000, origin="f")
    assert caught.value.where["value"] == "50000000 bytes"


def test_size_is_counted_in_bytes() -> None:
    with pytest.raises(InvalidInput, match="too large"):
        parse_yaml("é" * 6, origin="f", max_bytes=11)


@pytest.mark.parametrize(
    "opening", ["[", "{a: ", "- ", "? "], ids=["flow list", "flow map", "block list", "complex key"]
)
def test_depth_is_refused_while_reading(opening: str) -> None:
    # libyaml alone needs minutes for the first of these.
    assert "nested deeper" in refused(opening * 240_000).what


def test_depth_up_to_the_limit_is_read() -> None:
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a: &a [x, x]"] + [
        f"{name}: &{name} [*{below}, *{below}]" for name, below in zip("bcdef", "abcde", strict=True)
    ]
    assert "Anchors" in refused("\n".join(lines)).what


PRINTABLE = st.text(st.characters(categories=("L", "N", "P", "S", "Zs"), exclude_characters="\ufeff"))
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | PRINTABLE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PRINTABLE, inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
@settings(deadline=None)
def test_json_is_read_as_json(value: object) -> None:
    assert parse(json.dumps(value, ensure_ascii=False)) == value


@given(st.text() | st.binary())
@settings(deadline=None)
def test_any_text_gives_a_value_or_invalid_input(text: str | bytes) -> None:
    with contextlib.suppress(InvalidInput):
        parse(text)
