"""Lays one object over another and takes fields out, along a schema. What does not change is shared, not copied."""

from __future__ import annotations

from typing import Any

from edge.lab.kube.field_walk import child_of, element_of, items_by_element, same
from edge.lab.kube.fields import LEAF, SELF, FieldSet
from edge.lab.kube.schema_node import ANYTHING, MISSING, Json, Node


def merged(node: Node, live: Json, applied: Json) -> Json:
    """`live` with `applied` laid over it; `live` itself when that changes nothing."""
    out: Json | None = None
    for key, value in applied.items():
        before = live.get(key, MISSING)
        if before is value:
            continue
        after = _merged_value(child_of(node, key), before, value)
        if after is not before:
            out = dict(live) if out is None else out
            if after is MISSING:
                del out[key]
            else:
                out[key] = after
    return live if out is None else out


def _merged_value(node: Node, live: Any, applied: Any) -> Any:
    if applied is None:
        return _merged_null(node, live)
    if isinstance(applied, dict) and not node.leaf:
        return _merged_map(node, live, applied)
    if isinstance(applied, list) and (node.keys or node.is_set):
        return _merged_list(node, live, applied) if live or applied else _kept(live, applied)
    return _kept(live, applied)


def _kept(live: Any, applied: Any) -> Any:
    """`applied`, or `live` itself when they are equal."""
    return live if live is not MISSING and same(live, applied) else applied


def _merged_null(node: Node, live: Any) -> Any:
    if live and live is not MISSING and not node.leaf:
        return live  # null has no items to lay over those that are there
    return MISSING if node.builtin else _kept(live, None)


def _merged_map(node: Node, live: Any, applied: Json) -> Any:
    if isinstance(live, dict):
        return merged(node, live, applied)
    # Walking once more drops the nulls of built-in kinds inside what is new.
    return merged(node, {}, applied) or applied


def _merged_list(node: Node, live: Any, applied: list[Any]) -> list[Any]:
    """Items meet by key. The order is that of `applied`, with the other items of `live` where they were."""
    elem = node.elem or ANYTHING
    before = items_by_element(node, live if isinstance(live, list) else ())
    wanted = {element_of(node, item): item for item in applied}
    out = []
    for element in _merged_order(list(before), list(wanted)):
        if element not in wanted:
            out.append(before[element])
        else:
            out.append(_merged_value(elem, before.get(element, MISSING), wanted[element]))
    unchanged = isinstance(live, list) and len(out) == len(live)
    return live if unchanged and all(a is b for a, b in zip(out, live, strict=True)) else out


def _merged_order(left: list[str], right: list[str]) -> list[str]:
    """The order of two lists joined: that of `right`, with what only `left` has kept after its old neighbours."""
    if left == right:
        return left
    known, wanted, placed = set(left), set(right), set[str]()
    shared = iter([element for element in right if element in known])
    turn = next(shared, None)
    out: list[str] = []
    at = to = 0
    while at < len(left) or to < len(right):
        mine = left[at] if at < len(left) else None
        theirs = right[to] if to < len(right) else None
        if mine is not None and mine not in wanted:
            out.append(mine)
            at += 1
            continue
        if mine is not None and (mine in placed or (theirs is not None and mine not in (theirs, turn))):
            at += 1
            continue
        if theirs is None:
            break
        out.append(theirs)
        placed.add(theirs)
        to += 1
        at += mine == theirs
        turn = next(shared, None) if theirs == turn else turn
    return out


def without(node: Node, value: Any, dropped: FieldSet, kept: FieldSet) -> Any:
    """`value` without the places in `dropped` that are not in `kept`.

    A named field counts as dropped, or as kept, when anything below it does; so a struct goes when nobody wants any of
    it, with what the server filled in, and stays when somebody wants a part.
    """
    if isinstance(value, list):
        return _list_without(node, value, dropped, kept)
    out = dict(value)
    for key, below in dropped.items():
        name = key[2:]
        if key == SELF or name not in out:
            continue
        wanted = kept.get(key)
        named = name in node.fields
        if _is_at(below, named) and not (wanted is not None and _is_at(wanted, named)):
            del out[name]
        elif below and isinstance(out[name], dict | list):
            out[name] = without(child_of(node, name), out[name], below, wanted or LEAF)
    return out


def _list_without(node: Node, items: list[Any], dropped: FieldSet, kept: FieldSet) -> list[Any]:
    elem = node.elem or ANYTHING
    out = []
    for element, item in items_by_element(node, items).items():
        below, wanted = dropped.get(element), kept.get(element)
        if below is None:
            out.append(item)
        elif not _is_at(below, False):
            out.append(without(elem, item, below, wanted or LEAF))
        elif wanted is not None and _is_at(wanted, False):
            out.append(without(elem, item, below, wanted) if below and isinstance(item, dict) else item)
    return out


def _is_at(below: FieldSet, named: bool) -> bool:
    return named or not below or SELF in below
