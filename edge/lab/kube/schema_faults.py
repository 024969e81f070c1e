"""Says what is wrong with an object, in the words and with the reasons of a Kubernetes API server.

Built-in kinds speak as Go decoding and validation do (a wrong type is a decoding error), custom resources as the
OpenAPI validator does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from edge.lab.kube.schema_keywords import canonical_json, is_quantity, shown
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
    faults: list[FieldFault] = []
    _walk(root, obj, "", faults)
    # Rules read fields whatever their type, so they only make sense on an object that is right in form.
    return faults or [FieldFault(*fault) for fault in rule_faults(root, obj, old, "")]


def _walk(node: Node, value: Any, path: str, faults: list[FieldFault]) -> None:
    if value is None:
        if node.type and not node.nullable and not node.builtin:
            faults.append(_type_fault(node, value, path))
    elif not _has_type(node, value):
        faults.append(_type_fault(node, value, path))
    else:
        if node.constrained:
            _closer(node, value, path, faults)
        if isinstance(value, dict):
            _walk_object(node, value, path, faults)
        elif isinstance(value, list) and node.elem is not None:
            _walk_list(node, node.elem, value, path, faults)


def _has_type(node: Node, value: Any) -> bool:
    if node.int_or_string:
        return type(value) in (int, str)
    return is_quantity(value) if node.quantity else _TYPE_OK[node.type](value)


def _walk_object(node: Node, value: Json, path: str, faults: list[FieldFault]) -> None:
    dot = f"{path}." if path else ""
    for key in node.required:
        if value.get(key) is None and (node.builtin or key not in value):
            faults.append(FieldFault(f"{dot}{key}", REQUIRED, "Required value"))
    fields, elem = node.fields, node.elem
    for key, child in value.items():
        below = fields.get(key) or elem
        if below is not None and (below.constrained or type(child) is not str or below.type != "string"):
            _walk(below, child, f"{dot}{key}", faults)


def _walk_list(node: Node, elem: Node, value: list[Any], path: str, faults: list[FieldFault]) -> None:
    if len(value) > 1 and (node.is_set or node.keys):
        faults.extend(_duplicates(node, elem, value, path))
    if elem.type == "string" and not elem.constrained and all(type(item) is str for item in value):
        return
    for place, item in enumerate(value):
        # Go reads a null item as an empty one.
        empty = item is None and elem.builtin and elem.type == "object"
        _walk(elem, {} if empty else item, f"{path}[{place}]", faults)


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


def _closer(node: Node, value: Any, path: str, faults: list[FieldFault]) -> None:
    for check, limit in node.checks:
        found = check(value, limit)
        if found:
            reason, before, after = found
            faults.append(FieldFault(path, reason, before if after is None else f"{before}{path}{after}"))
    for word, nodes in node.alternatives.items():
        faults.extend(_ALTERNATIVES[word](nodes, value, path))


def _all_of(nodes: tuple[Node, ...], value: Any, path: str) -> list[FieldFault]:
    return [fault for node in nodes for fault in _against(node, value, path)]


def _any_of(nodes: tuple[Node, ...], value: Any, path: str) -> list[FieldFault]:
    if all(_against(node, value, path) for node in nodes):
        return [_composite(path, "must validate at least one schema (anyOf)")]
    return []


def _one_of(nodes: tuple[Node, ...], value: Any, path: str) -> list[FieldFault]:
    count = sum(not _against(node, value, path) for node in nodes)
    if count == 1:
        return []
    found = f"Found {count} valid alternatives" if count else "Found none valid"
    return [_composite(path, f"must validate one and only one schema (oneOf). {found}")]


def _none_of(nodes: tuple[Node, ...], value: Any, path: str) -> list[FieldFault]:
    return [] if _against(nodes[0], value, path) else [_composite(path, "must not validate the schema (not)")]


def _against(node: Node, value: Any, path: str) -> list[FieldFault]:
    faults: list[FieldFault] = []
    _walk(node, value, path, faults)
    return faults


_ALTERNATIVES: Final[dict[str, Callable[[tuple[Node, ...], Any, str], list[FieldFault]]]] = {
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _none_of,
}


def _composite(path: str, text: str) -> FieldFault:
    return FieldFault(path, INVALID, f'Invalid value: "": "{path}" {text}')


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
