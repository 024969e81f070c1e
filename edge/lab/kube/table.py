"""Objects as clients asked to see them: whole, as rows of a Table, or only their metadata."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson

from edge.lab.kube.call import Call
from edge.lab.kube.cells import cell, since
from edge.lab.kube.jsonpath import find
from edge.lab.kube.resources import Column, ResourceType

Obj = dict[str, Any]
_META = "meta.k8s.io/v1"
_NAME = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "Name, unique within its namespace.",
    "priority": 0,
}


@lru_cache(maxsize=512)
def definitions(resource: ResourceType) -> list[dict[str, Any]]:
    """The column definitions of a kind's table."""
    return [_NAME, *(_definition(column) for column in columns_of(resource))]


def columns_of(resource: ResourceType) -> tuple[Column, ...]:
    """A kind's columns after its name; kinds without any show their creation time, as a real server does."""
    return resource.columns or (Column("Created At", path=".metadata.creationTimestamp"),)


def _definition(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def row(resource: ResourceType, obj: Obj, include: str, now: datetime) -> dict[str, Any]:
    """One object as a row; `include` is None, Metadata or Object."""
    cells = [obj["metadata"]["name"], *(_cell(column, obj, now) for column in columns_of(resource))]
    line: dict[str, Any] = {"cells": cells}
    if include == "Object":
        line["object"] = obj
    elif include != "None":
        line["object"] = metadata_only(obj)
    return line


def _cell(column: Column, obj: Obj, now: datetime) -> Any:
    if column.cell:
        return cell(column.cell)(obj, now)
    values = find(obj, column.path)
    if not values or values[0] is None:
        return column.default
    if column.type == "date":
        return since(values[0], now)
    return " ".join(map(_text, values)) if column.type == "string" else values[0]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def metadata_only(obj: Obj) -> Obj:
    """An object cut down to PartialObjectMetadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": _META, "metadata": obj["metadata"]}


def table(resource: ResourceType, objects: Sequence[Obj], meta: dict[str, Any], rows: dict[str, Any]) -> Obj:
    """A whole Table. `rows` holds the keyword arguments of `row`: include and now."""
    return {
        "kind": "Table",
        "apiVersion": _META,
        "metadata": meta,
        "columnDefinitions": definitions(resource),
        "rows": [row(resource, obj, **rows) for obj in objects],
    }


def shape_one(call: Call, resource: ResourceType, now: datetime) -> Callable[[Obj], Obj]:
    """How one object goes over the wire for this caller."""
    if call.wants("Table"):
        options = {"include": call.query.get("includeObject", "Metadata"), "now": now}
        return lambda obj: table(
            resource, [obj], {"resourceVersion": obj["metadata"].get("resourceVersion", "")}, options
        )
    return metadata_only if call.wants("PartialObjectMetadata") else _whole


def shape_list(call: Call, resource: ResourceType, objects: Sequence[Obj], meta: dict[str, Any], now: datetime) -> Obj:
    """How a list goes over the wire for this caller."""
    if call.wants("Table"):
        return table(resource, objects, meta, {"include": call.query.get("includeObject", "Metadata"), "now": now})
    if call.wants("PartialObjectMetadataList"):
        items = [metadata_only(obj) for obj in objects]
        return {"kind": "PartialObjectMetadataList", "apiVersion": _META, "metadata": meta, "items": items}
    return {"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": meta, "items": list(objects)}


def _whole(obj: Obj) -> Obj:
    return obj
