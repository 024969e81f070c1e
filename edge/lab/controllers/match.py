"""When a stage applies: conditions on paths of the object, all of which must hold."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from pydantic import Field, model_validator

from edge.lab.controllers.paths import every
from edge.model.base import Value

Test = Callable[[Any], bool]
Scalar = str | int | float | bool | None


class Condition(Value):
    """One condition. `in` and `like`: some value at the path fits; `not_in` and `not_like`: none does.

    `same_as` and `not_same_as` compare what is at the path with what is at another path.
    """

    path: str
    exists: bool | None = None
    one_of: tuple[Scalar, ...] | None = Field(default=None, alias="in")
    not_in: tuple[Scalar, ...] | None = None
    like: tuple[str, ...] | None = None
    not_like: tuple[str, ...] | None = None
    same_as: str | None = None
    not_same_as: str | None = None

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Condition:
        every(self.path)
        for other in (self.same_as, self.not_same_as):
            every(other or self.path)
        asked = [self.exists, self.one_of, self.not_in, self.like, self.not_like, self.same_as, self.not_same_as]
        if sum(answer is not None for answer in asked) != 1:
            raise ValueError("a condition has exactly one of: exists, in, not_in, like, not_like, same_as, not_same_as")
        return self


def compile_conditions(conditions: tuple[Condition, ...]) -> Test:
    """One test for all of them; no condition means always."""
    tests = tuple(_test(condition) for condition in conditions)

    def holds(obj: Any) -> bool:
        for test in tests:  # noqa: SIM110 - `all()` over a generator takes three times as long, and this is the hot path
            if not test(obj):
                return False
        return True

    return holds


def _test(condition: Condition) -> Test:
    values = every(condition.path)
    if condition.exists is not None:
        wanted = condition.exists
        return lambda obj: bool(values(obj)) is wanted
    if condition.like is not None:
        globs = condition.like
        return lambda obj: any(_fits(value, globs) for value in values(obj))
    if condition.not_like is not None:
        no_globs = condition.not_like
        return lambda obj: not any(_fits(value, no_globs) for value in values(obj))
    other = condition.same_as or condition.not_same_as
    if other is not None:
        others, alike = every(other), condition.same_as is not None
        return lambda obj: (list(values(obj)) == list(others(obj))) is alike
    if condition.one_of is not None:
        allowed = condition.one_of
        return lambda obj: any(value in allowed for value in values(obj) or (None,))
    refused = condition.not_in or ()
    return lambda obj: not any(value in refused for value in values(obj) or (None,))


def _fits(value: Any, globs: tuple[str, ...]) -> bool:
    return isinstance(value, str) and any(fnmatchcase(value, glob) for glob in globs)
