"""One page of a list, checked: what a site sends is not believed to have the shape it should have."""

from __future__ import annotations

from typing import Any, NamedTuple

from edge.clients.kube_discovery import Resource
from edge.errors import ServerFault


class Page(NamedTuple):
    """Objects with apiVersion and kind, the position of the next page ("": the last), and the list's version."""

    items: list[dict[str, Any]]
    token: str
    version: str


def read_page(answer: dict[str, Any], resource: Resource, site: str) -> Page:
    """The page in an answer to a list request. ServerFault when it is none."""
    items, meta = answer.get("items"), answer.get("metadata")
    if items is None and "items" in answer:
        items = []  # Go writes an empty list as null
    if not isinstance(items, list) or not isinstance(meta, dict) or not all(_is_named(item) for item in items):
        raise ServerFault("The site's answer is not a list of objects", site=site or None, object=resource.kind)
    for item in items:  # a real server leaves these two out of lists
        item.setdefault("apiVersion", resource.api_version)
        item.setdefault("kind", resource.kind)
    return Page(items, str(meta.get("continue") or ""), str(meta.get("resourceVersion") or ""))


def _is_named(item: object) -> bool:
    meta = item.get("metadata") if isinstance(item, dict) else None
    return isinstance(meta, dict) and isinstance(meta.get("name"), str)
