"""A small part of PromQL: a number, a selector with exact matches, and sum, min, max, avg or count around one.

No ranges, no rates, no operators, no `=~`, `!=` or `!~`, no `by`: a query with one of them is answered as a query that
cannot be parsed. A real Prometheus can do all that; a check that has to run in the lab must do without.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """One series' value now. `labels` has the metric's name as `__name__`."""

    labels: Labels
    value: float


class PromqlFault(Exception):
    """A query that is not understood, in the words of Prometheus' parser."""


_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|$)')
_NUMBER: Final = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")
_AROUND: Final = re.compile(r'(sum|min|max|avg|count)\s*\(((?:[^()"]|"(?:[^"\\]|\\.)*")*)\)')
_AGGREGATES: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "sum": sum,
    "min": min,
    "max": max,
    "avg": lambda values: sum(values) / len(values),
    "count": len,
}


def evaluated(query: str, samples: Iterable[Sample]) -> tuple[str, list[Sample]]:
    """(result type, samples) of a query. Raises PromqlFault."""
    text = query.strip()
    if not text:
        raise PromqlFault("unknown position: parse error: no expression found in input")
    if _NUMBER.fullmatch(text):
        return "scalar", [Sample((), float(text))]
    around = _AROUND.fullmatch(text)
    found = _selected(around[2].strip() if around else text, samples)
    if around and found:
        return "vector", [Sample((), float(_AGGREGATES[around[1]]([one.value for one in found])))]
    return "vector", found


def _selected(text: str, samples: Iterable[Sample]) -> list[Sample]:
    wanted = set(selector(text))
    return [one for one in samples if wanted <= set(one.labels)]


def selector(text: str) -> Labels:
    """The labels that `name{label="value"}` asks for. Raises PromqlFault with the place of what is not understood."""
    name = _NAME.match(text)
    place = name.end() if name else 0
    labels = [("__name__", name[0])] if name else []
    rest = text[place:].strip()
    if rest:
        if not (rest.startswith("{") and rest.endswith("}")):
            raise _unexpected(text, place)
        labels += _matchers(text, rest[1:-1])
    if not labels:
        raise PromqlFault("1:1: parse error: vector selector must contain at least one non-empty matcher")
    return tuple(labels)


def _matchers(text: str, inner: str) -> list[tuple[str, str]]:
    found, place = [], 0
    while inner[place:].strip():
        one = _LABEL.match(inner, place)
        if one is None:
            raise _unexpected(text, text.index("{") + 1 + place)
        found.append((one[1], re.sub(r"\\(.)", r"\1", one[2])))
        place = one.end()
    return found


def _unexpected(text: str, place: int) -> PromqlFault:
    return PromqlFault(f"1:{place + 1}: parse error: unexpected {text[place : place + 20].strip()!r}")
