"""OpenAPI v3: the index and one document per group version, enough for kubectl's explain, apply and validation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import orjson

from edge.lab.kube.bodies import JSON, PATCHES
from edge.lab.kube.resources import ResourceType, builtin_catalogue
from edge.lab.kube.schema import openapi_v3
from edge.lab.kube.types import SiteTypes

_SCHEMA = "#/components/schemas/"
_TEXT = {"type": "string", "uniqueItems": True}
_TITLE, _VERSION = "Kubernetes", "v1.37.0"
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def index(types: SiteTypes) -> bytes:
    """The list of documents, each with a hash in its address so that clients may keep it."""
    paths = {}
    for group, version in _group_versions(types):
        name = f"apis/{group}/{version}" if group else f"api/{version}"
        digest = _digest(document(types, group, version) or b"")
        paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest}"}
    return orjson.dumps({"paths": paths})


def second(protobuf: bool) -> bytes:
    """OpenAPI v2 without a type in it, as JSON or in protobuf.

    Everything is in v3. kubectl looks here for a kind that v3 does not know, and only when it is told that v2 does not
    know it either does it say what is wrong: that nobody serves this kind.
    """
    if not protobuf:
        info = {"title": _TITLE, "version": _VERSION}
        return orjson.dumps({"swagger": "2.0", "info": info, "paths": {}, "definitions": {}})
    info_field = _field(1, _TITLE.encode()) + _field(2, _VERSION.encode())
    return _field(1, b"2.0") + _field(2, info_field)


def _field(number: int, content: bytes) -> bytes:
    """A protobuf field of bytes, shorter than 128."""
    return bytes((number << 3 | 2, len(content))) + content


@lru_cache(maxsize=256)
def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32].upper()


def document(types: SiteTypes, group: str, version: str) -> bytes | None:
    """The document of one group version; None when the site does not serve it."""
    if (group, version) in _builtin_versions():
        return _builtin(group, version)
    return _custom_document(tuple(one for one in types.custom or () if (one.group, one.version) == (group, version)))


@lru_cache(maxsize=256)
def _custom_document(custom: tuple[ResourceType, ...]) -> bytes | None:
    if not custom:
        return None
    schemas = {_name(one): _custom_schema(one) for one in custom}
    return _document(custom[0].group, custom[0].version, custom, schemas)


def _group_versions(types: SiteTypes) -> list[tuple[str, str]]:
    custom = {(one.group, one.version): None for one in types.custom or ()}
    return [*_builtin_versions(), *custom]


@lru_cache(maxsize=1)
def _builtin_versions() -> tuple[tuple[str, str], ...]:
    return tuple({(one.group, one.version): None for one in builtin_catalogue()})


@lru_cache(maxsize=64)
def _builtin(group: str, version: str) -> bytes:
    resources = tuple(one for one in builtin_catalogue() if (one.group, one.version) == (group, version))
    return _document(group, version, resources, openapi_v3(group, version))


def _custom_schema(one: ResourceType) -> dict[str, Any]:
    schema: dict[str, Any] = orjson.loads(one.schema_source) or {"type": "object"}
    properties = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    schema["properties"] = properties | dict(schema.get("properties") or {})
    schema["x-kubernetes-group-version-kind"] = [_kind(one)]
    return schema


def _document(group: str, version: str, resources: tuple[ResourceType, ...], schemas: dict[str, Any]) -> bytes:
    names = {
        kind["kind"]: name
        for name, schema in schemas.items()
        for kind in schema.get("x-kubernetes-group-version-kind") or ()
        if (kind.get("group", ""), kind["version"]) == (group, version)
    }
    paths = {path: item for one in resources for path, item in _paths(one, names.get(one.kind, ""))}
    return orjson.dumps(
        {
            "openapi": "3.0.0",
            "info": {"title": _TITLE, "version": _VERSION},
            "paths": paths,
            "components": {"schemas": schemas},
        }
    )


def _name(one: ResourceType) -> str:
    return f"{'.'.join(reversed(one.group.split('.')))}.{one.version}.{one.kind}"


def _kind(one: ResourceType) -> dict[str, str]:
    return {"group": one.group, "version": one.version, "kind": one.kind}


def _paths(one: ResourceType, schema: str) -> Iterator[tuple[str, dict[str, Any]]]:
    head = f"/apis/{one.group}/{one.version}" if one.group else f"/api/{one.version}"
    base = f"{head}/namespaces/{{namespace}}/{one.plural}" if one.namespaced else f"{head}/{one.plural}"
    collection = {
        "get": ("list", "list"),
        "post": ("post", "create"),
        "delete": ("deletecollection", "deletecollection"),
    }
    single = {
        "get": ("get", "get"),
        "put": ("put", "update"),
        "patch": ("patch", "patch"),
        "delete": ("delete", "delete"),
    }
    yield base, _item(one, schema, collection)
    if "get" in one.verbs:
        yield f"{base}/{{name}}", _item(one, schema, single)


def _item(one: ResourceType, schema: str, methods: dict[str, tuple[str, str]]) -> dict[str, Any]:
    return {
        method: _operation(one, schema, method, action)
        for method, (action, verb) in methods.items()
        if verb in one.verbs
    }


def _operation(one: ResourceType, schema: str, method: str, action: str) -> dict[str, Any]:
    reference = {"$ref": _SCHEMA + schema} if schema else {"type": "object"}
    operation: dict[str, Any] = {
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _kind(one),
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}},
    }
    if method in {"post", "put", "patch"}:
        words = ("dryRun", "fieldManager", "fieldValidation", *(("force",) if method == "patch" else ()))
        operation["parameters"] = [{"name": word, "in": "query", "schema": _TEXT} for word in words]
        operation["requestBody"] = {"content": {media: {"schema": reference} for media in _media(method, one.custom)}}
    return operation


def _media(method: str, custom: bool) -> tuple[str, ...]:
    """What a write may be sent as. From this list kubectl learns that custom kinds take no strategic merge patch."""
    if method != "patch":
        return (JSON,)
    return tuple(media for media in PATCHES if not (custom and "strategic" in media))
