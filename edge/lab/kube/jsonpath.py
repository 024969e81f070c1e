"""The part of JSONPath that printer columns and scale paths use, compiled once and kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

_Step = Callable[[Any], Iterator[Any]]
_TOKEN = re.compile(
    r"""\.?(?P<name>[A-Za-z0-9_\-/$]+(?:\\\.[A-Za-z0-9_\-/]+)*)
      | \[\s*(?P<index>-?\d+)\s*\]
      | (?:\.)?\[?(?P<all>\*)\]?
      | \[\s*['"](?P<quoted>[^'"]+)['"]\s*\]
      | \[\?\(\s*@\.(?P<field>[^=!<>\s]+)\s*(?P<op>==|!=)\s*(?P<value>'[^']*'|"[^"]*"|[^)\s]+)\s*\)\]""",
    re.VERBOSE,
)


@lru_cache(maxsize=2048)
def compile_path(path: str) -> tuple[_Step, ...]:
    """Steps of a path, say `.status.conditions[?(@.type=="Ready")].status`. What cannot be read finds nothing."""
    text = path.strip().strip("{}").lstrip("$")
    steps: list[_Step] = []
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None or token.end() == position:
            return (_nothing,)
        steps.append(_step(token))
        position = token.end()
    return tuple(steps)


def find(obj: Any, path: str) -> list[Any]:
    """All values at `path`."""
    values: Iterable[Any] = (obj,)
    for step in compile_path(path):
        values = [found for value in values for found in step(value)]
    return list(values)


def first(obj: Any, path: str) -> Any:
    """The first value at `path`, or None."""
    found = find(obj, path)
    return found[0] if found else None


def names_of(path: str) -> tuple[str, ...]:
    """The field names of a plain path such as `.spec.replicas`."""
    return tuple(word for word in path.split(".") if word)


def _step(token: re.Match[str]) -> _Step:
    if token["all"]:
        return _everything
    if token["index"] is not None:
        return _at(int(token["index"]))
    if token["field"]:
        return _where(token["field"], token["op"] == "==", token["value"].strip("'\""))
    return _member((token["quoted"] or token["name"]).replace("\\.", "."))


def _nothing(_value: Any) -> Iterator[Any]:
    return iter(())


def _everything(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _member(name: str) -> _Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _at(index: int) -> _Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _where(field: str, equal: bool, wanted: str) -> _Step:
    def step(value: Any) -> Iterator[Any]:
        for item in value if isinstance(value, list) else ():
            found = first(item, "." + field)
            text = str(found).lower() if isinstance(found, bool) else str(found)
            if (text == wanted) == equal:
                yield item

    return step
