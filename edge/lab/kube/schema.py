"""The schemas of the lab's kinds: what an object may hold, what is filled in, and what is dropped.

Built-in kinds come from the data file `data/schemas.json.gz` (see build_schemas.py), custom ones from their definition.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from copy import deepcopy
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from edge.lab.kube.schema_faults import FieldFault, faults_of
from edge.lab.kube.schema_hooks import HOOKS
from edge.lab.kube.schema_node import ANYTHING, MISSING, Compiler, Json, Node

DATA_FILE = Path(__file__).parent / "data" / "schemas.json.gz"
GVK = "x-kubernetes-group-version-kind"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


class Schema:
    """The schema of one kind. Cheap to keep, safe to share; compile it once."""

    __slots__ = ("builtin", "root", "skeleton")

    def __init__(self, root: Node, *, builtin: bool) -> None:
        self.root = root
        self.builtin = builtin
        self.skeleton: Json = _skeleton(root) if builtin else {}

    def default(self, obj: Json) -> None:
        """Fill in, in place, the values that a server gives to fields left out."""
        _fill(self.root, obj)

    def prune(self, obj: Json) -> list[str]:
        """Drop unknown fields in place; return their paths, such as `spec.containers[0].foo`.

        A null in a built-in kind is dropped too, without a word: to a real server it is the same as absent.
        """
        gone: list[str] = []
        _prune(self.root, obj, "", gone)
        return gone

    def validate(self, obj: Json, old: Json | None = None) -> list[FieldFault]:
        """What is wrong with `obj`; `old` is the object it replaces, for rules about a change."""
        return faults_of(self.root, obj, old)


def builtin_schema(group: str, version: str, kind: str) -> Schema | None:
    """The schema of a kind that Kubernetes brings along, or None."""
    name = _names_by_gvk().get((group, version, kind))
    return None if name is None else _builtin(name)


def crd_schema(openapi_v3: Json, preserve_unknown: bool = False) -> Schema:
    """The schema of one version of a custom resource, from its `openAPIV3Schema`."""
    root = Compiler({}, {}, builtin=False).node(openapi_v3)
    root.preserve = root.preserve or preserve_unknown
    root.embedded = True
    _open_embedded(root)
    return Schema(root, builtin=False)


@lru_cache
def openapi_v3(group: str, version: str) -> Json:
    """The `components.schemas` of a group version's OpenAPI document. Shared: do not change it."""
    definitions = _definitions()
    waiting = [name for (g, v, _), name in _names_by_gvk().items() if (g, v) == (group, version)]
    schemas: Json = {}
    while waiting:
        name = waiting.pop()
        if name not in schemas:
            schemas[name] = _published(definitions[name])
            waiting.extend(_references(definitions[name]))
    return schemas


@lru_cache
def _definitions() -> dict[str, Json]:
    definitions: dict[str, Json] = json.loads(gzip.decompress(DATA_FILE.read_bytes()))
    return definitions


@lru_cache
def _names_by_gvk() -> dict[tuple[str, str, str], str]:
    found = {}
    for name, schema in _definitions().items():
        for gvk in schema.get(GVK, ()):
            found[gvk["group"], gvk["version"], gvk["kind"]] = name
    return found


@lru_cache
def _compiler() -> Compiler:
    return Compiler(_definitions(), HOOKS, builtin=True)


@cache
def _builtin(name: str) -> Schema:
    return Schema(_compiler().definition(name), builtin=True)


def _open_embedded(node: Node, seen: frozenset[int] = frozenset()) -> None:
    """Give whole objects inside a custom resource the fields every object has."""
    if node.embedded:
        for field in ("apiVersion", "kind"):
            node.fields.setdefault(field, Node(type="string", leaf=True))
        node.fields["metadata"] = _compiler().definition(OBJECT_META)
    for child in (*node.fields.values(), *([node.elem] if node.elem else ())):
        if not child.builtin and child is not ANYTHING and id(child) not in seen:
            _open_embedded(child, seen | {id(node)})


def _fill(node: Node, value: Any) -> None:
    if isinstance(value, dict):
        _fill_object(node, value)
    elif isinstance(value, list) and node.elem is not None and node.elem.busy:
        for item in value:
            _fill(node.elem, item)


def _fill_object(node: Node, value: Json) -> None:
    for key, default in node.defaults:
        if value.get(key, MISSING) is MISSING or (value[key] is None and not node.fields[key].nullable):
            value[key] = deepcopy(default)
    if node.hook:
        node.hook(value)
    for key, child in value.items():
        below = node.fields.get(key) or node.elem
        if below is not None and below.busy:
            _fill(below, child)


def _prune(node: Node, value: Any, path: str, gone: list[str]) -> None:
    if isinstance(value, dict):
        _prune_object(node, value, path, gone)
    elif isinstance(value, list) and node.elem is not None:
        for place, item in enumerate(value):
            _prune(node.elem, item, f"{path[:-1]}[{place}].", gone)


def _prune_object(node: Node, value: Json, path: str, gone: list[str]) -> None:
    for key in list(value):
        below = node.fields.get(key) or node.elem
        if below is None:
            if not node.preserve:
                del value[key]
                gone.append(f"{path}{key}")
        elif value[key] is None and node.builtin:
            _drop_null(node, value, key)
        elif not isinstance(value[key], str):
            _prune(below, value[key], f"{path}{key}.", gone)


def _drop_null(node: Node, value: Json, key: str) -> None:
    if key in node.fields:
        del value[key]
    elif node.elem is not None and node.elem.type == "string":
        value[key] = ""  # what Go makes of a null in a map of strings


SKELETON_FIELDS = tuple(
    ["metadata", "spec", "status", "template", "jobTemplate", "strategy", "updateStrategy", "containers", "selector"]
)
"""Fields that an empty built-in object already has, because Go always writes them."""


def _skeleton(node: Node, depth: int = 0) -> Json:
    """The object a real server compares a new one with; fields in it are not news, those missing are."""
    found: Json = {}
    for key in SKELETON_FIELDS:
        child = node.fields.get(key)
        if child is not None and depth < 6:
            found[key] = _skeleton(child, depth + 1) if child.type == "object" and not child.leaf else None
    return found


def _published(schema: Any) -> Any:
    if isinstance(schema, dict):
        published = {word: _published(child) for word, child in schema.items() if not word.startswith("x-quantity")}
        if isinstance(published.get("$ref"), str):
            published["$ref"] = f"#/components/schemas/{schema['$ref']}"
        return published
    return [_published(child) for child in schema] if isinstance(schema, list) else schema


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for child in schema.values():
            yield from _references(child)
    elif isinstance(schema, list):
        for child in schema:
            yield from _references(child)
