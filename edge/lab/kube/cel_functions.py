"""CEL as an API server evaluates it: expressions compiled once, with the string and quantity functions policies use.

What is not there, and is refused when a policy is written: `authorizer`, optional fields (`object.?spec`), and the
libraries for URLs, addresses and formats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import cel

from edge.lab.kube.cel_reads import joined, reads, trimmed
from edge.policy import quantity


class CelFault(Exception):
    """An expression that cannot be compiled, or whose evaluation failed. The text is made for an error message."""


class Expression:
    """One compiled expression. `reads` is what it reads of its variables, `functions` are those of ours it calls."""

    __slots__ = ("_program", "functions", "reads", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        try:
            self._program = cel.compile(source)
        except ValueError as bad:
            raise CelFault(" ".join(str(bad).split())) from bad
        self.reads = reads(source, self._program.variables())
        called = {name for name in self._program.functions() if name[0].isalpha()}
        self.functions = called & FUNCTIONS.keys()
        unknown = called - FUNCTIONS.keys() - _BUILT_IN
        if unknown:
            raise CelFault(f"undeclared reference to '{min(unknown)}'")

    def __call__(self, surroundings: cel.Context) -> Any:
        """The value. Raises CelFault when it has none: a field that is not there, a type that does not fit."""
        try:
            return self._program.execute(surroundings)
        except KeyError as absent:
            raise CelFault(f"no such key: {absent.args[0] if absent.args else absent}") from absent
        except TypeError as unfit:
            raise CelFault("no such overload") from unfit
        except (ValueError, RuntimeError, IndexError, ArithmeticError) as bad:
            raise CelFault(str(bad).splitlines()[0]) from bad


def surroundings(values: Mapping[str, Any], *expressions: Expression) -> cel.Context:
    """What these expressions are evaluated in; made once for several of them."""
    functions = frozenset[str]().union(*(one.functions for one in expressions))
    wanted = trimmed(values, joined(one.reads for one in expressions))
    return cel.Context(wanted, {name: FUNCTIONS[name] for name in functions})


@lru_cache(maxsize=4096)
def compiled(source: str) -> Expression:
    """The compiled expression, shared by all sites. Raises CelFault."""
    return Expression(source)


def conditions_hold(conditions: Iterable[Mapping[str, Any]], around: cel.Context) -> bool:
    """Whether all match conditions do; one that is false decides, even where another fails. Raises CelFault."""
    faults = []
    for one in conditions:
        try:
            if compiled(one["expression"])(around) is not True:
                return False
        except CelFault as fault:
            faults.append(f"expression '{one['expression']}' resulted in error: {fault}")
    if faults:
        raise CelFault(faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")
    return True


def _index_of(text: str, wanted: str) -> int:
    return text.find(wanted)


def _substring(text: str, start: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    if not 0 <= start <= stop <= len(text):
        raise ValueError(f"substring({start}, {stop}) is outside of a text of {len(text)}")
    return text[start:stop]


def _split(text: str, by: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    return text.split(by, limit - 1 if limit > 0 else -1) if by else list(text)


def _join(parts: Sequence[str], by: str = "") -> str:
    return by.join(parts)


def _replace(text: str, old: str, new: str, limit: int = -1) -> str:
    return text.replace(old, new, limit)


def _find(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found[0] if found else ""


def _format(text: str, values: Sequence[Any]) -> str:
    left = iter(values)
    return re.sub(r"%[sd]", lambda _found: _shown(next(left, "")), text)


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _is_quantity(text: str) -> bool:
    try:
        quantity.parse(text)
    except ValueError:
        return False
    return True


def _quantity(text: str) -> float:
    return float(quantity.parse(text))


def _compare(one: float, other: float) -> int:
    return (one > other) - (one < other)


_BUILT_IN: Final = frozenset(
    {"size", "matches", "contains", "startsWith", "endsWith", "min", "max", "type", "dyn"}
    | {"int", "uint", "double", "string", "bytes", "bool", "duration", "timestamp"}
    | {"getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getMonth"}
    | {"getHours", "getMinutes", "getSeconds", "getMilliseconds"}
)
"""What the evaluator brings along."""

FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "indexOf": _index_of,
    "substring": _substring,
    "split": _split,
    "join": _join,
    "replace": _replace,
    "find": _find,
    "format": _format,
    "lowerAscii": str.lower,
    "upperAscii": str.upper,
    "trim": str.strip,
    "isQuantity": _is_quantity,
    "quantity": _quantity,
    "isGreaterThan": lambda one, other: one > other,
    "isLessThan": lambda one, other: one < other,
    "compareTo": _compare,
    "asApproximateFloat": float,
    "sum": sum,
    "isSorted": lambda values: list(values) == sorted(values),
}
