"""Where a device belongs: the rules that say so, as data, and what they say about one device."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from edge.model.base import Value
from edge.model.device import Position
from edge.model.names import StampName
from edge.model.site import OfflinePolicy, Site

Template = Annotated[str, StringConstraints(min_length=1, max_length=256)]
"""Text in which `${device.id}`, `${device.serial}`, `${device.model}`, `${device.architecture}`, `${device.location}`,
`${device.firmware}` and `${device.os}` stand for what is known of the device, `${owner.tenant}` for its owner on
record, and `${target.name}` and `${target.region}` for what the rule's allocation chose."""

RuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_. ]{0,62}[A-Za-z0-9])?$")]
TimeZone = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$", max_length=64)]
"""A name of the IANA time zone database, such as `Europe/Berlin`."""


class AllocationPolicy(StrEnum):
    """How a rule chooses one of several targets for a device."""

    HASHED = "hashed"
    """By the device's id, in the targets' weights; a target that goes moves only its own devices."""
    GEO = "geo"
    """The target nearest to the device's position."""
    CUSTOM = "custom"
    """The target whose name an expression gives."""
    STATIC = "static"
    """The one target there is."""


class AllocationTarget(Value):
    """A place that devices can be given to. One of weight 0 gets no device by its hash: it is being emptied."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
    region: str = Field(default="unknown", min_length=1, max_length=63)
    weight: float = Field(default=1.0, ge=0, le=1_000_000, allow_inf_nan=False)
    position: Position | None = None
    arc_resource_group: str | None = Field(default=None, min_length=1, max_length=90)
    """Where a connected cluster of this target lives; None: as the Arc subscription says."""
    arc_location: str | None = Field(default=None, min_length=1, max_length=64)


class Allocation(Value):
    """Which target a device gets, among those of a rule. `expression` is CEL over `device`, `owner` and `targets`."""

    policy: AllocationPolicy
    targets: tuple[AllocationTarget, ...] = Field(min_length=1, max_length=1000)
    expression: str = Field(default="", max_length=4000)

    @model_validator(mode="after")
    def _fits_its_policy(self) -> Self:
        fault = _fault_of(self)
        if fault:
            raise ValueError(fault)
        return self


def _fault_of(allocation: Allocation) -> str:
    targets, policy = allocation.targets, allocation.policy
    if len({target.name for target in targets}) < len(targets):
        return "two targets have the same name"
    if (policy is AllocationPolicy.CUSTOM) != bool(allocation.expression):
        return "an expression belongs to the policy custom, and to no other"
    if policy is AllocationPolicy.STATIC and len(targets) > 1:
        return "the policy static has one target"
    if policy is AllocationPolicy.GEO and not all(target.position for target in targets):
        return "the policy geo needs the position of every target"
    if policy is AllocationPolicy.HASHED and not any(target.weight for target in targets):
        return "the policy hashed needs a target with a weight over 0"
    return ""


class AssignmentRule(Value):
    """One rule. `when` is a CEL expression over `device` and `owner`; the rest says what becomes of a device.

    `strip_prefix` is taken off the front of the device's id before it is put into templates. `stamp` names the stamp
    that the site should run.
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
    stamp: StampName | None = None
    allocation: Allocation | None = None


class AssignmentRules(Value):
    """An ordered list of rules; the first whose `when` is true decides."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)

    api_version: Literal["edge-platform.io/v1"] = "edge-platform.io/v1"
    kind: Literal["AssignmentRules"] = "AssignmentRules"
    rules: tuple[AssignmentRule, ...] = Field(min_length=1, max_length=1000)


class Choice(Value):
    """What an allocation gave a device, and why, as a sentence; `target` None: it can give this device none."""

    target: AllocationTarget | None
    why: str


class RuleAnswer(Value):
    """What one rule said about a device, and why, as a sentence."""

    rule: str
    matched: bool
    why: str


class Assignment(Value):
    """Where a device belongs; `site` is None when no rule matches. `answers`: of the rules asked, in order."""

    site: Site | None
    answers: tuple[RuleAnswer, ...]
    choice: Choice | None = None
    """What the deciding rule's allocation chose; None when it has none."""

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
