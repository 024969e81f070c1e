"""ValidatingAdmissionPolicy: the site's own rules in CEL, judged at each write as a real API server judges them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import cel

from edge.lab.kube.admission_match import is_about
from edge.lab.kube.cel_functions import CelFault, Expression, compiled, conditions_hold, surroundings
from edge.lab.kube.errors import ApiError, Cause, cause, forbidden
from edge.lab.kube.policy_params import ParamsFault, params_of
from edge.lab.kube.resources import NAMESPACES, builtin
from edge.lab.kube.review import Review
from edge.lab.kube.store import Obj

_GROUP: Final = "admissionregistration.k8s.io"
_CODES: Final = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}
_NAMESPACE_META: Final = ("name", "generateName", "labels", "annotations", "uid", "creationTimestamp")


@dataclass(frozen=True, slots=True)
class _Denial:
    policy: str
    binding: str
    message: str
    reason: str = ""


def check(review: Review) -> None:
    """Let the site's policies judge a write. Raises ApiError with the first denial; warnings go to the caller."""
    bindings = review.store.list(builtin("validatingadmissionpolicybindings", _GROUP))
    if not bindings or review.exempt:
        return
    denials = [denial for binding in bindings for denial in _judged(review, binding)]
    if denials:
        raise _refusal(review, denials[0])


def _refusal(review: Review, denial: _Denial) -> ApiError:
    text = f"ValidatingAdmissionPolicy '{denial.policy}' with binding '{denial.binding}' denied request: "
    error = forbidden(review.resource, review.name, text + denial.message, [{"message": text + denial.message}])
    reason = denial.reason or "Invalid"
    return ApiError(_CODES.get(reason, 422), reason, error.message, error.details)


def _judged(review: Review, binding: Obj) -> Iterator[_Denial]:
    """What one binding has against the write."""
    name, wish = binding["metadata"]["name"], binding["spec"]
    policy = review.store.get(builtin("validatingadmissionpolicies", _GROUP), "", wish["policyName"])
    if policy is None or not is_about(review, policy["spec"].get("matchConstraints") or {}):
        return
    if not is_about(review, wish.get("matchResources") or {}):
        return
    strict = policy["spec"].get("failurePolicy", "Fail") == "Fail"
    try:
        for params in params_of(review, policy["spec"], wish):
            for message, reason in _faults(review, policy["spec"], params):
                yield from _acted(review, wish, _Denial(wish["policyName"], name, message, reason))
    except ParamsFault as absent:
        if strict:
            yield _Denial(wish["policyName"], name, f"failed to configure binding: {absent}")


def _acted(review: Review, wish: Mapping[str, Any], denial: _Denial) -> Iterator[_Denial]:
    """What the binding does about a failed validation: refuse it, or warn. There is no audit log to annotate."""
    actions = wish.get("validationActions") or ()
    if "Warn" in actions:
        where = f"ValidatingAdmissionPolicy '{denial.policy}' with binding '{denial.binding}'"
        review.call.warnings.append(f"Validation failed for {where}: {denial.message}")
    if "Deny" in actions:
        yield denial


def _faults(review: Review, spec: Mapping[str, Any], params: Obj | None) -> Iterator[tuple[str, str]]:
    """(message, reason) of each validation that does not hold; a fault of the policy counts as `failurePolicy` says."""
    strict = spec.get("failurePolicy", "Fail") == "Fail"
    values, every = _values(review, params), _expressions(spec)
    around = surroundings(values, *every)
    try:
        if not conditions_hold(spec.get("matchConditions") or (), around):
            return
    except CelFault as fault:
        if strict:
            yield str(fault), ""
        return
    if spec.get("variables"):
        around = surroundings({**values, "variables": _variables(spec["variables"], values)}, *every)
    yield from _failed(spec.get("validations") or (), around, strict)


def _failed(validations: Any, around: cel.Context, strict: bool) -> Iterator[tuple[str, str]]:
    for one in validations:
        try:
            if compiled(one["expression"])(around) is not True:
                yield _message(one, around), one.get("reason", "")
        except CelFault as fault:
            if strict:
                yield f"expression '{one['expression'].strip()}' resulted in error: {fault}", ""


def _expressions(spec: Mapping[str, Any]) -> list[Expression]:
    """What is evaluated at every write; variables have surroundings of their own."""
    every = [*(spec.get("matchConditions") or ()), *(spec.get("validations") or ())]
    return [compiled(one[word]) for one in every for word in ("expression", "messageExpression") if one.get(word)]


def _values(review: Review, params: Obj | None) -> dict[str, Any]:
    return {
        "object": review.obj,
        "oldObject": review.old,
        "request": review.request,
        "params": params,
        "namespaceObject": _namespace(review),
    }


def _namespace(review: Review) -> Obj | None:
    """The namespace without what policies have no business with; None for cluster-wide objects."""
    found = None if review.resource.key == NAMESPACES else review.namespace
    if found is None:
        return None
    meta = {word: found["metadata"][word] for word in _NAMESPACE_META if word in found["metadata"]}
    return {"metadata": meta, "spec": found.get("spec") or {}, "status": found.get("status") or {}}


def _variables(named: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Named values, each of which may use those before it. One that fails is missing where it is used."""
    found: dict[str, Any] = {}
    for one in named:
        expression = compiled(one["expression"])
        try:
            found[one["name"]] = expression(surroundings({**values, "variables": found}, expression))
        except CelFault:
            continue
    return found


def _message(validation: Mapping[str, Any], around: cel.Context) -> str:
    """What to tell: the made message when it is usable text, else the fixed one, else the expression."""
    if validation.get("messageExpression"):
        try:
            made = compiled(validation["messageExpression"])(around)
        except CelFault:
            made = None
        if isinstance(made, str) and made.strip() and "\n" not in made:
            return made.strip()
    fixed = str(validation.get("message") or "").strip()
    return fixed or f"failed expression: {validation['expression'].strip()}"


def faults_of(obj: Obj, _old: Obj | None) -> Iterator[Cause]:
    """What is wrong with a policy that is being written: expressions that do not compile."""
    spec = obj.get("spec") or {}
    for word in ("validations", "matchConditions", "variables"):
        yield from _uncompiled(f"spec.{word}", spec.get(word) or ())


def webhook_faults_of(obj: Obj, _old: Obj | None) -> Iterator[Cause]:
    """What is wrong with webhooks that are being configured: conditions that do not compile."""
    for place, hook in enumerate(obj.get("webhooks") or ()):
        yield from _uncompiled(f"webhooks[{place}].matchConditions", hook.get("matchConditions") or ())


def _uncompiled(path: str, expressions: Iterable[Mapping[str, Any]]) -> Iterator[Cause]:
    for place, one in enumerate(expressions):
        for field in ("expression", "messageExpression"):
            text = one.get(field)
            fault = _fault(text) if text else ""
            if fault:
                said = f'Invalid value: "{text}": compilation failed: {fault}'
                yield cause(f"{path}[{place}].{field}", "FieldValueInvalid", said)


def _fault(text: str) -> str:
    try:
        compiled(text)
    except CelFault as fault:
        return f"ERROR: {fault}"
    return ""
