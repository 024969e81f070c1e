"""Objects of kinds that a stamp defines itself, against the schema in its own definition.

A site can try such an object only once the definition is there. Until then the schema is read as JSON Schema: what it
says of types, bounds, required and unknown fields is checked, its CEL rules and defaults are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema_rs

from edge.model.kube import KubeObject

MOST_FAULTS = 5

_KEPT = (
    "type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
    "maxLength", "pattern", "minItems", "maxItems", "minProperties", "maxProperties", "required",
)  # fmt: skip
_HEAD = {"apiVersion": True, "kind": True, "metadata": True}


def schemas_in(objects: Sequence[KubeObject]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """(apiVersion, kind) -> the schema of each version that these objects' definitions serve."""
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


def schema_faults(schema: Mapping[str, Any], obj: KubeObject) -> tuple[str, ...]:
    """Where the object does not fit, with the field; at most `MOST_FAULTS`. A schema that is none faults itself."""
    plain = _as_json_schema(schema)
    properties = plain.setdefault("properties", {})
    properties.update(_HEAD)
    try:
        validator = jsonschema_rs.validator_for(plain)
    except (jsonschema_rs.ValidationError, ValueError) as theirs:
        return (f"The definition's own schema is no schema: {' '.join(str(theirs).split())[:200]}",)
    faults = []
    for error in validator.iter_errors(dict(obj)):
        field = ".".join(str(part) for part in error.instance_path)
        faults.append(f"{field or 'object'}: {error.message[:200]}")
        if len(faults) == MOST_FAULTS:
            break
    return tuple(faults)


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
