"""Which filled scalars stay text in what Kustomize makes.

Kustomize writes `"${port}"` without its quotes, so that nobody can see any more whether a port or a text was meant.
There the type that the parameter declares decides, and where Kubernetes wants text there is text.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from edge.policy.substitute import Template

_TEXT_MAPS = frozenset({"labels", "annotations", "matchLabels", "nodeSelector", "stringData", "data", "binaryData"})
_TEXT_LISTS = frozenset({"args", "command"})
_TEXT_FIELDS = frozenset({"name", "namespace", "apiVersion", "kind", "image"})


def with_types(manifest: dict[str, Any], texts: Collection[str]) -> dict[str, Any]:
    """A copy in which templates are text again. `texts` names the parameters that are text wherever they stand."""
    typed: dict[str, Any] = _typed(manifest, frozenset(texts), key="", is_text=False)
    return typed


def _typed(node: Any, texts: frozenset[str], *, key: str, is_text: bool) -> Any:
    if isinstance(node, dict):
        inner = key in _TEXT_MAPS
        return {
            name: _typed(value, texts, key=name, is_text=inner or name in _TEXT_FIELDS or _is_env(name, node))
            for name, value in node.items()
        }
    if isinstance(node, list):
        return [_typed(item, texts, key="", is_text=key in _TEXT_LISTS) for item in node]
    if isinstance(node, Template) and (is_text or not texts.isdisjoint(said.name for said in node.variables())):
        return replace(node, plain=False)
    return node


def _is_env(name: str, node: dict[str, Any]) -> bool:
    """Whether this is the value of a variable in a container's environment (or a header, which looks alike)."""
    return name == "value" and node.keys() <= {"name", "value"}
