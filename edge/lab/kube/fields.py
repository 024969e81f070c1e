"""Sets of fields, in the `fieldsV1` form in which Kubernetes keeps who owns what.

The JSON form itself is the working form: a dictionary whose keys are path elements (`f:name`, `k:{"name":"app"}`,
`v:"finalizer"`) and whose values are the sets below. An empty dictionary, or one with the key ".", says that the place
itself is a member. At the top an empty dictionary is the empty set. Every function returns a new set or one of its
arguments unchanged; none changes an argument.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import orjson

FieldSet = dict[str, Any]

SELF: Final = "."
LEAF: Final[FieldSet] = {}
"""A member without anything below it. Shared: never change it."""


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in either set."""
    if not left or left is right:
        return right
    return _union(left, right) if right else left


def _union(left: FieldSet, right: FieldSet) -> FieldSet:
    if left == right:
        return left
    if not left or not right:
        return {SELF: LEAF, **(left or right)}
    joined = dict(left)
    for key, below in right.items():
        known = joined.get(key)
        joined[key] = below if known is None else _union(known, below)
    return joined


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in `left` and not in `right`."""
    return (_difference(left, right) or {}) if left and right else left


def _difference(left: FieldSet, right: FieldSet) -> FieldSet | None:
    member = _is_member(left) and not _is_member(right)
    rest: FieldSet = {SELF: LEAF} if member else {}
    for key, below in left.items():
        if key == SELF:
            continue
        other = right.get(key)
        kept = below if other is None else _difference(below, other)
        if kept is not None:
            rest[key] = kept
    if member and len(rest) == 1:
        return LEAF
    return rest or None


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in both sets."""
    return (_intersection(left, right) or {}) if left and right else {}


def _intersection(left: FieldSet, right: FieldSet) -> FieldSet | None:
    member = _is_member(left) and _is_member(right)
    both: FieldSet = {SELF: LEAF} if member else {}
    for key, below in left.items():
        other = right.get(key)
        if key != SELF and other is not None:
            shared = _intersection(below, other)
            if shared is not None:
                both[key] = shared
    if member and len(both) == 1:
        return LEAF
    return both or None


def _is_member(below: FieldSet) -> bool:
    return not below or SELF in below


def members(fields: FieldSet) -> Iterator[tuple[str, ...]]:
    """The path of every member, as tuples of path elements, in sorted order."""
    for key in sorted(fields):
        if key != SELF:
            below = fields[key]
            if _is_member(below):
                yield (key,)
            for rest in members(below):
                yield (key, *rest)


def from_members(paths: Iterator[tuple[str, ...]] | list[tuple[str, ...]]) -> FieldSet:
    """The set with exactly these members."""
    fields: FieldSet = {}
    for path in paths:
        fields = union(fields, _single(path))
    return fields


def _single(path: tuple[str, ...]) -> FieldSet:
    below: FieldSet = LEAF
    for key in reversed(path):
        below = {key: below}
    return below


def path_text(path: tuple[str, ...]) -> str:
    """A path as Kubernetes writes it: `.spec.containers[name="app"].image`."""
    return "".join(_element_text(element) for element in path)


def _element_text(element: str) -> str:
    kind, rest = element[:2], element[2:]
    if kind == "f:":
        return f".{rest}"
    if kind == "k:":
        return f"[{','.join(f'{key}={json.dumps(value)}' for key, value in json.loads(rest).items())}]"
    return f"[={rest}]" if kind == "v:" else f"[{rest}]"


def key_element(keys: dict[str, Any]) -> str:
    """The path element of a list map's item; `keys` must hold all its keys."""
    return "k:" + orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()


def value_element(value: Any) -> str:
    """The path element of a set's item."""
    return "v:" + orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
