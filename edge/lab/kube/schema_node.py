"""What one place of a Kubernetes object may hold: schemas compiled into nodes that the merge engine can walk fast.

A built-in type and a custom resource become the same nodes, so pruning, defaults, validation, field ownership and
patches are each written once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from edge.lab.kube.schema_keywords import BUILTIN_KEYWORDS, KEYWORDS, Check

Json = dict[str, Any]
Hook = Callable[[Json], None]

MISSING: Final = object()
"""Marks a field without a default, because null is a possible default."""


@dataclass(slots=True, eq=False)
class Node:
    """The schema of one place. `type` is a JSON type, or "" when anything may stand here.

    `elem` is the node of a list's items or of a map's values; `fields` are the named fields of an object. `keys` are
    the keys of a list map, and `key_defaults` what stands in for a key that an item leaves out.
    """

    type: str = ""
    name: str = ""
    fields: dict[str, Node] = field(default_factory=dict)
    elem: Node | None = None
    atomic: bool = False
    keys: tuple[str, ...] = ()
    key_defaults: Json = field(default_factory=dict)
    is_set: bool = False
    preserve: bool = False
    nullable: bool = False
    int_or_string: bool = False
    quantity: bool = False
    embedded: bool = False
    default: Any = MISSING
    defaults: tuple[tuple[str, Any], ...] = ()
    hook: Hook | None = None
    required: tuple[str, ...] = ()
    merge: bool = False
    merge_key: str = ""
    source: Json = field(default_factory=dict)
    leaf: bool = False
    """A scalar, or a list or map that is owned and replaced as one piece."""
    builtin: bool = False
    checks: tuple[tuple[Check, Any], ...] = ()
    """The keywords beyond type, required and children, with their arguments."""
    constrained: bool = False
    """Has checks or alternatives, so that validation must look closer."""
    alternatives: dict[str, tuple[Node, ...]] = field(default_factory=dict)
    """The nodes of allOf, anyOf, oneOf and not."""
    busy: bool = False
    """Some place at or below has a default or a hook, so that walking here is worth it."""
    ruled: bool = False
    """Some place at or below has a rule over several fields."""


ANYTHING: Final = Node(preserve=True)
"""Untyped data: maps are granular, lists are one piece."""

WORKLOADS: Final = frozenset(
    f"io.k8s.api.apps.v1.{kind}" for kind in ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet")
)
"""Kinds whose selector must fit the labels of their pod template."""


class Compiler:
    """Compiles schemas to nodes. `definitions` are the targets of `$ref`; a recursive definition is one node."""

    def __init__(self, definitions: Mapping[str, Json], hooks: Mapping[str, Hook], *, builtin: bool) -> None:
        self._definitions = definitions
        self._hooks = hooks
        self._builtin = builtin
        self._by_name: dict[str, Node] = {}

    def definition(self, name: str) -> Node:
        """The node of a named definition."""
        known = self._by_name.get(name)
        if known is None:
            known = self._by_name[name] = Node()
            self._fill(known, self._definitions[name], name)
        return known

    def node(self, schema: Json) -> Node:
        """The node of a schema written in place. A `$ref` with further keywords beside it gets a node of its own."""
        target = schema.get("$ref")
        if target is None:
            return self._fill(Node(), schema, "")
        if len(schema) == 1:
            return self.definition(target)
        beside = {word: value for word, value in schema.items() if word != "$ref"}
        return self._fill(Node(), {**self._definitions[target], **beside}, target)

    def _fill(self, node: Node, schema: Json, name: str) -> Node:
        node.source, node.name, node.builtin = schema, name, self._builtin
        node.int_or_string = bool(schema.get("x-kubernetes-int-or-string")) or schema.get("format") == "int-or-string"
        node.type = "" if node.int_or_string else schema.get("type", "")
        node.quantity = bool(schema.get("x-quantity"))
        node.nullable = bool(schema.get("nullable"))
        node.preserve = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        node.embedded = bool(schema.get("x-kubernetes-embedded-resource"))
        node.required = tuple(schema.get("required", ()))
        node.default = schema.get("default", MISSING)
        node.hook = self._hooks.get(name)
        self._fill_children(node, schema)
        _fill_merging(node, schema)
        self._fill_alternatives(node, schema)
        keywords = BUILTIN_KEYWORDS if self._builtin else KEYWORDS
        node.checks = tuple((keywords[word], limit) for word, limit in schema.items() if word in keywords)
        node.constrained = bool(node.alternatives or node.checks)
        below = _children(node)
        node.busy = bool(node.defaults or node.hook) or any(child.busy for child in below)
        node.ruled = "x-kubernetes-validations" in schema or name in WORKLOADS or any(child.ruled for child in below)
        return node

    def _fill_children(self, node: Node, schema: Json) -> None:
        for key, child in schema.get("properties", {}).items():
            node.fields[key] = self.node(child)
        node.defaults = tuple(
            (key, child.default) for key, child in node.fields.items() if child.default is not MISSING
        )
        values = schema.get("items", schema.get("additionalProperties"))
        if isinstance(values, dict):
            node.elem = self.node(values)
        elif values is True:
            node.elem = ANYTHING
        # Data without any declared shape is kept as it is.
        if not node.type and not node.fields and node.elem is None and not schema.get("properties"):
            node.preserve = node.preserve or not (node.int_or_string or node.quantity)

    def _fill_alternatives(self, node: Node, schema: Json) -> None:
        for word in ("allOf", "anyOf", "oneOf"):
            if schema.get(word):
                node.alternatives[word] = tuple(self.node(child) for child in schema[word])
        if schema.get("not"):
            node.alternatives["not"] = (self.node(schema["not"]),)


def _children(node: Node) -> list[Node]:
    return [*node.fields.values(), *([node.elem] if node.elem else [])]


def _fill_merging(node: Node, schema: Json) -> None:
    list_type = schema.get("x-kubernetes-list-type", "atomic")
    if node.type == "array":
        node.atomic = list_type == "atomic"
        node.is_set = list_type == "set"
        if list_type == "map" and node.elem is not None:
            node.keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
            fields = node.elem.fields
            found = {key: fields[key].default for key in node.keys if key in fields}
            node.key_defaults = {key: value for key, value in found.items() if value is not MISSING}
    else:
        node.atomic = schema.get("x-kubernetes-map-type") == "atomic"
    strategy = str(schema.get("x-kubernetes-patch-strategy", "")).split(",")
    node.merge = "merge" in strategy
    node.merge_key = schema.get("x-kubernetes-patch-merge-key", "")
    scalar = node.type not in ("object", "array", "") or node.int_or_string or node.quantity
    node.leaf = scalar or node.atomic
