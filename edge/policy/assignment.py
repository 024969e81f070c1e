"""Which site, tenant and region a device gets: the first rule whose CEL expression is true of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from edge.errors import InvalidInput
from edge.model.assignment import Assignment, AssignmentRule, AssignmentRules, Choice, RuleAnswer
from edge.model.device import Registration
from edge.model.site import Site
from edge.policy.allocation import allocate
from edge.policy.device_facts import SAMPLE, Unknown, ask, check_expression, facts_of, owner_words
from edge.policy.yaml_text import parse_yaml

_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PLACE = re.compile(r"\$\{([^}]*)\}")
_TARGET = frozenset({"target.name", "target.region"})
_OWNER = "owner.tenant"


def parse_rules(text: str | bytes, origin: str) -> AssignmentRules:
    """Rules from a YAML file's text. Raises InvalidInput naming `origin`, the field and the value.

    Every expression is compiled and tried on a sample device, and every template is read, so that a mistake is found
    here and not when the first device comes.
    """
    read = parse_yaml(text, origin=origin)
    try:
        rules = AssignmentRules.model_validate(read)
    except ValidationError as error:
        fault: Any = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        raise InvalidInput(fault["msg"], file=origin, field=field, value=str(fault.get("input"))[:200]) from error
    names = [rule.name for rule in rules.rules]
    for index, rule in enumerate(rules.rules):
        try:
            if rule.name in names[:index]:
                raise InvalidInput("Two rules have the same name", field="name", value=rule.name)
            _try(rule)
        except InvalidInput as error:
            where = {**error.where, "field": f"rules.{index}.{error.where['field']}"}
            raise InvalidInput(error.what, remedy=error.remedy, file=origin, rule=rule.name, **where) from error
    return rules


def assign(registration: Registration, rules: AssignmentRules, owner: str | None = None) -> Assignment:
    """The site that the first matching rule gives a device, with what each rule asked said; no site when none matches.

    `owner` is the tenant that a voucher or an allow-list names. A rule that needs what is not known of the device (its
    owner, its position, a fact) does not match. Raises InvalidInput when a rule gives no usable name for this device,
    or its expression is no condition.
    """
    answers: list[RuleAnswer] = []
    for rule in rules.rules:
        answer = _answer(rule, registration, owner)
        choice = _choice(rule, registration, owner) if answer.matched else None
        if choice is not None and choice.target is None:
            answer = RuleAnswer(rule=rule.name, matched=False, why=choice.why)
        answers.append(answer)
        if answer.matched:
            site = _site(rule, registration, owner, choice)
            return Assignment(site=site, answers=tuple(answers), choice=choice)
    return Assignment(site=None, answers=tuple(answers))


def keep_site(recorded: Site, decided: Assignment) -> Site:
    """The site of a device that has one already: its name, its tenant and where it was allocated stay.

    The rest follows the rule, as long as that gives the same site; else all stays as it is on record.
    """
    site = decided.site
    if site is None or (site.name, site.tenant) != (recorded.name, recorded.tenant):
        return recorded
    stays: dict[str, Any] = {"state": recorded.state, "arc_id": recorded.arc_id}
    if decided.choice is not None:
        stays |= {
            "region": recorded.region,
            "arc_resource_group": recorded.arc_resource_group,
            "arc_location": recorded.arc_location,
        }
    return site.model_copy(update=stays)


def _answer(rule: AssignmentRule, registration: Registration, owner: str | None) -> RuleAnswer:
    """A missing field makes a rule not match: fleets differ in what their devices tell of themselves."""
    try:
        found = ask(rule.when, {"device": facts_of(registration), "owner": owner_words(owner)}, field="when")
    except Unknown as missing:
        return RuleAnswer(rule=rule.name, matched=False, why=str(missing))
    if not isinstance(found, bool):
        raise InvalidInput("The expression is neither true nor false", field="when", value=rule.when)
    if found and owner is None and _OWNER in _places(rule):
        why = "Its templates need the owner, and no voucher and no allow-list names one"
        return RuleAnswer(rule=rule.name, matched=False, why=why)
    return RuleAnswer(rule=rule.name, matched=found, why=f"{rule.when} is {str(found).lower()}")


def _choice(rule: AssignmentRule, registration: Registration, owner: str | None) -> Choice | None:
    if rule.allocation is None:
        return None
    try:
        return allocate(rule.allocation, registration, owner)
    except InvalidInput as error:
        where = {**error.where, "rule": rule.name, "device": registration.device_id}
        raise InvalidInput(error.what, remedy=error.remedy, **where) from error


def _site(rule: AssignmentRule, registration: Registration, owner: str | None, choice: Choice | None) -> Site:
    try:
        return _filled_site(rule, _known(rule, registration, owner, choice), choice)
    except ValidationError as error:
        fault: Any = error.errors(include_url=False, include_context=False)[0]
        where = {"field": ".".join(str(part) for part in fault["loc"]), "value": str(fault.get("input"))[:200]}
        raise _unusable(rule, registration, where) from error
    except InvalidInput as error:
        raise _unusable(rule, registration, error.where) from error


def _filled_site(rule: AssignmentRule, known: Mapping[str, str], choice: Choice | None) -> Site:
    target = choice.target if choice else None
    return Site(
        name=_filled(rule.site, known),
        tenant=_filled(rule.tenant, known),
        region=_word("region", rule.region, known),
        role=rule.role,
        labels={name: _word(f"labels.{name}", value, known) for name, value in rule.labels.items()},
        when_offline=rule.when_offline,
        time_zone=rule.time_zone,
        stamp=rule.stamp,
        arc_resource_group=target.arc_resource_group if target else None,
        arc_location=target.arc_location if target else None,
    )


def _unusable(rule: AssignmentRule, registration: Registration, where: dict[str, str]) -> InvalidInput:
    what = "The rule gives this device no usable name"
    return InvalidInput(what, rule=rule.name, device=registration.device_id, **where)


def _known(
    rule: AssignmentRule, registration: Registration, owner: str | None, choice: Choice | None
) -> dict[str, str]:
    facts = registration.facts
    known = {
        "device.id": registration.device_id.removeprefix(rule.strip_prefix),
        "device.serial": facts.serial,
        "device.model": facts.model,
        "device.architecture": facts.architecture,
        "device.location": facts.location,
        "device.firmware": facts.firmware,
        "device.os": facts.os,
    }
    if owner is not None:
        known[_OWNER] = owner
    if choice is not None and choice.target is not None:
        known |= {"target.name": choice.target.name, "target.region": choice.target.region}
    return known


def _word(field: str, template: str, known: Mapping[str, str]) -> str:
    """Regions and labels end in Kubernetes labels, so what a device says of itself may not break their form."""
    word = _filled(template, known)
    if not _LABEL_VALUE.fullmatch(word):
        raise InvalidInput("This is no value for a label", field=field, value=word)
    return word


def _filled(template: str, known: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda place: known[place[1]], template)


def _templates(rule: AssignmentRule) -> Iterator[tuple[str, str]]:
    """Each field that is a template, with its text."""
    yield from (("site", rule.site), ("tenant", rule.tenant), ("region", rule.region))
    yield from ((f"labels.{name}", value) for name, value in rule.labels.items())


def _places(rule: AssignmentRule) -> set[str]:
    return {name for _, template in _templates(rule) for name in _PLACE.findall(template)}


def _try(rule: AssignmentRule) -> None:
    """What can be found out about a rule before any device comes. Raises InvalidInput."""
    _answer(rule, SAMPLE, "sample")
    if rule.allocation is not None and rule.allocation.expression:
        # Read and no more: which target fits the sample says nothing of real devices.
        check_expression(rule.allocation.expression, field="allocation.expression")
    _check_templates(rule)


def _check_templates(rule: AssignmentRule) -> None:
    known = {*_known(rule, SAMPLE, "sample", None), *(_TARGET if rule.allocation else ())}
    for field, template in _templates(rule):
        for name in _PLACE.findall(template):
            if name not in known:
                what = "A template names something that is not known of a device"
                remedy = f"Use {', '.join(sorted(known))}"
                if name in _TARGET:
                    remedy = "Give the rule an allocation"
                raise InvalidInput(what, field=field, value=template, remedy=remedy)
