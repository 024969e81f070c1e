"""Objects of kinds that a stamp defines itself, against the schema in its own definition.

A site can try such an object only once the definition is there. Until then the schema is read as JSON Schema: what it
says of types, bounds, required and unknown fields is checked, its CEL rules and defaults are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import jsonschema_rs

from edge.model.kube import KubeObject
from edge.policy.fitness import own_kinds

MOST_FAULTS = 5

_KEPT = (
    "type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
    "maxLength", "pattern", "minItems", "maxItems", "minProperties", "maxProperties", "required",
)  # fmt: skip
_HEAD = {"apiVersion": True, "kind": True, "metadata": True}


class OwnKinds:
    """The kinds that these objects define, with their schemas, which are compiled when they are first needed."""

    def __init__(self, objects: Sequence[KubeObject]) -> None:
        self.names = own_kinds(objects)
        self._schemas = _schemas_in(objects)
        self._validators: dict[tuple[str, str], Any] = {}

    def define(self, api_version: str, kind: str) -> bool:
        """Whether this kind is one of them."""
        return f"{kind}.{api_version.rpartition('/')[0]}" in self.names

    def faults(self, obj: KubeObject) -> tuple[str, ...]:
        """Where the object does not fit its schema, with the field; at most `MOST_FAULTS`.

        A version that the definition does not have, and a schema that is none, are faults themselves.
        """
        key = (str(obj["apiVersion"]), str(obj["kind"]))
        if key not in self._schemas:
            return (f"The stamp's definition of {key[1]} has no version {key[0]} with a schema",)
        try:
            validator = self._validators.get(key) or self._compile(key)
        except (jsonschema_rs.ValidationError, ValueError) as theirs:
            return (f"The definition's own schema is no schema: {' '.join(str(theirs).split())[:200]}",)
        errors = islice(validator.iter_errors(dict(obj)), MOST_FAULTS)
        return tuple(
            f"{'.'.join(map(str, error.instance_path)) or 'object'}: {error.message[:200]}" for error in errors
        )

    def _compile(self, key: tuple[str, str]) -> Any:
        plain = _as_json_schema(self._schemas[key])
        plain.setdefault("properties", {}).update(_HEAD)
        self._validators[key] = jsonschema_rs.validator_for(plain)
        return self._validators[key]


def _schemas_in(objects: Sequence[KubeObject]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """(apiVersion, kind) -> the schema of each version that these objects' definitions have."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for obj in objects:
        spec = obj.get("spec") if obj["kind"] == "CustomResourceDefinition" else None
        if not isinstance(spec, Mapping) or not isinstance(spec.get("names"), Mapping):
            continue
        for version in spec.get("versions") or ():
            schema = (version.get("schema") or {}).get("openAPIV3Schema")
            if isinstance(schema, Mapping):
                found[f"{spec.get('group')}/{version.get('name')}", str(spec["names"].get("kind"))] = schema
    return found


def _as_json_schema(said: Mapping[str, Any]) -> dict[str, Any]:
    if said.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    found: dict[str, Any] = {word: said[word] for word in _KEPT if word in said}
    if said.get("nullable") and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    if isinstance(said.get("properties"), Mapping):
        found["properties"] = {name: _as_json_schema(part) for name, part in said["properties"].items()}
        if not said.get("x-kubernetes-preserve-unknown-fields"):
            found["additionalProperties"] = False
    if isinstance(said.get("additionalProperties"), Mapping):
        found["additionalProperties"] = _as_json_schema(said["additionalProperties"])
    if isinstance(said.get("items"), Mapping):
        found["items"] = _as_json_schema(said["items"])
    return found
