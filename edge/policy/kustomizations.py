"""A Kustomize component reads nothing but the stamp: no base outside its folder, no address, no absolute path.

The engine refuses most of it as well, but with a network time-out, and only when it runs. Here every entry of every
`kustomization.yaml` that a component reaches is looked at when the stamp is read, and named when it is wrong.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from edge.errors import InvalidInput
from edge.model.stamp import StampSource
from edge.policy.yaml_text import parse_yaml

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")

_LISTS = (
    "resources",
    "bases",
    "components",
    "crds",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "patchesStrategicMerge",
)
"""Fields that are lists of paths; an entry of several lines is not a path but the content itself."""
_WITH_PATH = ("patches", "patchesJson6902", "replacements")
_GENERATORS = ("configMapGenerator", "secretGenerator")
_UNSUPPORTED = ("helmCharts", "helmChartInflationGenerator", "helmGlobals")
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*:|.*@.*:|.*\?|(github|gitlab|bitbucket)\.|.*//", re.IGNORECASE)


def check_kustomization(source: StampSource, folder: str, where: Mapping[str, str]) -> None:
    """Raises InvalidInput with file, field and entry; `where` says which component has no such file."""
    if _file_of(source, folder) is None:
        raise InvalidInput("A Kustomize component needs a kustomization.yaml", value=folder, **where)
    waiting, seen = [folder], {folder}
    while waiting:
        current = waiting.pop()
        for base in _bases(source, current):
            if base not in seen:
                seen.add(base)
                waiting.append(base)


def _file_of(source: StampSource, folder: str) -> str | None:
    return next((file for name in NAMES if (file := posixpath.join(folder, name)) in source.files), None)


def _bases(source: StampSource, folder: str) -> Iterator[str]:
    """The folders that this one's kustomization names, all of its entries checked."""
    file = _file_of(source, folder)
    if file is None:
        return
    origin = f"{source.origin}/{file}"
    said = parse_yaml(source.files[file], origin=origin)
    if not isinstance(said, dict):
        raise InvalidInput("A kustomization must be a mapping", file=origin)
    for field in _UNSUPPORTED:
        if field in said:
            remedy = "Make the chart a component of kind helm"
            raise InvalidInput(
                "Charts inside a kustomization are not supported", remedy=remedy, file=origin, field=field
            )
    for field, entry in _entries(said):
        target = _target(folder, entry, {"file": origin, "field": field, "value": entry})
        if target in source.files:
            continue
        if _file_of(source, target) is None:
            what = "This is neither a file nor a kustomization of the stamp"
            raise InvalidInput(what, file=origin, field=field, value=entry)
        yield target


def _target(folder: str, entry: str, where: Mapping[str, str]) -> str:
    """The entry as a path below the stamp's folder."""
    if entry.startswith("/") or "\\" in entry:
        raise InvalidInput("A kustomization may not use an absolute path", **where)
    if _REMOTE.match(entry):
        remedy = "Put what it names into the stamp's folder"
        raise InvalidInput("A kustomization may not fetch from elsewhere", remedy=remedy, **where)
    target = posixpath.normpath(posixpath.join(folder, entry))
    if target == ".." or target.startswith("../"):
        raise InvalidInput("A kustomization may not reach outside the stamp's folder", **where)
    return target


def _entries(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Field and text of everything that Kustomize would read from a path."""
    for field in _LISTS:
        yield from _paths(field, said.get(field))
    for field in _WITH_PATH:
        for number, item in enumerate(_list(said.get(field))):
            yield from _paths(f"{field}.{number}.path", _part(item, "path"))
    yield from _paths("openapi.path", _part(said.get("openapi"), "path"))
    for field in _GENERATORS:
        for number, item in enumerate(_list(said.get(field))):
            yield from _generated(f"{field}.{number}", item)


def _generated(field: str, item: object) -> Iterator[tuple[str, str]]:
    yield from _paths(f"{field}.env", _part(item, "env"))
    yield from _paths(f"{field}.envs", _part(item, "envs"))
    for name, entry in _paths(f"{field}.files", _part(item, "files")):
        yield name, entry.rpartition("=")[2]


def _paths(field: str, said: object) -> Iterator[tuple[str, str]]:
    entries = _list(said) if isinstance(said, list) else [said]
    for number, entry in enumerate(entries):
        if isinstance(entry, str) and entry and "\n" not in entry:
            yield f"{field}.{number}" if isinstance(said, list) else field, entry


def _list(said: object) -> list[Any]:
    return said if isinstance(said, list) else []


def _part(item: object, field: str) -> object:
    return item.get(field) if isinstance(item, dict) else None
