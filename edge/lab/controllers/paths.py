"""Paths into objects, as stage files write them: `spec.containers[*].image`, `metadata.annotations["a.b/c"]`.

Compiled once, because every change of every object is held against them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

_STEP = re.compile(r'\.?(?P<word>[A-Za-z_$][\w$-]*)|\[(?P<index>\d+|\*)\]|\["(?P<key>[^"]+)"\]')
_EVERY = "*"

Step = str | int
Getter = Callable[[Any], Any]


@lru_cache(maxsize=4096)
def steps_of(path: str) -> tuple[Step, ...]:
    """The steps of a path. Raises ValueError when it is not one."""
    steps: list[Step] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            raise ValueError(f"not a path: {path!r}")
        steps.append(_step(found))
        at = found.end()
    return tuple(steps)


def _step(found: re.Match[str]) -> Step:
    index = found["index"]
    if index is not None:
        return _EVERY if index == _EVERY else int(index)
    word = found["word"] or found["key"]
    assert word is not None
    return word


def one(path: str) -> Getter:
    """A getter for the value at a path without `[*]`; None when it is not there."""
    steps = steps_of(path)

    def get(value: Any) -> Any:
        for step in steps:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    return get


def every(path: str) -> Callable[[Any], list[Any]]:
    """A getter for all values at a path that may hold `[*]`; what is not there is left out."""
    steps = steps_of(path)
    if _EVERY not in steps:
        get = one(path)
        return lambda value: [] if (found := get(value)) is None else [found]
    return lambda value: [found for found in _walk(value, steps) if found is not None]


def _walk(value: Any, steps: tuple[Step, ...]) -> Iterator[Any]:
    if not steps:
        yield value
        return
    step, rest = steps[0], steps[1:]
    if step == _EVERY:
        for item in value.values() if isinstance(value, dict) else value or ():
            yield from _walk(item, rest)
        return
    try:
        yield from _walk(value[step], rest)
    except (KeyError, IndexError, TypeError):
        return
