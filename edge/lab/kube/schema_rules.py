"""Rules about several fields at once: CEL in a custom resource's schema, and the few that built-in workloads need."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import cel

from edge.lab.kube.schema_node import WORKLOADS, Json, Node

Fault = tuple[str, str, str]
"""Path, reason and message."""


def rule_faults(node: Node, value: Any, old: Any, path: str) -> Iterator[Fault]:
    """What the rules at and below `node` have against `value`. Rules that name `oldSelf` need `old`."""
    if value is None or not node.ruled:
        return
    for rule in node.source.get("x-kubernetes-validations", ()):
        yield from _evaluate(rule, value, old, path)
    if node.name in WORKLOADS:
        yield from _selector_fits(value)
    for key, below, child, was in _below(node, value, old):
        yield from rule_faults(below, child, was, f"{path}{key}" if path else key.lstrip("."))


def _below(node: Node, value: Any, old: Any) -> Iterator[tuple[str, Node, Any, Any]]:
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for key, child in value.items():
            below = node.fields.get(key) or node.elem
            if below is not None:
                yield f".{key}", below, child, before.get(key)
    elif isinstance(value, list) and node.elem is not None:
        known = _by_key(node, old)
        for place, item in enumerate(value):
            yield f"[{place}]", node.elem, item, known.get(_identity(node, item)) if known else None


def _by_key(node: Node, items: Any) -> dict[str, Any]:
    """Old items of a list map by their key; items of other lists have no past."""
    return {_identity(node, item): item for item in items or ()} if node.keys else {}


def _identity(node: Node, item: Any) -> str:
    return repr([item.get(key, node.key_defaults.get(key)) for key in node.keys]) if isinstance(item, dict) else ""


@lru_cache(maxsize=4096)
def _program(expression: str) -> Any:
    try:
        return cel.compile(expression)
    except ValueError:
        return None


def _evaluate(rule: Json, value: Any, old: Any, path: str) -> Iterator[Fault]:
    program = _program(rule["rule"])
    transition = "oldSelf" in rule["rule"]
    if program is None or (transition and old is None and not rule.get("optionalOldSelf")):
        return
    names = {"self": value, "oldSelf": old} if transition else {"self": value}
    try:
        good = program.execute(names)
    except KeyError as missing:
        good, rule = False, {**rule, "message": f"no such key: {missing.args[0]} evaluating rule: {rule['rule']}"}
    except (RuntimeError, TypeError, ValueError):
        # The server's own functions (isURL, quantity, ...) are unknown to the library; such a rule is not enforced.
        return
    if good is not True:
        kind = {dict: "object", list: "array", str: "string", bool: "boolean"}.get(type(value), "number")
        where = f"{path}{rule.get('fieldPath', '')}".lstrip(".")
        yield where, rule.get("reason", "FieldValueInvalid"), f'Invalid value: "{kind}": {_message(rule, names)}'


def _message(rule: Json, names: Json) -> str:
    program = _program(rule["messageExpression"]) if rule.get("messageExpression") else None
    if program is not None:
        try:
            return str(program.execute(names))
        except (KeyError, RuntimeError, TypeError, ValueError):
            pass  # a message that cannot be computed falls back to the fixed one, as on a real server
    return str(rule.get("message") or f"failed rule: {rule['rule']}")


def _selector_fits(workload: Json) -> Iterator[Fault]:
    spec = workload.get("spec") or {}
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not spec.get("selector") or not (wanted or spec["selector"].get("matchExpressions")):
        yield "spec.selector", "FieldValueInvalid", "Invalid value: {}: empty selector is invalid for deployment"
    elif "template" in spec and any(labels.get(key) != value for key, value in wanted.items()):
        shown = json.dumps(labels, separators=(",", ":"))
        text = f"Invalid value: {shown}: `selector` does not match template `labels`"
        yield "spec.template.metadata.labels", "FieldValueInvalid", text
