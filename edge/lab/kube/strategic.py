"""Strategic merge patch: a merge patch that knows which lists are merged by key, and a few directives.

`$patch: replace|delete|merge` on a map or a list's item, `$deleteFromPrimitiveList/<field>`,
`$setElementOrder/<field>` and `$retainKeys`. kubectl's client-side apply and edit speak it.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

from edge.lab.kube.field_walk import child_of
from edge.lab.kube.schema import Schema
from edge.lab.kube.schema_node import ANYTHING, MISSING, Json, Node

DIRECTIVE: Final = "$patch"
RETAIN: Final = "$retainKeys"
DELETE_FROM: Final = "$deleteFromPrimitiveList/"
ORDER: Final = "$setElementOrder/"


class PatchRefused(ValueError):
    """A patch that cannot be read or does not apply to this object."""


def strategic_merge(schema: Schema, obj: Json, patch: Json) -> Json:
    """`obj` after `patch`. Raises PatchRefused when a directive or a merge key is wrong."""
    return _merged_map(schema.root, obj, patch)


def _merged_map(node: Node, obj: Json, patch: Json) -> Json:
    directive = patch.get(DIRECTIVE, "merge")
    if directive == "replace":
        return {key: deepcopy(value) for key, value in patch.items() if key != DIRECTIVE}
    if directive == "delete":
        return {}
    if directive != "merge":
        raise PatchRefused(f"unknown patch type: {directive} in map: {patch}")
    out = _retained(obj, patch)
    for key, value in patch.items():
        if not key.startswith("$"):
            _merge_field(child_of(node, key), out, key, value)
    _drop_from_lists(out, patch)
    for key, order in patch.items():
        name = key.removeprefix(ORDER)
        if name != key and isinstance(out.get(name), list):
            out[name] = _ordered(child_of(node, name), out[name], order, obj.get(name) or [])
    return out


def _retained(obj: Json, patch: Json) -> Json:
    """A copy of `obj` with only the keys that `$retainKeys` names, when the patch has it."""
    if RETAIN not in patch:
        return dict(obj)
    keys = patch[RETAIN]
    if not isinstance(keys, list):
        raise PatchRefused(f"{RETAIN} is not a list: {keys}")
    foreign = [key for key in patch if not key.startswith("$") and patch[key] is not None and key not in keys]
    if foreign:
        raise PatchRefused(f"{RETAIN} does not name every field of the patch: {foreign}")
    return {key: value for key, value in obj.items() if key in keys}


def _merge_field(node: Node, out: Json, key: str, value: Any) -> None:
    if value is None:
        out.pop(key, None)
        return
    before = out.get(key, MISSING)
    if isinstance(value, dict):
        out[key] = _merged_map(node, before if isinstance(before, dict) else {}, value)
    elif isinstance(value, list) and node.merge:
        out[key] = _merged_list(node, before if isinstance(before, list) else [], value)
    else:
        out[key] = deepcopy(value)


def _merged_list(node: Node, items: list[Any], patch: list[Any]) -> list[Any]:
    if not node.merge_key:
        return items + [item for place, item in enumerate(patch) if item not in items and item not in patch[:place]]
    directives = [item for item in patch if isinstance(item, dict) and item.get(DIRECTIVE) in ("delete", "replace")]
    plain = [item for item in patch if item not in directives]
    out = list(items)
    for item in directives:
        if item[DIRECTIVE] == "replace":
            out = []
        else:
            gone = _key_of(node, item)
            out = [kept for kept in out if _key_of(node, kept) != gone]
    for item in plain:
        _merge_item(node, out, item)
    return out


def _merge_item(node: Node, out: list[Any], item: Any) -> None:
    wanted = _key_of(node, item)
    elem = node.elem or ANYTHING
    for place, present in enumerate(out):
        if _key_of(node, present) == wanted:
            out[place] = _merged_map(elem, present, item)
            return
    out.append(_merged_map(elem, {}, item))


def _key_of(node: Node, item: Any) -> Any:
    if not isinstance(item, dict) or node.merge_key not in item:
        raise PatchRefused(f"map: {item} does not contain declared merge key: {node.merge_key}")
    return item[node.merge_key]


def _drop_from_lists(out: Json, patch: Json) -> None:
    for key, gone in patch.items():
        name = key.removeprefix(DELETE_FROM)
        if name != key and isinstance(out.get(name), list) and isinstance(gone, list):
            out[name] = [item for item in out[name] if item not in gone]


def _ordered(node: Node, items: list[Any], order: Any, before: list[Any]) -> list[Any]:
    """The items in the order that the patch asks for; others keep their place relative to where they were."""
    if not isinstance(order, list):
        raise PatchRefused(f"{ORDER} is not a list: {order}")

    def key(item: Any) -> Any:
        return _key_of(node, item) if node.merge_key else item

    wanted = [key(item) for item in order]
    old = [key(item) for item in before]
    named = sorted((item for item in items if key(item) in wanted), key=lambda item: wanted.index(key(item)))
    others = [item for item in items if key(item) not in wanted]
    out: list[Any] = []
    while named and others:
        mine, theirs = key(others[0]), key(named[0])
        first = mine in old and theirs in old and old.index(mine) < old.index(theirs)
        out.append((others if first else named).pop(0))
    return out + named + others
