"""Policy rules on rendered objects: CEL, each with a code and a fix."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, Field

from edge.model.base import Value
from edge.model.kube import ObjectRef


class Enforcement(StrEnum):
    """What a breach does."""

    ENFORCE = "enforce"
    """The stamp does not go to the site."""
    WARN = "warn"
    """It is told, and nothing more."""


class Rule(Value):
    """One rule. `expression` is CEL, true when the object is as it should be.

    It sees `object`, and of workloads `variables.pod`, `variables.containers` and `variables.registries`. `kinds` are
    the kinds it looks at (`Deployment`, `Pod`); empty means all. `message` says what is wrong, `fix` what to do about
    it.
    """

    code: str = Field(pattern=r"^[a-z][a-z0-9-]{2,62}$")
    kinds: tuple[str, ...] = ()
    expression: str
    message: str
    fix: str


class Waiver(Value):
    """Who answers for an exception from a rule, why, and until when. `object` narrows it to one object's name."""

    code: str
    owner: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    expires: AwareDatetime
    object: str = ""


class Violation(Value):
    """An object that breaks a rule; `waived_by` is the owner of a waiver that covers it."""

    code: str
    ref: ObjectRef
    message: str
    fix: str
    waived_by: str = ""
