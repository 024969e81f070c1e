"""Rebuilds `data/schemas.json.gz`, the compact Kubernetes schemas the lab's API servers run on.

A developer's tool, run as `python -m edge.lab.kube.build_schemas`. It reads the full schemas of the package
`kubernetes_validate` (a development dependency), keeps the groups the lab serves without their prose, and adds what
the published schemas do not say: default values, value ranges and enumerations, from `data/schema_rules.yaml`.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DATA = Path(__file__).parent / "data"
SOURCE = "kubernetes-json-schema/v1.37.0-local/_definitions.json"
GROUP_VERSIONS = frozenset(
    {
        "/v1",
        "admissionregistration.k8s.io/v1",
        "apiextensions.k8s.io/v1",
        "apiregistration.k8s.io/v1",
        "apps/v1",
        "authentication.k8s.io/v1",
        "authorization.k8s.io/v1",
        "autoscaling/v1",
        "autoscaling/v2",
        "batch/v1",
        "certificates.k8s.io/v1",
        "coordination.k8s.io/v1",
        "discovery.k8s.io/v1",
        "events.k8s.io/v1",
        "networking.k8s.io/v1",
        "node.k8s.io/v1",
        "policy/v1",
        "rbac.authorization.k8s.io/v1",
        "scheduling.k8s.io/v1",
        "storage.k8s.io/v1",
    }
)
KEPT = frozenset({"type", "format", "enum", "required", "default", "$ref", "items", "additionalProperties"})
# The server takes these without the fields their schema calls required: nobody validates a status, and Go fills zeros.
LENIENT_ENDINGS = ("Status", "Condition", "List", ".Event", "SystemInfo", "AttachedVolume", "DaemonEndpoint")
GVK = "x-kubernetes-group-version-kind"
UNTYPED_OBJECTS = ("RawExtension", "FieldsV1")


def main() -> None:
    """Write the data file anew."""
    definitions = build()
    (DATA / "schemas.json.gz").write_bytes(pack(definitions))
    print(f"{len(definitions)} definitions written")  # noqa: T201 - a command speaks to its user


def pack(definitions: dict[str, Any]) -> bytes:
    """The bytes of the data file; the same definitions always give the same bytes."""
    text = json.dumps(definitions, sort_keys=True, separators=(",", ":"))
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def build() -> dict[str, Any]:
    """All definitions the lab needs, by their OpenAPI name."""
    source = _source()
    names = sorted(_reachable(source, [name for name, schema in source.items() if _served(schema)]))
    definitions = {name: _compact_definition(name, source[name]) for name in names}
    _add_rules(definitions, yaml.safe_load((DATA / "schema_rules.yaml").read_text()))
    return definitions


def _source() -> dict[str, Any]:
    found = importlib.util.find_spec("kubernetes_validate")
    if found is None or found.origin is None:
        raise SystemExit("kubernetes_validate is not installed: pip install -e '.[dev]'")
    definitions: dict[str, Any] = json.loads((Path(found.origin).parent / SOURCE).read_text())["$defs"]
    return definitions


def _served(schema: dict[str, Any]) -> bool:
    gvks = schema.get("x-kubernetes-group-version-kind", ())
    return any(f"{gvk['group']}/{gvk['version']}" in GROUP_VERSIONS for gvk in gvks)


def _reachable(source: dict[str, Any], roots: list[str]) -> set[str]:
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(_references(source[name]))
    return seen


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield reference.rpartition("/")[2]
        for child in schema.values():
            yield from _references(child)
    elif isinstance(schema, list):
        for child in schema:
            yield from _references(child)


def _compact_definition(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    compact = _compact(schema)
    short = name.rpartition(".")[2]
    if "oneOf" in schema:  # Quantity and IntOrString are text or a number
        compact = {"x-kubernetes-int-or-string": True} if short == "IntOrString" else {"x-quantity": True}
    elif short in UNTYPED_OBJECTS or short.startswith("JSONSchemaPropsOr"):
        compact = {"x-kubernetes-preserve-unknown-fields": True, "x-kubernetes-map-type": "atomic"}
    if name.endswith(LENIENT_ENDINGS):
        compact.pop("required", None)
    gvks = [gvk for gvk in schema.get("x-kubernetes-group-version-kind", ()) if _served({GVK: [gvk]})]
    if gvks:
        # Kinds such as DeleteOptions belong to every group; naming them once is enough.
        compact[GVK] = gvks[:1]
        compact.get("properties", {}).update(apiVersion={"type": "string"}, kind={"type": "string"})
    return compact


def _compact(schema: dict[str, Any]) -> dict[str, Any]:
    compact: dict[str, Any] = {}
    for word, value in schema.items():
        if word == "properties":
            compact[word] = {field: _compact(child) for field, child in value.items()}
        elif word in ("items", "additionalProperties") and isinstance(value, dict):
            compact[word] = _compact(value)
        elif word == "type" and isinstance(value, list):
            compact[word] = next(kind for kind in value if kind != "null")
        elif word == "$ref":
            compact[word] = value.rpartition("/")[2]
        elif word in KEPT or (word.startswith("x-kubernetes-") and word not in (GVK, "x-kubernetes-unions")):
            compact[word] = value
    return compact


def _add_rules(definitions: dict[str, Any], rules: dict[str, dict[str, Any]]) -> None:
    by_short_name = {_short_name(name): schema for name, schema in definitions.items()}
    for short_name, fields in rules.items():
        schema = by_short_name[short_name]
        for field, keywords in fields.items():
            if field == ".":
                schema.update({**keywords, "required": schema.get("required", []) + keywords.get("required", [])})
            else:
                schema["properties"][field].update(keywords)


def _short_name(name: str) -> str:
    """`io.k8s.api.core.v1.Pod` as `core.v1.Pod`."""
    return ".".join(name.split(".")[-3:])


if __name__ == "__main__":
    main()
