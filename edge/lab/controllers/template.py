"""Values in stage files that are filled in when the stage happens.

A string may hold `{{ … }}`: a path into the object, or one of the words below. `+ N` adds, `or X` stands in for what is
missing, `int` before a path makes a number of a text. A string that is nothing but one such expression keeps the
value's type, and its key is left out when there is no value.

`{$each: PATH, $was: PATH, $as: VALUE}` makes a list: one VALUE for each entry at the first path, with `item` as that
entry, `index` its number, and `was` the entry of the same name at the second path; without entries the key is left out.
`{$containers: VALUE}` is that for a pod's containers, with the fields every container status has.

Words: `now` (RFC 3339), `ip` (a fresh pod address), `host_ip` (the address of the object's node), `load_balancer_ip`,
`egress` (inside `$each`: which of the endpoints in the container's EDGE_ENDPOINTS it reaches, a line each).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from edge.lab.controllers.paths import one

_EXPRESSION = re.compile(r"\{\{\s*(.+?)\s*\}\}")
_PARTS = re.compile(r"^(?P<number>int\s+)?(?P<path>[^\s+]+)(?:\s*\+\s*(?P<plus>\d+))?(?:\s+or\s+(?P<fallback>.+))?$")
_MISSING = object()
_CONTAINERS = {"$each": "spec.containers", "$was": "status.containerStatuses"}
_CONTAINER_STATUS = {
    "name": "{{ item.name }}",
    "image": "{{ item.image }}",
    "imageID": "",
    "restartCount": "{{ was.restartCount or 0 }}",
}


class Surroundings(Protocol):
    """What the words stand for, beside the object itself."""

    def now_text(self) -> str:
        """The site's time."""
        ...

    def fresh_ip(self) -> str:
        """An address no pod has."""
        ...

    def host_ip(self, obj: Mapping[str, Any]) -> str:
        """The address of the node the object is bound to."""
        ...

    def egress(self, container: Mapping[str, Any]) -> str:
        """What a container finds that looks for its way out."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """The object a stage happens to, and where `$each` is."""

    obj: Mapping[str, Any]
    around: Surroundings
    item: Any = None
    was: Any = None
    index: int = 0


Filler = Callable[[Context], Any]


def compile_template(value: Any) -> Filler:
    """Turn a value from a stage file into what fills it in. Raises ValueError on a bad expression."""
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list):
        items = [compile_template(item) for item in value]
        return lambda context: [filled for item in items if (filled := item(context)) is not _MISSING]
    if isinstance(value, dict):
        if "$containers" in value:
            return _each(_CONTAINERS | {"$as": {**_CONTAINER_STATUS, **value["$containers"]}})
        return _each(value) if "$each" in value else _mapping(value)
    return lambda _: value


def _mapping(value: Mapping[str, Any]) -> Filler:
    parts = [(key, compile_template(inner)) for key, inner in value.items()]

    def fill(context: Context) -> Any:
        filled = ((key, part(context)) for key, part in parts)
        return {key: inner for key, inner in filled if inner is not _MISSING}

    return fill


def _each(value: Mapping[str, Any]) -> Filler:
    items, inner = one(value["$each"]), compile_template(value["$as"])
    before = one(value["$was"]) if "$was" in value else (lambda _: None)

    def fill(context: Context) -> Any:
        known = {entry.get("name"): entry for entry in before(context.obj) or ()}
        filled = [
            inner(replace(context, item=item, index=index, was=known.get(item.get("name"))))
            for index, item in enumerate(items(context.obj) or ())
        ]
        return filled or _MISSING

    return fill


def _string(text: str) -> Filler:
    whole = _EXPRESSION.fullmatch(text)
    if whole:
        return _expression(whole[1])
    if not _EXPRESSION.search(text):
        return lambda _: text
    parts = [part if number % 2 == 0 else _expression(part) for number, part in enumerate(_EXPRESSION.split(text))]
    return lambda context: "".join(part if isinstance(part, str) else _text(part(context)) for part in parts)


def _text(value: Any) -> str:
    return "" if value is _MISSING else str(value)


def _expression(text: str) -> Filler:
    found = _PARTS.match(text)
    if found is None:
        raise ValueError(f"not an expression: {text!r}")
    value, plus = _value(found["path"]), int(found["plus"] or 0)
    number, fallback = int if found["number"] else _as_it_is, _literal(found["fallback"])

    def fill(context: Context) -> Any:
        got = value(context)
        if got is None:
            return fallback
        return number(got) + plus if plus else number(got)

    return fill


def _as_it_is(value: Any) -> Any:
    return value


def _value(path: str) -> Filler:
    words: dict[str, Filler] = {
        "now": lambda context: context.around.now_text(),
        "ip": lambda context: context.around.fresh_ip(),
        "load_balancer_ip": lambda context: context.around.fresh_ip().replace("10.244.", "10.250."),
        "host_ip": lambda context: context.around.host_ip(context.obj),
        "item": lambda context: context.item,
        "index": lambda context: context.index,
        "egress": lambda context: context.around.egress(context.item),
    }
    if path in words:
        return words[path]
    root, _, rest = path.partition(".")
    get = one(rest if root in ("item", "was") else path)
    if root == "item":
        return lambda context: get(context.item)
    if root == "was":
        return lambda context: get(context.was)
    return lambda context: get(context.obj)


def _literal(text: str | None) -> Any:
    if text is None:
        return _MISSING
    return int(text) if text.lstrip("-").isdigit() else text.strip("'\"")
