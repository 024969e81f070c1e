"""Which filled scalars stay text in what Kustomize makes.

Kustomize writes `"${port}"` without its quotes, so that nobody can see any more whether a port or a text was meant.
There the type that the parameter declares decides, and where Kubernetes wants text there is text.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from edge.errors import InvalidInput
from edge.policy.parameters import BUILT_IN
from edge.policy.substitute import Template

_VARIABLE = re.compile(r"\$\{([_a-zA-Z][_a-zA-Z0-9]*)[^}]*\}")
_TEXT_MAPS = frozenset({"labels", "annotations", "matchLabels", "nodeSelector", "stringData", "data", "binaryData"})
_TEXT_LISTS = frozenset({"args", "command"})
_TEXT_FIELDS = frozenset({"name", "namespace", "apiVersion", "kind", "image"})


def with_types(manifest: dict[str, Any], texts: Collection[str]) -> dict[str, Any]:
    """A copy in which templates are text again. `texts` names the parameters that are text wherever they stand."""
    typed: dict[str, Any] = _typed(manifest, frozenset(texts), key="", is_text=False)
    return typed


def check_generated(manifest: dict[str, Any], known: Collection[str], **where: str) -> None:
    """Raises InvalidInput for a Secret with a variable in its encoded data, which nobody would fill in."""
    data = manifest.get("data") if manifest.get("kind") == "Secret" else None
    for key, encoded in data.items() if isinstance(data, dict) else ():
        used = [said[0] for said in _VARIABLE.finditer(_decoded(encoded)) if said[1] in known or said[1] in BUILT_IN]
        if used:
            remedy = "Write the Secret as a manifest with stringData"
            raise InvalidInput(
                "A variable in a Secret that Kustomize generates is not filled in",
                remedy=remedy,
                field=f"data.{key}",
                value=used[0],
                **where,
            )


def _decoded(encoded: object) -> str:
    try:
        return b64decode(encoded).decode(errors="replace") if isinstance(encoded, str) else ""
    except ValueError:
        return ""


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
