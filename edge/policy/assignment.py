"""Which site, tenant and region a device gets: the first rule whose CEL expression is true of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import cel
from pydantic import ValidationError

from edge.errors import InvalidInput
from edge.model.assignment import Assignment, AssignmentRule, AssignmentRules, RuleAnswer
from edge.model.device import DeviceFacts, Registration
from edge.policy.yaml_text import parse_yaml

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


def assign(registration: Registration, rules: AssignmentRules) -> Assignment | None:
    """What the first matching rule makes of a device; None when no rule matches (`explain` says why).

    Raises InvalidInput when a rule gives no usable name for this device, or its expression is no condition.
    """
    for rule in rules.rules:
        answer = _answer(rule, registration)
        if answer.matched:
            return _assignment(rule, registration, answer.why)
    return None


def explain(registration: Registration, rules: AssignmentRules) -> tuple[RuleAnswer, ...]:
    """What each rule says about a device, in order, ending with the one that decides."""
    return tuple(_until_decided(registration, rules))


def _until_decided(registration: Registration, rules: AssignmentRules) -> Iterator[RuleAnswer]:
    for rule in rules.rules:
        answer = _answer(rule, registration)
        yield answer
        if answer.matched:
            return


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
def _compiled(expression: str) -> Any:  # noqa: ANN401 - the package has no types
    try:
        return cel.compile(expression)
    except ValueError as error:
        what = str(error).splitlines()[0][:300]
        raise InvalidInput("The expression cannot be read", field="when", value=expression, cause=what) from error


def _facts(registration: Registration) -> dict[str, Any]:
    return {"id": registration.device_id, **registration.facts.model_dump()}


def _assignment(rule: AssignmentRule, registration: Registration, why: str) -> Assignment:
    known = _known(rule, registration)
    try:
        return Assignment(
            site=_filled(rule.site, known),
            tenant=_filled(rule.tenant, known),
            region=_filled(rule.region, known),
            role=rule.role,
            labels={name: _filled(value, known) for name, value in rule.labels.items()},
            when_offline=rule.when_offline,
            time_zone=rule.time_zone,
            rule=rule.name,
            why=f"Rule {rule.name!r}: {why}",
        )
    except ValidationError as error:
        fault: Any = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        what = "The rule gives this device no usable name"
        raise InvalidInput(
            what, rule=rule.name, device=registration.device_id, field=field, value=str(fault.get("input"))[:200]
        ) from error


def _known(rule: AssignmentRule, registration: Registration) -> dict[str, str]:
    facts = registration.facts
    return {
        "device.id": registration.device_id.removeprefix(rule.strip_prefix),
        "device.serial": facts.serial,
        "device.model": facts.model,
        "device.architecture": facts.architecture,
        "device.location": facts.location,
    }


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
