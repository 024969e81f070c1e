"""Where a device belongs: the rules that say so, as data, and what they say about one device."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from edge.model.base import Value
from edge.model.site import OfflinePolicy, Site

Template = Annotated[str, StringConstraints(min_length=1, max_length=256)]
"""Text in which `${device.id}`, `${device.serial}`, `${device.model}`, `${device.architecture}` and
`${device.location}` stand for what is known of the device."""

RuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_. ]{0,62}[A-Za-z0-9])?$")]
TimeZone = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$", max_length=64)]
"""A name of the IANA time zone database, such as `Europe/Berlin`."""


class AssignmentRule(Value):
    """One rule. `when` is a CEL expression over `device`; the rest says what a device it is true for becomes.

    `strip_prefix` is taken off the front of the device's id before it is put into templates.
    """

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)

    name: RuleName
    when: str = Field(min_length=1, max_length=4000)
    site: Template
    strip_prefix: str = Field(default="", max_length=64)
    tenant: Template = "default"
    region: Template = "unknown"
    role: str = Field(default="edge", min_length=1, max_length=63)
    labels: dict[str, Template] = Field(default={}, max_length=32)
    when_offline: OfflinePolicy = OfflinePolicy.NORMAL
    time_zone: TimeZone = "UTC"


class AssignmentRules(Value):
    """An ordered list of rules; the first whose `when` is true decides."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)

    api_version: Literal["edge-platform.io/v1"] = "edge-platform.io/v1"
    kind: Literal["AssignmentRules"] = "AssignmentRules"
    rules: tuple[AssignmentRule, ...] = Field(min_length=1, max_length=1000)


class RuleAnswer(Value):
    """What one rule said about a device, and why, as a sentence."""

    rule: str
    matched: bool
    why: str


class Assignment(Value):
    """Where a device belongs; `site` is None when no rule matches. `answers`: of the rules asked, in order."""

    site: Site | None
    answers: tuple[RuleAnswer, ...]

    @property
    def rule(self) -> str | None:
        """The name of the rule that decided."""
        return self.answers[-1].rule if self.site else None

    @property
    def why(self) -> str:
        """One sentence: the rule that decided, or why each of them did not match."""
        if self.site is not None:
            return f"Rule {self.answers[-1].rule!r} matches: {self.answers[-1].why}"
        return "; ".join(f"rule {answer.rule!r} does not match: {answer.why}" for answer in self.answers)
