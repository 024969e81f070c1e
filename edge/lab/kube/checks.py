"""Checks of a whole object: its schema's, and beyond it names, labels, finalizers and fields that may not change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from edge.lab.kube.errors import ApiError, Cause, bad_request, cause, invalid
from edge.lab.kube.kind_checks import kind_faults
from edge.lab.kube.metadata_checks import metadata_faults
from edge.lab.kube.resources import ResourceType
from edge.lab.kube.schema import Schema
from edge.lab.kube.schema_faults import FieldFault
from edge.lab.kube.store import Obj

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_DNS_LABEL = re.compile(_LABEL)
_PATH_SEGMENT = re.compile(r"[^/%]+")
_LABEL_KEY = re.compile(rf"({_LABEL}(\.{_LABEL})*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character"
)
_SHORT_NAMES = frozenset({"Namespace", "Service"})
_ANNOTATIONS = 256 * 1024

# Names of these kinds are only kept from breaking a URL.
_FREE_NAMES = frozenset({"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"})


def check(resource: ResourceType, obj: Obj, old: Obj | None) -> None:
    """Raise ApiError 422 with every fault of the object."""
    causes = [*_metadata(resource, obj, old), *_schema_faults(resource, obj, old), *kind_faults(resource, obj, old)]
    if old is not None:
        causes += _frozen(resource, obj, old)
    if causes:
        raise invalid(resource.kind, resource.group, obj["metadata"].get("name", ""), causes)


def check_types(resource: ResourceType, obj: Obj) -> None:
    """Refuse values of wrong types, as decoding into Go's types does: first of all, so that the rest can rely on them.

    Raises ApiError 400 for a built-in kind and 422 for a custom one.
    """
    wrong = wrong_types(resource.schema, obj)
    if wrong and resource.custom:
        raise invalid(resource.kind, resource.group, str(obj["metadata"].get("name", "")), _causes(wrong))
    if wrong:
        raise undecodable(resource.kind, resource.version, wrong[0].message)


def wrong_types(schema: Schema, obj: Obj) -> list[FieldFault]:
    """The values of wrong types in an object."""
    return [fault for fault in schema.validate(obj) if fault.reason == "FieldValueTypeInvalid"]


def undecodable(kind: str, version: str, why: str) -> ApiError:
    """400: the body does not fit the kind."""
    return bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {why}')


def _causes(faults: list[FieldFault]) -> list[Cause]:
    return [cause(fault.path, fault.reason, fault.message) for fault in faults]


def _schema_faults(resource: ResourceType, obj: Obj, old: Obj | None) -> list[Cause]:
    return _causes(resource.schema.validate(obj, old))


def _metadata(resource: ResourceType, obj: Obj, old: Obj | None) -> Iterator[Cause]:
    meta = obj["metadata"]
    if old is None:
        yield from _name(resource, meta)
    elif old["metadata"].get("deletionTimestamp"):
        added = set(meta.get("finalizers") or ()) - set(old["metadata"].get("finalizers") or ())
        if added:
            text = "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers"
            text = f"{text} {sorted(added)}"
            yield cause("metadata.finalizers", "FieldValueForbidden", text)
    yield from _labels(meta.get("labels") or {})
    yield from metadata_faults(meta, builtin=not resource.custom and resource.group != "apiextensions.k8s.io")
    size = sum(len(key) + len(str(value)) for key, value in (meta.get("annotations") or {}).items())
    if size > _ANNOTATIONS:
        text = f"Too long: may not be more than {_ANNOTATIONS} bytes"
        yield cause("metadata.annotations", "FieldValueTooLong", text)


def _name(resource: ResourceType, meta: Mapping[str, Any]) -> Iterator[Cause]:
    name = meta.get("name") or ""
    if not name:
        if not meta.get("generateName"):
            yield cause("metadata.name", "FieldValueRequired", "Required value: name or generateName is required")
        return
    if resource.kind in _FREE_NAMES:
        if not _PATH_SEGMENT.fullmatch(name) or name in {".", ".."}:
            yield cause("metadata.name", "FieldValueInvalid", f"Invalid value: \"{name}\": may not contain '/' or '%'")
        return
    short = resource.kind in _SHORT_NAMES
    pattern, most, rule = (_DNS_LABEL, 63, _LABEL_RULE) if short else (_SUBDOMAIN, 253, _SUBDOMAIN_RULE)
    if len(name) > most or not pattern.fullmatch(name):
        yield cause("metadata.name", "FieldValueInvalid", f'Invalid value: "{name}": {rule}')


def _labels(labels: Mapping[str, Any]) -> Iterator[Cause]:
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            text = f"Invalid value: \"{key}\": name part must consist of alphanumeric characters, '-', '_' or '.'"
            yield cause("metadata.labels", "FieldValueInvalid", text)
        if not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value):
            text = (
                f'Invalid value: "{value}": a valid label must be an empty string or at most 63 alphanumeric '
                "characters, '-', '_' or '.', and must start and end with an alphanumeric character"
            )
            yield cause("metadata.labels", "FieldValueInvalid", text)


def _frozen(resource: ResourceType, obj: Obj, old: Obj) -> Iterator[Cause]:
    for path in resource.immutable:
        before, after = _at(old, path), _at(obj, path)
        if before is not None and before != after:
            shown = orjson.dumps(after).decode()
            yield cause(path, "FieldValueInvalid", f"Invalid value: {shown}: field is immutable")
    if old.get("immutable") is True and resource.kind in {"ConfigMap", "Secret"}:
        if obj.get("immutable") is not True:
            yield cause("immutable", "FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set")
        for word in ("data", "binaryData"):
            if obj.get(word) != old.get(word):
                yield cause(word, "FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set")


def _at(obj: Any, path: str) -> Any:
    for word in path.split("."):
        obj = obj.get(word) if isinstance(obj, dict) else None
    return obj
