"""Whether a check holds, from what was seen: an answer of a Service, a sample of Prometheus, an object.

The messages say what was seen in a few words. Bodies and objects are not repeated: they may hold secrets.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from edge.errors import InvalidInput
from edge.model.check import CelCheck, Check, CheckResult, HttpCheck, PromqlCheck
from edge.model.kube import KubeObject

if TYPE_CHECKING:
    import cel

_FAULTS = (KeyError, TypeError, ValueError, RuntimeError, IndexError, ArithmeticError)
_DOTS = re.compile(r"(?:/|\\|%2f|%5c)(?:\.|%2e){1,2}(?:/|\\|%2f|%5c|$)", re.IGNORECASE)
"""`.` or `..` between slashes, in any spelling that something on the way may undo."""
QUERY_PATH = "/api/v1/query"
"""Where Prometheus answers instant queries."""


def compile_checks(checks: Iterable[Check]) -> None:
    """Raise InvalidInput for an expression that is not CEL, a path that leaves its Service, two checks of one name."""
    names = set()
    for check in checks:
        if check.name in names:
            raise InvalidInput("Two checks have the same name", field="checks", value=check.name)
        names.add(check.name)
        if isinstance(check, HttpCheck):
            check_path(check.path, f"checks.{check.name}.path")
        else:
            expression = check.holds if isinstance(check, PromqlCheck) else check.expression
            _compiled(expression, check.name)


def check_path(path: str, field: str = "path") -> None:
    """Raise InvalidInput for a path that does not stay below the Service's proxy, whoever resolves it on the way.

    The API server is asked with the site's credential: a path with `..` could end at an object instead.
    """
    leaves = _DOTS.search(path.partition("?")[0])
    if not path.startswith("/") or leaves or not path.isprintable() or set(" #") & set(path):
        what = "This is no path of a Service"
        remedy = "Begin with a slash, without `.` and `..` between slashes, spaces and `#`"
        raise InvalidInput(what, remedy=remedy, field=field, value=path[:200])


def judge_http(check: HttpCheck, status: int, body: bytes, refusal: str = "") -> CheckResult:
    """Whether the answer is a good one. `refusal`: why the request did not get as far as the Service."""
    if refusal:
        return _bad(check, f"the Service was not reached: {refusal}")
    if status not in check.status:
        return _bad(check, f"the answer is {status}, not {' or '.join(str(good) for good in check.status)}")
    if check.contains and check.contains.encode() not in body:
        return _bad(check, f"the answer of {len(body)} bytes lacks the text it must contain")
    return _good(check, f"the answer is {status}")


def judge_promql(check: PromqlCheck, status: int, body: bytes, refusal: str = "") -> CheckResult:
    """Whether the first sample of the answer holds."""
    if refusal:
        return _bad(check, f"Prometheus was not reached: {refusal}")
    try:
        value = _first_value(status, body)
    except ValueError as fault:
        return _bad(check, str(fault))
    if value is None:
        return CheckResult(name=check.name, good=check.absent_is_good, message="the query has no sample")
    return _judged(check, check.holds, {"value": value}, f"the value is {value:g}")


def judge_cel(check: CelCheck, obj: KubeObject | None) -> CheckResult:
    """Whether the expression is true for the object; an object that is not there is never good."""
    if obj is None:
        return _bad(check, f"{check.ref} is not there")
    return _judged(check, check.expression, {"object": obj}, str(check.ref))


def failing(results: Iterable[CheckResult]) -> str:
    """The checks that do not hold and why, as one text; "" when all do."""
    return "; ".join(f"{one.name}: {one.message}" for one in results if not one.good)


def _judged(check: Check, expression: str, values: Mapping[str, Any], seen: str) -> CheckResult:
    try:
        found = _compiled(expression, check.name).execute(dict(values))
    except _FAULTS as fault:
        return _bad(check, f"{seen}: `{expression}` cannot be evaluated ({_said(fault)})")
    if found is True:
        return _good(check, f"{seen}: `{expression}` is true")
    return _bad(check, f"{seen}: `{expression}` is not true")


def _said(fault: Exception) -> str:
    if isinstance(fault, KeyError):
        return f"no such field: {fault.args[0]}"
    return "types that do not fit" if isinstance(fault, TypeError) else str(fault).splitlines()[0][:200]


@lru_cache(maxsize=1024)
def _program(expression: str) -> cel.Program:
    import cel  # noqa: PLC0415 - it brings a shell of its own, which takes long to import

    return cel.compile(expression)


def _compiled(expression: str, name: str) -> cel.Program:
    try:
        return _program(expression)
    except ValueError as theirs:
        what = "A check's expression is not CEL"
        raise InvalidInput(
            what, field=f"checks.{name}", value=expression, fault=str(theirs).splitlines()[0]
        ) from theirs


def _first_value(status: int, body: bytes) -> float | None:
    """The number of the first sample; None without one. ValueError says what is wrong with the answer."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as theirs:
        raise ValueError(f"Prometheus answered {status}, and not JSON") from theirs
    if not isinstance(found, dict) or found.get("status") != "success":
        said = found.get("error", "no reason given") if isinstance(found, dict) else "no object"
        raise ValueError(f"Prometheus answered {status}: {str(said)[:300]}")
    try:
        return _number(found["data"])
    except (KeyError, IndexError, TypeError, ValueError) as theirs:
        raise ValueError("Prometheus' answer has another shape than an instant query's") from theirs


def _number(data: Mapping[str, Any]) -> float | None:
    if data["resultType"] == "scalar":
        return float(data["result"][1])
    if not data["result"]:
        return None
    value = float(data["result"][0]["value"][1])
    return value if not math.isnan(value) else None


def _good(check: Check, message: str) -> CheckResult:
    return CheckResult(name=check.name, good=True, message=message)


def _bad(check: Check, message: str) -> CheckResult:
    return CheckResult(name=check.name, good=False, message=message)
