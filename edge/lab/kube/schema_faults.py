"""Says what is wrong with an object, in the words and with the reasons of a Kubernetes API server.

Built-in kinds speak as Go decoding and validation do (a wrong type is a decoding error), custom resources as the
OpenAPI validator does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from edge.lab.kube.schema_keywords import BUILTIN_KEYWORDS, KEYWORDS, canonical_json, is_quantity, shown
from edge.lab.kube.schema_node import Json, Node
from edge.lab.kube.schema_rules import rule_faults

INVALID: Final = "FieldValueInvalid"
REQUIRED: Final = "FieldValueRequired"
DUPLICATE: Final = "FieldValueDuplicate"
TYPE_INVALID: Final = "FieldValueTypeInvalid"


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One cause of a 422. `message` is the text after the field's path; `reason` is a `metav1.CauseType`.

    In a built-in kind a fault with reason `FieldValueTypeInvalid` is a decoding error: a real server answers 400 with
    `<kind> in version "<version>" cannot be handled as a <kind>: <message>`.
    """

    path: str
    reason: str
    message: str


def faults_of(root: Node, obj: Json, old: Json | None) -> list[FieldFault]:
    """Everything wrong with `obj`, in the order of its fields."""
    faults = list(_walk(root, obj, ""))
    # Rules read fields whatever their type, so they only make sense on an object that is right in form.
    return faults or [FieldFault(*fault) for fault in rule_faults(root, obj, old, "")]


def _walk(node: Node, value: Any, path: str) -> Iterator[FieldFault]:
    if value is None:
        if node.type and not node.nullable and not node.builtin:
            yield _type_fault(node, value, path)
    elif not _has_type(node, value):
        yield _type_fault(node, value, path)
    else:
        if node.constrained:
            yield from _closer(node, value, path)
        if isinstance(value, dict):
            yield from _walk_object(node, value, path)
        elif isinstance(value, list) and node.elem is not None:
            yield from _walk_list(node, node.elem, value, path)


def _has_type(node: Node, value: Any) -> bool:
    if node.int_or_string:
        return type(value) in (int, str)
    return is_quantity(value) if node.quantity else _TYPE_OK[node.type](value)


def _walk_object(node: Node, value: Json, path: str) -> Iterator[FieldFault]:
    dot = f"{path}." if path else ""
    for key in node.required:
        if value.get(key) is None and (node.builtin or key not in value):
            yield FieldFault(f"{dot}{key}", REQUIRED, "Required value")
    fields, elem = node.fields, node.elem
    for key, child in value.items():
        below = fields.get(key) or elem
        if below is not None and not (below.type == "string" and type(child) is str and not below.constrained):
            yield from _walk(below, child, f"{dot}{key}")


def _walk_list(node: Node, elem: Node, value: list[Any], path: str) -> Iterator[FieldFault]:
    if node.is_set or node.keys:
        yield from _duplicates(node, elem, value, path)
    for place, item in enumerate(value):
        # Go reads a null item as an empty one.
        empty = item is None and elem.builtin and elem.type == "object"
        yield from _walk(elem, {} if empty else item, f"{path}[{place}]")


def _duplicates(node: Node, elem: Node, value: list[Any], path: str) -> Iterator[FieldFault]:
    if node.builtin and elem.name not in _UNIQUE_ITEMS:
        return  # real servers let them pass, with a warning at most
    seen: set[str] = set()
    for place, item in enumerate(value):
        identity = item
        if node.keys:
            if not isinstance(item, dict):
                continue  # its type is a fault of its own
            identity = {key: item.get(key, node.key_defaults.get(key)) for key in node.keys}
        text = canonical_json(identity)
        if text in seen:
            yield _duplicate(node, identity, f"{path}[{place}]")
        seen.add(text)


def _duplicate(node: Node, identity: Any, path: str) -> FieldFault:
    if node.builtin and len(node.keys) == 1:
        return FieldFault(f"{path}.{node.keys[0]}", DUPLICATE, f"Duplicate value: {shown(identity[node.keys[0]])}")
    return FieldFault(path, DUPLICATE, f"Duplicate value: {shown(identity)}")


_UNIQUE_ITEMS: Final = frozenset(
    f"io.k8s.api.core.v1.{name}" for name in ("Container", "ServicePort", "Volume", "VolumeMount")
)


def _closer(node: Node, value: Any, path: str) -> Iterator[FieldFault]:
    checks = BUILTIN_KEYWORDS if node.builtin else KEYWORDS
    for word, limit in node.source.items():
        check = checks.get(word)
        found = check(value, limit) if check else None
        if found:
            reason, before, after = found
            yield FieldFault(path, reason, before if after is None else f"{before}{path}{after}")
    for word, nodes in node.alternatives.items():
        yield from _ALTERNATIVES[word](nodes, value, path)


def _all_of(nodes: tuple[Node, ...], value: Any, path: str) -> Iterator[FieldFault]:
    for node in nodes:
        yield from _walk(node, value, path)


def _any_of(nodes: tuple[Node, ...], value: Any, path: str) -> Iterator[FieldFault]:
    if not any(_fits(node, value, path) for node in nodes):
        yield _composite(path, "must validate at least one schema (anyOf)")


def _one_of(nodes: tuple[Node, ...], value: Any, path: str) -> Iterator[FieldFault]:
    count = sum(_fits(node, value, path) for node in nodes)
    if count != 1:
        found = f"Found {count} valid alternatives" if count else "Found none valid"
        yield _composite(path, f"must validate one and only one schema (oneOf). {found}")


def _none_of(nodes: tuple[Node, ...], value: Any, path: str) -> Iterator[FieldFault]:
    if _fits(nodes[0], value, path):
        yield _composite(path, "must not validate the schema (not)")


_ALTERNATIVES: Final[dict[str, Callable[[tuple[Node, ...], Any, str], Iterator[FieldFault]]]] = {
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _none_of,
}


def _composite(path: str, text: str) -> FieldFault:
    return FieldFault(path, INVALID, f'Invalid value: "": "{path}" {text}')


def _fits(node: Node, value: Any, path: str) -> bool:
    return next(_walk(node, value, path), None) is None


_TYPE_OK: Final[dict[str, Callable[[Any], bool]]] = {
    "": lambda _: True,
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: type(value) is int or (type(value) is float and value.is_integer()),
    "number": lambda value: type(value) in (int, float),
}

_TYPE_NAMES: Final = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    dict: "object",
    list: "array",
}


def _type_fault(node: Node, value: Any, path: str) -> FieldFault:
    have = _TYPE_NAMES[type(value)]
    if node.builtin:
        return FieldFault(path, TYPE_INVALID, _decoding_text(node, have, path))
    wanted = "integer or string" if node.int_or_string else node.type
    text = f'Invalid value: "{have}": {path} in body must be of type {wanted}: "{have}"'
    return FieldFault(path, TYPE_INVALID, text)


def _decoding_text(node: Node, have: str, path: str) -> str:
    if node.quantity:
        return "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    go_name = {"boolean": "bool", "integer": "number"}.get(have, have)
    return f"json: cannot unmarshal {go_name} into Go struct field {path} of type {_go_type(node)}"


def _go_type(node: Node | None) -> str:
    if node is None:
        return "interface {}"
    if node.type == "object":
        return f"v1.{node.name.rpartition('.')[2]}" if node.fields else f"map[string]{_go_type(node.elem)}"
    if node.type == "array":
        return f"[]{_go_type(node.elem)}"
    if node.type == "integer":
        return str(node.source.get("format", "int64"))
    return {"boolean": "bool", "number": "float64"}.get(node.type, "string")
