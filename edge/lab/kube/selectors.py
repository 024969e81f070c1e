"""Label and field selectors: text in, predicate out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from edge.lab.kube.errors import ApiError, bad_request

Predicate = Callable[[Mapping[str, Any]], bool]
Labels = Mapping[str, str]
_Requirement = Callable[[Labels], bool]

_COMMA = re.compile(r",(?![^(]*\))")
_SET = re.compile(r"^(?P<key>[^\s!=(),]+)\s+(?P<op>in|notin)\s*\((?P<values>[^)]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^\s!=(),<>]+)\s*(?P<op>==|!=|=)\s*(?P<value>[^\s!=(),]*)$")
_NUMBER = re.compile(r"^(?P<key>[^\s!=(),<>]+)\s*(?P<op>[<>])\s*(?P<value>-?\d+)$")
_EXISTS = re.compile(r"^(?P<not>!\s*)?(?P<key>[^\s!=(),<>]+)$")


def labels_of(obj: Mapping[str, Any]) -> Labels:
    """The object's labels, empty when it has none."""
    return obj["metadata"].get("labels") or {}


@lru_cache(maxsize=1024)
def label_selector(text: str) -> Predicate | None:
    """A predicate for `a=b,c!=d,e in (x,y),!f,g>3`; None selects everything. Raises ApiError 400 on bad text."""
    parts = [part.strip() for part in _COMMA.split(text) if part.strip()]
    if not parts:
        return None
    requirements = [_requirement(part, text) for part in parts]
    return lambda obj: all(holds(labels_of(obj)) for holds in requirements)


def _requirement(part: str, text: str) -> _Requirement:
    if found := _SET.match(part):
        values = frozenset(value.strip() for value in found["values"].split(","))
        return _one_of(found["key"], values, found["op"] == "in")
    if found := _EQUAL.match(part):
        return _one_of(found["key"], frozenset({found["value"]}), found["op"] != "!=")
    if found := _NUMBER.match(part):
        return _compare(found["key"], found["op"], int(found["value"]))
    if found := _EXISTS.match(part):
        key, wanted = found["key"], not found["not"]
        return lambda labels: (key in labels) == wanted
    raise bad_request(f'unable to parse requirement: found "{part}" in selector "{text}"')


def _one_of(key: str, values: frozenset[str], wanted: bool) -> _Requirement:
    if wanted:
        return lambda labels: labels.get(key) in values
    return lambda labels: labels.get(key) not in values


def _compare(key: str, operator: str, number: int) -> _Requirement:
    def holds(labels: Labels) -> bool:
        try:
            value = int(labels.get(key, ""))
        except ValueError:
            return False
        return value > number if operator == ">" else value < number

    return holds


def matches(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    """Whether a LabelSelector (matchLabels, matchExpressions) selects these labels. None selects nothing."""
    if selector is None:
        return False
    plain = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in plain.items()):
        return False
    return all(_expression(one, labels) for one in selector.get("matchExpressions") or ())


def _expression(one: Mapping[str, Any], labels: Labels) -> bool:
    key, operator, values = one["key"], one["operator"], one.get("values") or ()
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return bool((key in labels) == (operator == "Exists"))


# Fields a selector may name, per kind beyond the two every kind has.
_FIELDS: dict[str, frozenset[str]] = {
    "Pod": frozenset(
        {
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        }
    ),
    "Node": frozenset({"spec.unschedulable"}),
    "Namespace": frozenset({"status.phase"}),
    "Secret": frozenset({"type"}),
    "Job": frozenset({"status.successful"}),
    "ReplicaSet": frozenset({"status.replicas"}),
    "Service": frozenset({"spec.clusterIP", "spec.type"}),
    "CertificateSigningRequest": frozenset({"spec.signerName"}),
    "Event": frozenset(
        {
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        }
    ),
}
_ALWAYS = frozenset({"metadata.name", "metadata.namespace"})


@lru_cache(maxsize=1024)
def field_selector(text: str, kind: str) -> Predicate | None:
    """A predicate for `metadata.name=x,status.phase!=Running`; None selects everything. ApiError 400 if unsupported."""
    terms = [_field_term(part.strip(), kind) for part in text.split(",") if part.strip()]
    if not terms:
        return None
    return lambda obj: all((_field(obj, path) == value) == wanted for path, value, wanted in terms)


def _field_term(part: str, kind: str) -> tuple[tuple[str, ...], str, bool]:
    found = re.match(r"^(?P<key>[^!=]+)(?P<op>==|!=|=)(?P<value>.*)$", part)
    if found is None:
        raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
    key = found["key"].strip()
    if key not in _ALWAYS and key not in _FIELDS.get(kind, frozenset()):
        raise ApiError(400, "BadRequest", f"field label not supported: {key}")
    return tuple(key.split(".")), found["value"].strip(), found["op"] != "!="


def _field(obj: Any, path: tuple[str, ...]) -> str:
    for word in path:
        obj = obj.get(word) if isinstance(obj, Mapping) else None
    if isinstance(obj, bool):
        return "true" if obj else "false"
    return "" if obj is None else str(obj)


def both(first: Predicate | None, second: Predicate | None) -> Predicate | None:
    """Both predicates; None stands for everything."""
    if first is None or second is None:
        return first or second
    return lambda obj: first(obj) and second(obj)
