"""Which site, tenant and region a device gets: the first rule whose CEL expression is true of it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import cel
from pydantic import ValidationError

from edge.errors import InvalidInput
from edge.model.assignment import Assignment, AssignmentRule, AssignmentRules, RuleAnswer
from edge.model.device import DeviceFacts, Registration
from edge.model.site import Site
from edge.policy.yaml_text import parse_yaml

_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PLACE = re.compile(r"\$\{([^}]*)\}")
_SAMPLE = Registration(device_id="sample", certificate="", facts=DeviceFacts(serial="sample"))


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
            _answer(rule, _SAMPLE)
            _check_templates(rule)
        except InvalidInput as error:
            where = {**error.where, "field": f"rules.{index}.{error.where['field']}"}
            raise InvalidInput(error.what, remedy=error.remedy, file=origin, rule=rule.name, **where) from error
    return rules


def assign(registration: Registration, rules: AssignmentRules) -> Assignment:
    """The site that the first matching rule gives a device, with what each rule asked said; no site when none matches.

    Raises InvalidInput when a rule gives no usable name for this device, or its expression is no condition.
    """
    answers: list[RuleAnswer] = []
    for rule in rules.rules:
        answers.append(_answer(rule, registration))
        if answers[-1].matched:
            return Assignment(site=_site(rule, registration), answers=tuple(answers))
    return Assignment(site=None, answers=tuple(answers))


def _answer(rule: AssignmentRule, registration: Registration) -> RuleAnswer:
    """A missing field makes a rule not match: fleets differ in what their devices tell of themselves."""
    try:
        found = _compiled(rule.when).execute({"device": _facts(registration)})
    except KeyError as error:
        return RuleAnswer(rule=rule.name, matched=False, why=f"The device has no field {error.args[0]!r}")
    except (RuntimeError, TypeError, ValueError) as error:
        raise InvalidInput(f"The expression fails: {error}", field="when", value=rule.when) from error
    if not isinstance(found, bool):
        raise InvalidInput("The expression is neither true nor false", field="when", value=rule.when)
    return RuleAnswer(rule=rule.name, matched=found, why=f"{rule.when} is {str(found).lower()}")


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> Any:
    try:
        return cel.compile(expression)
    except ValueError as error:
        what = str(error).splitlines()[0][:300]
        raise InvalidInput("The expression cannot be read", field="when", value=expression, cause=what) from error


def _facts(registration: Registration) -> dict[str, Any]:
    return {"id": registration.device_id, **registration.facts.model_dump()}


def _site(rule: AssignmentRule, registration: Registration) -> Site:
    try:
        return _filled_site(rule, _known(rule, registration))
    except ValidationError as error:
        fault: Any = error.errors(include_url=False, include_context=False)[0]
        where = {"field": ".".join(str(part) for part in fault["loc"]), "value": str(fault.get("input"))[:200]}
        raise _unusable(rule, registration, where) from error
    except InvalidInput as error:
        raise _unusable(rule, registration, error.where) from error


def _filled_site(rule: AssignmentRule, known: dict[str, str]) -> Site:
    return Site(
        name=_filled(rule.site, known),
        tenant=_filled(rule.tenant, known),
        region=_word("region", rule.region, known),
        role=rule.role,
        labels={name: _word(f"labels.{name}", value, known) for name, value in rule.labels.items()},
        when_offline=rule.when_offline,
        time_zone=rule.time_zone,
    )


def _unusable(rule: AssignmentRule, registration: Registration, where: dict[str, str]) -> InvalidInput:
    what = "The rule gives this device no usable name"
    return InvalidInput(what, rule=rule.name, device=registration.device_id, **where)


def _known(rule: AssignmentRule, registration: Registration) -> dict[str, str]:
    facts = registration.facts
    return {
        "device.id": registration.device_id.removeprefix(rule.strip_prefix),
        "device.serial": facts.serial,
        "device.model": facts.model,
        "device.architecture": facts.architecture,
        "device.location": facts.location,
    }


def _word(field: str, template: str, known: dict[str, str]) -> str:
    """Regions and labels end in Kubernetes labels, so what a device says of itself may not break their form."""
    word = _filled(template, known)
    if not _LABEL_VALUE.fullmatch(word):
        raise InvalidInput("This is no value for a label", field=field, value=word)
    return word


def _filled(template: str, known: dict[str, str]) -> str:
    return _PLACE.sub(lambda place: known[place[1]], template)


def _check_templates(rule: AssignmentRule) -> None:
    known = _known(rule, _SAMPLE)
    templates = {"site": rule.site, "tenant": rule.tenant, "region": rule.region}
    templates |= {f"labels.{name}": value for name, value in rule.labels.items()}
    for field, template in templates.items():
        for name in _PLACE.findall(template):
            if name not in known:
                what = "A template names something that is not known of a device"
                remedy = f"Use {', '.join(known)}"
                raise InvalidInput(what, field=field, value=template, remedy=remedy)
