"""Rules on rendered objects, in CEL: who breaks which, and who answers for an exception.

The same expressions run here before anything is sent and, as a ValidatingAdmissionPolicy, at the sites
(`edge.policy.admission_policies`). So they may use only what both have: `object`, and for workloads `variables.pod`,
`variables.containers` and `variables.registries`, which are themselves CEL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

import cel
import orjson
from pydantic import ValidationError

from edge.errors import InvalidInput
from edge.model.kube import KubeObject, ObjectRef
from edge.model.rule import Rule, Violation, Waiver
from edge.policy.pod_shapes import CONTAINERS, SHAPES, group_kind, shape_of
from edge.policy.yaml_text import parse_yaml

_FAULTS = (KeyError, TypeError, ValueError, RuntimeError, IndexError)
"""What evaluating may raise: a missing field, a wrong type, an unknown function, a bad pattern."""


_MOST_KNOWN = 10_000
"""Objects whose verdict is kept."""


def parse_rules(text: str | bytes, origin: str) -> tuple[Rule, ...]:
    """The rules of a YAML file with one key, `rules`. Raises InvalidInput naming `origin`, the field and the value."""
    document = parse_yaml(text, origin=origin)
    if not isinstance(document, dict) or set(document) != {"rules"} or not isinstance(document["rules"], list):
        raise InvalidInput("A file of rules has one key, rules, with a list", file=origin, field="rules")
    found = []
    for number, said in enumerate(document["rules"]):
        try:
            found.append(Rule.model_validate(said))
        except ValidationError as error:
            fault: Any = error.errors(include_url=False, include_context=False)[0]
            field = ".".join(("rules", str(number), *(str(part) for part in fault["loc"])))
            raise InvalidInput(fault["msg"], file=origin, field=field, value=str(fault.get("input"))[:200]) from error
    return tuple(found)


class RuleBook:
    """Rules, compiled once. `registries` are the allowed ones, without a slash at the end.

    Raises InvalidInput naming the rule for an expression that is no CEL and for a code that is given twice.
    """

    def __init__(self, rules: Sequence[Rule], registries: Sequence[str] = ()) -> None:
        self.rules = tuple(rules)
        self.registries = tuple(registry.rstrip("/") for registry in registries)
        self._programs = {rule.code: _compiled(rule) for rule in self.rules}
        self._pods = {shape.name: cel.compile(shape.pod) for shape in SHAPES}
        self._containers = cel.compile(CONTAINERS)
        self._known: dict[bytes, tuple[tuple[Rule, str], ...]] = {}
        if len(self._programs) != len(self.rules):
            codes = [rule.code for rule in self.rules]
            twice = next(code for code in codes if codes.count(code) > 1)
            raise InvalidInput("Two rules have this code", field="code", value=twice)

    def check_waivers(self, waivers: Sequence[Waiver]) -> None:
        """Raises InvalidInput for a waiver of a rule that does not exist, which waives nothing."""
        for number, waiver in enumerate(waivers):
            if waiver.code not in self._programs:
                known = ", ".join(sorted(self._programs)) or "none"
                what = "This waiver is for a rule that does not exist"
                raise InvalidInput(what, field=f"waivers.{number}.code", value=waiver.code, known=known)

    def violations(
        self, objects: Sequence[KubeObject], waivers: Sequence[Waiver], now: datetime
    ) -> tuple[Violation, ...]:
        """Every breach of every rule, waived or not, by object and then by rule.

        A waiver whose time is over counts as none, and is named in the message.
        """
        self.check_waivers(waivers)
        return tuple(
            _judged(rule, ObjectRef.of(obj), waivers, now, fault)
            for obj in objects
            for rule, fault in self._breaches(obj)
        )

    def _breaches(self, obj: KubeObject) -> tuple[tuple[Rule, str], ...]:
        """The rules that the object breaks, and what kept one from being evaluated. Most sites have alike objects."""
        rules = [rule for rule in self.rules if _is_about(rule, obj)]
        if not rules:
            return ()
        key = sha256(orjson.dumps(obj, default=dict)).digest()
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._known[key] = tuple(self._judge(obj, rules))
        return found

    def _judge(self, obj: KubeObject, rules: Sequence[Rule]) -> Iterator[tuple[Rule, str]]:
        # A context is made once: to bring an object into CEL's own values costs more than all rules together.
        names = {name for rule in rules for name in self._programs[rule.code].variables()}
        values = {"object": obj, "variables": self._variables(obj) if "variables" in names else {}}
        context = cel.Context({name: values[name] for name in names & set(values)})
        for rule in rules:
            try:
                if self._programs[rule.code].execute(context) is not True:
                    yield rule, ""
            except _FAULTS as fault:
                # As at a site, where failurePolicy is Fail: what cannot be judged does not pass.
                yield rule, f"it cannot be evaluated: {_short(fault)}"

    def _variables(self, obj: KubeObject) -> dict[str, Any]:
        found: dict[str, Any] = {"registries": list(self.registries)}
        shape = shape_of(obj)
        if shape is None:
            return found
        try:
            found["pod"] = self._pods[shape.name].execute({"object": obj})
            found["containers"] = self._containers.execute({"variables": found})
        except _FAULTS:
            return found
        return found


def unwaived(violations: Sequence[Violation]) -> tuple[Violation, ...]:
    """Those that nobody answers for."""
    return tuple(one for one in violations if not one.waived_by)


def _compiled(rule: Rule) -> Any:
    try:
        return cel.compile(rule.expression)
    except ValueError as theirs:
        said = " ".join(str(theirs).split())[:300]
        raise InvalidInput(f"This expression is not CEL: {said}", field="expression", rule=rule.code) from theirs


def _is_about(rule: Rule, obj: KubeObject) -> bool:
    group, kind = group_kind(obj)
    if not rule.kinds:
        return True
    if f"{kind}.{group}" in rule.kinds:
        return True
    # A workload's kind means Kubernetes' own; a namesake of another group has its pods elsewhere, if any.
    is_namesake = any(kind in shape.kinds for shape in SHAPES) and shape_of(obj) is None
    return kind in rule.kinds and not is_namesake


def _judged(rule: Rule, ref: ObjectRef, waivers: Sequence[Waiver], now: datetime, fault: str) -> Violation:
    fitting = [one for one in waivers if one.code == rule.code and one.object in ("", ref.name)]
    good = next((one for one in fitting if one.expires > now), None)
    message = f"{rule.message} ({fault})" if fault else rule.message
    if fitting and good is None:
        last = max(fitting, key=lambda one: one.expires)
        message += f"; the waiver of {last.owner} expired on {last.expires:%Y-%m-%d}"
    return Violation(
        code=rule.code, ref=ref, message=message, fix=rule.fix, waived_by=good.owner if good is not None else ""
    )


def _short(fault: Exception) -> str:
    return " ".join(str(fault).split())[:200]
