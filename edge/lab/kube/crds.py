"""Custom resource definitions: checked, given their conditions, and turned into resource types.

Types and compiled schemas are cached by content, so a thousand sites with the same CRDs hold one copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

import orjson

from edge.lab.kube.errors import Cause, cause
from edge.lab.kube.resources import Column, ResourceType, ScalePaths
from edge.lab.kube.schema import Schema, crd_schema

_VERSION = re.compile(r"v(?P<major>\d+)((?P<stage>alpha|beta)(?P<minor>\d+))?")
_TYPES = frozenset({"array", "boolean", "integer", "number", "object", "string"})
_AGE = Column(name="Age", cell="age")


def types_of(crd: Mapping[str, Any]) -> tuple[ResourceType, ...]:
    """One resource type per served version, the preferred one (the most mature, then the newest) first."""
    return _types_of(orjson.dumps(crd["spec"], option=orjson.OPT_SORT_KEYS))


@lru_cache(maxsize=512)
def _types_of(text: bytes) -> tuple[ResourceType, ...]:
    spec = orjson.loads(text)
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    served = [version for version in spec["versions"] if version.get("served")]
    return tuple(_type_of(spec, version, storage) for version in sorted(served, key=_maturity))


def _maturity(version: Mapping[str, Any]) -> tuple[int, int, int, str]:
    """Sorts v2 before v1 before v1beta2 before v1alpha1 before names of any other form."""
    name: str = version["name"]
    found = _VERSION.fullmatch(name)
    if found is None:
        return (3, 0, 0, name)
    stage = ("", "beta", "alpha").index(found["stage"] or "")
    return (stage, -int(found["major"]), -int(found["minor"] or 0), name)


def _type_of(spec: Mapping[str, Any], version: Mapping[str, Any], storage: str) -> ResourceType:
    names = spec["names"]
    subresources = version.get("subresources") or {}
    source = orjson.dumps((version.get("schema") or {}).get("openAPIV3Schema") or {}, option=orjson.OPT_SORT_KEYS)
    return ResourceType(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        singular=names.get("singular") or names["kind"].lower(),
        list_kind=names.get("listKind") or f"{names['kind']}List",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=tuple(sorted(subresources)),
        counts_generation=True,
        columns=_columns(version),
        scale=_scale(subresources.get("scale")),
        storage_version=storage,
        storage_group=spec["group"],
        custom_schema=partial(_compiled, source, bool(spec.get("preserveUnknownFields"))),
        schema_source=source,
    )


@lru_cache(maxsize=512)
def _compiled(source: bytes, preserve_unknown: bool) -> Schema:
    return crd_schema(orjson.loads(source), preserve_unknown)


def _scale(paths: Mapping[str, str] | None) -> ScalePaths | None:
    if paths is None:
        return None
    return ScalePaths(paths["specReplicasPath"], paths["statusReplicasPath"], paths.get("labelSelectorPath", ""))


def _columns(version: Mapping[str, Any]) -> tuple[Column, ...]:
    columns = tuple(
        Column(
            name=column["name"],
            path=column["jsonPath"],
            type=column["type"],
            format=column.get("format", ""),
            priority=column.get("priority", 0),
            description=column.get("description", ""),
        )
        for column in version.get("additionalPrinterColumns") or ()
    )
    return columns or (_AGE,)


def check(crd: Mapping[str, Any]) -> list[Cause]:
    """What is wrong with a CRD beyond its own schema."""
    faults = [*_check_names(crd), *_check_versions(crd["spec"].get("versions") or [])]
    return faults or list(_uncompiled(crd))


def _uncompiled(crd: Mapping[str, Any]) -> Iterator[Cause]:
    """Schemas that cannot be worked with for a reason not looked for: better refused now than at the first object."""
    for index, version in enumerate(crd["spec"]["versions"]):
        try:
            crd_schema(version["schema"]["openAPIV3Schema"])
        except (AttributeError, KeyError, TypeError, ValueError) as bad:
            path = f"spec.versions[{index}].schema.openAPIV3Schema"
            yield cause(path, "FieldValueInvalid", f"Invalid value: not a usable schema: {bad}")


def _check_names(crd: Mapping[str, Any]) -> Iterator[Cause]:
    spec = crd["spec"]
    wanted = f"{spec['names'].get('plural', '')}.{spec.get('group', '')}"
    name = crd["metadata"]["name"]
    if name != wanted:
        text = f'Invalid value: "{name}": must be spec.names.plural+"."+spec.group'
        yield cause("metadata.name", "FieldValueInvalid", text)
    if spec.get("scope") not in {"Namespaced", "Cluster"}:
        text = f'Unsupported value: "{spec.get("scope", "")}": supported values: "Cluster", "Namespaced"'
        yield cause("spec.scope", "FieldValueNotSupported", text)


def _check_versions(versions: list[Mapping[str, Any]]) -> Iterator[Cause]:
    if sum(bool(version.get("storage")) for version in versions) != 1:
        text = "Invalid value: must have exactly one version marked as storage version"
        yield cause("spec.versions", "FieldValueInvalid", text)
    for index, version in enumerate(versions):
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        path = f"spec.versions[{index}].schema.openAPIV3Schema"
        if schema is None:
            yield cause(path, "FieldValueRequired", "Required value: schemas are required")
            continue
        if schema.get("type") not in {"object", None}:
            text = f'Invalid value: "{schema["type"]}": must be object at the root'
            yield cause(f"{path}.type", "FieldValueInvalid", text)
        yield from _structural(schema, path)


def _structural(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """Each value must say its type, or be int-or-string, or keep unknown fields."""
    kind = schema.get("type")
    free = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if not kind and not free:
        yield cause(f"{path}.type", "FieldValueRequired", "Required value: must not be empty for object fields")
    elif kind and kind not in _TYPES:
        text = f'Unsupported value: "{kind}": supported values: {", ".join(sorted(_TYPES))}'
        yield cause(f"{path}.type", "FieldValueNotSupported", text)
    for name, child in (schema.get("properties") or {}).items():
        yield from _structural(child or {}, f"{path}.properties[{name}]")
    for word in ("items", "additionalProperties"):
        if isinstance(child := schema.get(word), Mapping):
            yield from _structural(child, f"{path}.{word}")


def with_defaults(crd: dict[str, Any], now: str) -> dict[str, Any]:
    """The CRD as stored: names filled in, accepted and established at once."""
    spec = dict(crd["spec"])
    names = dict(spec["names"])
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", f"{names['kind']}List")
    spec["names"] = names
    spec.setdefault("conversion", {"strategy": "None"})
    storage = [version["name"] for version in spec["versions"] if version.get("storage")]
    return {**crd, "spec": spec, "status": _status(crd.get("status"), names, storage, now)}


def _status(old: Mapping[str, Any] | None, names: Mapping[str, Any], storage: list[str], now: str) -> dict[str, Any]:
    old = old or {}
    stored = [*(old.get("storedVersions") or ())]
    conditions = old.get("conditions") or [
        _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
        _condition("Established", "InitialNamesAccepted", "the initial names have been accepted", now),
    ]
    return {
        "acceptedNames": dict(names),
        "conditions": conditions,
        "storedVersions": stored + [version for version in storage if version not in stored],
    }


def _condition(kind: str, reason: str, message: str, now: str) -> dict[str, str]:
    return {"lastTransitionTime": now, "message": message, "reason": reason, "status": "True", "type": kind}
