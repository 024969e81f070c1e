"""Walks objects along their schema and says which fields they set, and what changed between two of them."""

from __future__ import annotations

from typing import Any, Final

from edge.lab.kube.fields import LEAF, SELF, FieldSet, key_element, path_text, value_element
from edge.lab.kube.schema_node import ANYTHING, MISSING, Json, Node


class NotTyped(Exception):
    """An object does not fit its schema, so nobody can own its fields. `str()` is the text a real server gives."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.path = ""

    def below(self, element: str) -> NotTyped:
        """The same, seen from one level up."""
        self.path = element + self.path
        return self

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


def child_of(node: Node, key: str) -> Node:
    """The node of a field; unknown fields of data without a shape are untyped."""
    return node.fields.get(key) or node.elem or ANYTHING


def element_of(node: Node, item: Any) -> str:
    """The path element of an item in a list map or set. NotTyped when a key is missing that has no default."""
    if not node.keys:
        return value_element(item)
    if not isinstance(item, dict):
        raise NotTyped(f"expected map, got {item!r}")
    keys = {}
    for key in node.keys:
        value = item.get(key)
        if value is None:
            value = node.key_defaults.get(key)
        if value is None:
            text = f'associative list with keys has an element that omits key field "{key}"'
            raise NotTyped(f"{text} (and doesn't have default value)")
        keys[key] = value
    return key_element(keys)


def applied_fields(node: Node, value: Json) -> FieldSet:
    """The fields that an applied configuration sets. NotTyped when it does not fit the schema."""
    found: FieldSet = {}
    fields = node.fields
    for key, below in value.items():
        child = fields.get(key)
        named = child is not None
        if child is None:
            child = node.elem or (ANYTHING if node.preserve else None)
            if child is None:
                raise NotTyped("field not declared in schema").below(f".{key}")
        try:
            owned = _owned(child, below)
        except NotTyped as problem:
            raise problem.below(f".{key}") from None
        if named and owned is not None:
            found[f"f:{key}"] = owned
        elif owned is not None or not named:
            found[f"f:{key}"] = {SELF: LEAF, **owned} if owned else LEAF
    return found


def _owned(node: Node, value: Any) -> FieldSet | None:
    """The set below a place; None when nothing is owned there: an empty list owns nothing, an empty map itself."""
    if value is None:
        return LEAF
    if node.leaf:
        if node.type and type(value) not in _TYPES[node.type]:
            raise NotTyped(f"expected {_EXPECTED[node.type]}, got {value!r}")
        if node.atomic:
            _check_inside(node, value)
        return LEAF
    if node.type == "array":
        if not isinstance(value, list):
            raise NotTyped(f"expected list, got {value!r}")
        return _owned_items(node, value) or None
    if node.type == "object" and not isinstance(value, dict):
        raise NotTyped(f"expected map, got {value!r}")
    return applied_fields(node, value) if isinstance(value, dict) else LEAF


def _check_inside(node: Node, value: Any) -> None:
    """What is owned in one piece must fit its schema all the same."""
    if isinstance(value, dict) and node.fields:
        applied_fields(node, value)
    elif isinstance(value, list) and node.elem is not None:
        for place, item in enumerate(value):
            try:
                _owned(node.elem, item)
            except NotTyped as problem:
                raise problem.below(f"[{place}]") from None


def _owned_items(node: Node, items: list[Any]) -> FieldSet:
    found: FieldSet = {}
    elem = node.elem or ANYTHING
    for place, item in enumerate(items):
        try:
            element = element_of(node, item)
        except NotTyped as problem:
            problem.text = f"element {place}: {problem.text}"
            raise
        if element in found:
            raise NotTyped(f"duplicate entries for key {path_text((element,))}")
        below = None if node.is_set else _owned_item(elem, item, element)
        found[element] = {SELF: LEAF, **below} if below else LEAF
    return found


def _owned_item(elem: Node, item: Any, element: str) -> FieldSet | None:
    try:
        return _owned(elem, item)
    except NotTyped as problem:
        raise problem.below(path_text((element,))) from None


_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int, float),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
}
_EXPECTED: Final = {
    "string": "string",
    "boolean": "boolean",
    "integer": "numeric (int or float)",
    "number": "numeric (int or float)",
    "object": "map",
    "array": "list",
}


def every_place(node: Node, value: Any) -> FieldSet:
    """The set of all places in a value, the place itself included, as for something added or removed whole."""
    below: FieldSet = {}
    if node.leaf or not value:
        return LEAF
    if isinstance(value, dict):
        below = {f"f:{key}": every_place(child_of(node, key), child) for key, child in value.items()}
    elif isinstance(value, list) and (node.keys or node.is_set):
        elem = node.elem or ANYTHING
        below = {element: every_place(elem, item) for element, item in items_by_element(node, value).items()}
    return {SELF: LEAF, **below} if below else LEAF


def items_by_element(node: Node, items: Any) -> dict[str, Any]:
    """The items of a stored list map or set by path element; items that cannot be told apart count once."""
    found: dict[str, Any] = {}
    for place, item in enumerate(items or ()):
        try:
            element = element_of(node, item)
        except NotTyped:
            element = f"i:{place}"
        found.setdefault(element, item)
    return found


def changes(node: Node, old: Any, new: Any) -> tuple[FieldSet, FieldSet]:
    """Below one place: what was added or got another value, and what was removed. Both may be empty."""
    if node.type == "array" and node.elem is not None:
        before, after = items_by_element(node, old), items_by_element(node, new)
        nodes = dict.fromkeys((*before, *after), node.elem)
    else:
        before = {f"f:{key}": value for key, value in (old or {}).items()}
        after = {f"f:{key}": value for key, value in (new or {}).items()}
        nodes = {element: child_of(node, element[2:]) for element in (*before, *after)}
    changed: FieldSet = {}
    removed = {key: every_place(nodes[key], value) for key, value in before.items() if key not in after}
    for key, value in after.items():
        more, less = _change(nodes[key], before.get(key, MISSING), value)
        if more is not None:
            changed[key] = more
        if less:
            removed[key] = less
    return changed, removed


def _change(node: Node, old: Any, new: Any) -> tuple[FieldSet | None, FieldSet]:
    """What changed at and below one place (None: nothing), and what was removed below it."""
    if old is new or (node.builtin and old == new):  # typed places cannot hold true for 1
        return None, LEAF
    if old is MISSING:
        return every_place(node, new), LEAF
    if _is_granular(node, old, new):
        more, less = changes(node, old, new)
        return more or None, less
    return (None if same(old, new) else LEAF), LEAF


def _is_granular(node: Node, old: Any, new: Any) -> bool:
    """Whether to look inside: both are containers of one kind (null is an empty one) and not both are empty."""
    if node.leaf or not (old or new):
        return False
    kinds = {type(each) for each in (old, new) if each is not None}
    return kinds == {dict} or (kinds == {list} and bool(node.keys or node.is_set))


def same(left: Any, right: Any) -> bool:
    """Equality as JSON has it: true is not 1."""
    return left is right or (left == right and isinstance(left, bool) == isinstance(right, bool))
