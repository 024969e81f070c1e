"""The patches of a Kubernetes API server: JSON patch and merge patch here, strategic merge patch in strategic.py."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

from edge.lab.kube.field_walk import same
from edge.lab.kube.strategic import PatchRefused, strategic_merge

__all__ = ["PatchRefused", "json_patch", "merge_patch", "strategic_merge"]


def merge_patch(obj: Any, patch: Any) -> Any:
    """RFC 7386: maps are merged, null deletes, everything else replaces."""
    if not isinstance(patch, dict):
        return deepcopy(patch)
    out = dict(obj) if isinstance(obj, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merge_patch(out.get(key), value)
    return out


def json_patch(obj: Any, ops: Any) -> Any:
    """RFC 6902: the operations one after another, all or nothing. Raises PatchRefused at the first that fails."""
    if not isinstance(ops, list):
        raise PatchRefused("a JSON patch is a list of operations")
    out = deepcopy(obj)
    for op in ops:
        out = _operate(out, op)
    return out


def _operate(document: Any, op: Any) -> Any:
    if not isinstance(op, dict) or op.get("op") not in _OPERATIONS:
        raise PatchRefused(f"unexpected kind: {op.get('op') if isinstance(op, dict) else op}")
    return _OPERATIONS[op["op"]](document, op)


def _pointer(op: dict[str, Any], word: str) -> list[str]:
    """The steps of a JSON pointer; [] is the whole document."""
    text = op.get(word)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise PatchRefused(f'{op["op"]} operation does not apply: "{word}" is not a JSON pointer: {text!r}')
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:]]


def _value(op: dict[str, Any]) -> Any:
    if "value" not in op:
        raise PatchRefused(f"{op['op']} operation does not apply: it has no value")
    return deepcopy(op["value"])


def _at(document: Any, steps: list[str]) -> Any:
    place = document
    for step in steps:
        place = place[_step(place, step)]
    return place


def _step(place: Any, step: str, *, one_past: bool = False) -> Any:
    """The key or index that `step` means in `place`; `one_past` allows the index after the last item."""
    if isinstance(place, dict):
        if step not in place:
            raise PatchRefused(f"doc is missing key: {step}: missing value")
        return step
    canonical = step.isdecimal() and (step == "0" or step[0] != "0")
    if not isinstance(place, list) or not canonical or int(step) >= len(place) + one_past:
        raise PatchRefused(f"unable to access index {step}: invalid index referenced")
    return int(step)


def _add(document: Any, op: dict[str, Any]) -> Any:
    return _put(document, _pointer(op, "path"), _value(op))


def _put(document: Any, steps: list[str], value: Any) -> Any:
    if not steps:
        return value
    parent = _at(document, steps[:-1])
    if isinstance(parent, dict):
        parent[steps[-1]] = value
    elif isinstance(parent, list) and steps[-1] == "-":
        parent.append(value)
    else:
        index = _step(parent, steps[-1], one_past=True)
        parent.insert(index, value)
    return document


def _remove(document: Any, op: dict[str, Any]) -> Any:
    return _take(document, _pointer(op, "path"))


def _take(document: Any, steps: list[str]) -> Any:
    if not steps:
        return None
    parent = _at(document, steps[:-1])
    del parent[_step(parent, steps[-1])]
    return document


def _replace(document: Any, op: dict[str, Any]) -> Any:
    steps = _pointer(op, "path")
    if not steps:
        return _value(op)
    parent = _at(document, steps[:-1])
    parent[_step(parent, steps[-1])] = _value(op)
    return document


def _move(document: Any, op: dict[str, Any]) -> Any:
    source, target = _pointer(op, "from"), _pointer(op, "path")
    if target[: len(source)] == source and target != source:
        raise PatchRefused("move operation does not apply: a value cannot be moved into itself")
    value = _at(document, source)
    return _put(_take(document, source), target, value)


def _copy(document: Any, op: dict[str, Any]) -> Any:
    return _put(document, _pointer(op, "path"), deepcopy(_at(document, _pointer(op, "from"))))


def _test(document: Any, op: dict[str, Any]) -> Any:
    if not same(_at(document, _pointer(op, "path")), op.get("value")):
        raise PatchRefused(f"testing value {op['path']} failed")
    return document


_OPERATIONS: Final[dict[str, Callable[[Any, dict[str, Any]], Any]]] = {
    "add": _add,
    "copy": _copy,
    "move": _move,
    "remove": _remove,
    "replace": _replace,
    "test": _test,
}
