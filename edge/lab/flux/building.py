"""From an artifact's files to the objects of a Kustomization: read, built, moved to its namespace, substituted."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import yaml

from edge.lab.kube.store import Obj

NAME_LABEL = "kustomize.toolkit.fluxcd.io/name"
NAMESPACE_LABEL = "kustomize.toolkit.fluxcd.io/namespace"
SUBSTITUTE = "kustomize.toolkit.fluxcd.io/substitute"
_VARIABLE = re.compile(r"\$\$\{|\$\{(?P<name>[_a-zA-Z][_a-zA-Z0-9]*)(?P<default>:[=-](?P<value>[^}]*))?\}")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class BuildFailed(Exception):
    """The files do not give objects."""


def build(files: Mapping[str, bytes], spec: Mapping[str, Any], name: str, namespace: str) -> list[Obj]:
    """The objects that a Kustomization's spec asks for, with its labels. Raises BuildFailed."""
    folder = posixpath.normpath(str(spec.get("path") or "./")).strip("/").removeprefix("./")
    prefix = "" if folder in {"", "."} else folder + "/"
    inside = {path[len(prefix) :]: text for path, text in files.items() if path.startswith(prefix)}
    if not inside:
        raise BuildFailed(f"kustomization path not found: stat {folder}: no such file or directory")
    objects = [obj for path in _resources(inside) for obj in _read(path, inside[path])]
    if not objects:
        raise BuildFailed("kustomize build failed: the folder has no objects")
    variables = (spec.get("postBuild") or {}).get("substitute") or {}
    built = [_substituted(obj, variables) for obj in objects] if variables else objects
    return [_marked(obj, name, namespace) for obj in built]


def _resources(inside: Mapping[str, bytes]) -> list[str]:
    """The files to read: those that a kustomization.yaml names, else every YAML file, as Flux generates one."""
    if "kustomization.yaml" not in inside:
        return sorted(path for path in inside if path.endswith((".yaml", ".yml")))
    listed = (_documents("kustomization.yaml", inside["kustomization.yaml"]) or [{}])[0]
    beyond = set(listed) - {"apiVersion", "kind", "resources"}
    if beyond:
        raise BuildFailed(f"kustomize build failed: the lab builds lists of resources, not {', '.join(sorted(beyond))}")
    paths = [posixpath.normpath(str(path)) for path in listed.get("resources") or ()]
    missing = [path for path in paths if path not in inside]
    if missing:
        raise BuildFailed(f"kustomize build failed: accumulating resources from '{missing[0]}': no such file")
    return paths


def _read(path: str, text: bytes) -> list[Obj]:
    objects = [one for one in _documents(path, text) if one is not None]
    for obj in objects:
        meta = obj.get("metadata") if isinstance(obj, dict) else None
        if not isinstance(meta, dict) or not meta.get("name") or not obj.get("kind") or not obj.get("apiVersion"):
            raise BuildFailed(f"kustomize build failed: {path}: missing metadata.name, kind or apiVersion in object")
    return objects


@lru_cache(maxsize=512)
def _parsed(text: bytes) -> list[Any]:
    return list(yaml.load_all(text, Loader=_LOADER))


def _documents(path: str, text: bytes) -> list[Any]:
    try:
        return _parsed(text)
    except yaml.YAMLError as bad:
        why = " ".join(str(bad).split())
        raise BuildFailed(f"kustomize build failed: {path}: MalformedYAMLError: {why}") from bad


def _substituted(obj: Obj, variables: Mapping[str, str]) -> Obj:
    """As Flux does it: into the text of the object that was built, so that quotes in the file do not count."""
    meta = obj["metadata"]
    marks = {**(meta.get("labels") or {}), **(meta.get("annotations") or {})}
    if marks.get(SUBSTITUTE) == "disabled":
        return obj
    text = yaml.dump(obj, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=10**6)

    def value(found: re.Match[str]) -> str:
        if found["name"] is None:
            return "${"
        return variables.get(found["name"]) or found["value"] or ""

    try:
        filled: list[Obj] = list(yaml.load_all(_VARIABLE.sub(value, text), Loader=_LOADER))
    except yaml.YAMLError as bad:
        raise BuildFailed(f"envsubst error: {' '.join(str(bad).split())}") from bad
    return filled[0]


def _marked(obj: Obj, name: str, namespace: str) -> Obj:
    meta = dict(obj["metadata"])
    meta["labels"] = {**(meta.get("labels") or {}), NAME_LABEL: name, NAMESPACE_LABEL: namespace}
    return {**obj, "metadata": meta}
