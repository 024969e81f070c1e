"""A stamp's manifests, parsed once and filled for each site."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from edge.errors import InvalidInput
from edge.model.stamp import Stamp
from edge.policy.substitute import Template, parse_template
from edge.policy.yaml_text import parse_documents

MAX_OBJECTS = 5000
MAX_ENGINE_BYTES = 20_000_000
"""How large the YAML may be that an engine makes of one component."""
SUBSTITUTE = "kustomize.toolkit.fluxcd.io/substitute"
_API_VERSION = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?v[a-z0-9]{1,62}")
_KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
_STAMPS_KEPT = 8

Manifest = tuple[str, dict[str, Any]]
"""The file a manifest stands in, and the manifest with templates in it."""


def manifests_of(stamp: Stamp) -> tuple[Manifest, ...]:
    """The stamp's manifests in the order of its components, files and documents. They are shared: never change them."""
    return parse_manifests(tuple(stamp.manifests.items()))


def parse_engine_output(text: str, *, origin: str, has_templates: bool) -> tuple[Manifest, ...]:
    """Parse what an engine made of a component. `has_templates`: whether `${...}` in it is ours, or text.

    The rules are those of `parse_manifests`, but for the size.
    """
    take = partial(_template, origin) if has_templates else None
    found: list[Manifest] = []
    for document in parse_documents(text, origin=origin, max_bytes=MAX_ENGINE_BYTES, take_template=take):
        if has_templates:
            _check_keys(document, origin)
        found.append((origin, _manifest(document, origin)))
        if len(found) > MAX_OBJECTS:
            raise InvalidInput(f"A stamp may have at most {MAX_OBJECTS} objects", file=origin)
    return tuple(found)


@functools.lru_cache(maxsize=_STAMPS_KEPT)
def parse_manifests(files: tuple[tuple[str, str], ...]) -> tuple[Manifest, ...]:
    """Parse files, given as path and text. Raises InvalidInput with file, line and field.

    A manifest has an apiVersion and a kind that are not templates, and a name; lists of objects are not manifests.
    """
    found: list[Manifest] = []
    for path, text in files:
        take = partial(_template, path)
        for document in parse_documents(text, origin=path, take_template=take):
            _check_keys(document, path)
            found.append((path, _manifest(document, path)))
            if len(found) > MAX_OBJECTS:
                raise InvalidInput(f"A stamp may have at most {MAX_OBJECTS} objects", file=path)
    return tuple(found)


def _template(path: str, text: str, plain: bool, line: int) -> object:
    return parse_template(text, plain=plain, file=path, line=line)


def _manifest(document: object, path: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise InvalidInput("A manifest must be a mapping", file=path, value=type(document).__name__)
    _check_text(document.get("apiVersion"), _API_VERSION, "apiVersion", path)
    kind = _check_text(document.get("kind"), _KIND, "kind", path)
    if isinstance(document.get("items"), list) and kind.endswith("List"):
        raise InvalidInput("Lists are not allowed", remedy="Write one document for each object", file=path, value=kind)
    meta = document.get("metadata")
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str | Template) or not meta["name"]:
        raise InvalidInput("A manifest needs a name", file=path, field="metadata.name", kind=kind)
    for field in ("labels", "annotations"):
        if not isinstance(meta.get(field), dict | None):
            raise InvalidInput("This must be a mapping", file=path, field=f"metadata.{field}", kind=kind)
    return _untouched(document) if _is_left_alone(meta) else document


def _check_keys(node: object, path: str) -> None:
    """Flux would substitute in keys too. Two keys could then become one, so it is refused instead of left undone."""
    if isinstance(node, dict):
        for key, value in node.items():
            if "${" in key:
                raise InvalidInput("Substitution in a key is not supported", file=path, field=key)
            _check_keys(value, path)
    elif isinstance(node, list):
        for item in node:
            _check_keys(item, path)


def _check_text(value: object, form: re.Pattern[str], field: str, path: str) -> str:
    if value is None:
        raise InvalidInput(f"A manifest needs {field}", file=path, field=field)
    if not isinstance(value, str) or not form.fullmatch(value):
        said = value.raw if isinstance(value, Template) else value
        raise InvalidInput(f"This is not {field} of a Kubernetes object", file=path, field=field, value=said)
    return value


def _is_left_alone(meta: Mapping[str, Any]) -> bool:
    return any((meta.get(field) or {}).get(SUBSTITUTE) == "disabled" for field in ("labels", "annotations"))


def _untouched(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _untouched(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_untouched(item) for item in node]
    return node.untouched() if isinstance(node, Template) else node
