"""What becomes of the objects that a Helm chart makes when there is no Helm on the site to run its hooks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from edge.errors import InvalidInput
from edge.policy.manifests import Manifest
from edge.policy.scope import is_namespaced
from edge.policy.substitute import Filler, Template, Variable, parse_template

HOOK = "helm.sh/hook"
_TESTS = frozenset({"test", "test-success", "test-failure"})


def chart_values(values: Mapping[str, Any], given: Mapping[str, str], texts: Collection[str], *, file: str) -> Any:
    """A component's values with `${parameter}` filled in.

    A value that is nothing but one variable gets the type its parameter declares; all else is text. `texts` names the
    parameters of type text. Raises InvalidInput with file and variable.
    """
    return Filler(given, texts).fill(_templates(values, texts, file))


def kept_of_chart(manifests: Collection[Manifest], namespace: str, cluster_kinds: Collection[str]) -> list[Manifest]:
    """The manifests to apply: without the chart's tests, and in the release's namespace where they name none.

    Raises InvalidInput for a hook: nobody would run it in its place, and leaving it out may break what it prepares.
    """
    return [(file, _placed(obj, namespace, cluster_kinds)) for file, obj in manifests if not _is_test(file, obj)]


def _templates(node: Any, texts: Collection[str], file: str) -> Any:
    if isinstance(node, Mapping):
        return {key: _templates(value, texts, file) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_templates(item, texts, file) for item in node]
    if not isinstance(node, str):
        return node
    found = parse_template(node, plain=False, file=file, line=0)
    if isinstance(found, Template) and len(found.pieces) == 1 and isinstance(found.pieces[0], Variable):
        return replace(found, plain=found.pieces[0].name not in texts)
    return found


def _is_test(file: str, obj: Mapping[str, Any]) -> bool:
    said = (obj["metadata"].get("annotations") or {}).get(HOOK)
    if said is None:
        return False
    events = {event.strip() for event in str(said).split(",")}
    if events <= _TESTS:
        return True
    raise InvalidInput(
        "A chart's hooks are not run",
        remedy="Turn it off in the component's values, or make it a component of its own that others depend on",
        file=file,
        object=f"{obj['kind']} {obj['metadata']['name']}",
        hook=said,
    )


def _placed(obj: dict[str, Any], namespace: str, cluster_kinds: Collection[str]) -> dict[str, Any]:
    group, kind, meta = obj["apiVersion"].rpartition("/")[0], obj["kind"], obj["metadata"]
    is_cluster_wide = not is_namespaced(group, kind, has_namespace=True, own={})
    if meta.get("namespace") or is_cluster_wide or {kind, f"{kind}.{group}"}.intersection(cluster_kinds):
        return obj
    return {**obj, "metadata": {**meta, "namespace": namespace}}
