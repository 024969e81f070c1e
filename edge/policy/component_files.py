"""Which of a stamp's files belong to a component, and that the component stays inside the stamp."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from edge.errors import InvalidInput
from edge.model.stamp import Component, ComponentKind, StampSource
from edge.policy.kustomizations import check_kustomization
from edge.policy.yaml_text import parse_yaml

STAMP_FILE = "stamp.yaml"
MANIFEST_ENDINGS = (".yaml", ".yml", ".json")
_REGISTRY = re.compile(r"oci://[a-z0-9][-a-z0-9.]*(:[0-9]{1,5})?(/[a-z0-9][-a-z0-9._]*)+")


def manifest_files(source: StampSource, components: Iterable[Component], spec_file: str) -> dict[str, str]:
    """Path and text of the manifests, by component and then by path. Each file belongs to one component."""
    found: dict[str, str] = {}
    for component in components:
        where = place_of(component, spec_file)
        inside = _files_of(component, source.files, where)
        twice = next((path for path in inside if path in found), None)
        if twice is not None:
            raise InvalidInput("This file belongs to two components", value=twice, **where)
        if component.kind is ComponentKind.MANIFESTS:
            found.update({path: source.files[path] for path in inside})
    return found


def engine_files(source: StampSource, components: Iterable[Component], spec_file: str) -> dict[str, str]:
    """Path and text of what Kustomize and Helm read: the charts, and for Kustomize all of the stamp, for its bases.

    Raises InvalidInput for an entry that leads out of the stamp, and for a chart that is none.
    """
    found: dict[str, str] = {}
    for component in components:
        where = place_of(component, spec_file)
        if component.kind is ComponentKind.KUSTOMIZE:
            check_kustomization(source, component.path, where)
            found.update({path: text for path, text in source.files.items() if path != STAMP_FILE})
        elif component.kind is ComponentKind.HELM:
            _check_chart(source, component, where)
            found.update({path: source.files[path] for path in _inside(component.path, source.files)})
    return found


def place_of(component: Component, spec_file: str) -> dict[str, str]:
    """Where the component stands, for errors."""
    return {"file": spec_file, "field": f"spec.components.{component.name}"}


def _files_of(component: Component, files: Mapping[str, str], where: Mapping[str, str]) -> list[str]:
    """The manifests of a component; for the engines' kinds, nothing but that its path is one."""
    path = component.path
    if component.kind is ComponentKind.HELM and path.startswith("oci://"):
        return []
    parts = path.split("/")
    if not path or path.startswith("/") or "\\" in path or any(part in ("", ".", "..") for part in parts):
        raise InvalidInput("A component's path must be inside the stamp's folder", value=path, **where)
    if component.kind is not ComponentKind.MANIFESTS:
        return []
    inside = [file for file in _inside(path, files) if file != STAMP_FILE and file.endswith(MANIFEST_ENDINGS)]
    if not inside:
        raise InvalidInput("This component has no manifests", value=path, **where)
    return inside


def _inside(path: str, files: Mapping[str, str]) -> list[str]:
    return sorted(file for file in files if file == path or file.startswith(f"{path}/"))


def _check_chart(source: StampSource, component: Component, where: Mapping[str, str]) -> None:
    if component.path.startswith("oci://"):
        if not _REGISTRY.fullmatch(component.path):
            raise InvalidInput(
                "A chart's address is oci://host/repository, without a tag", value=component.path, **where
            )
        if not component.chart_version:
            remedy = "Say chartVersion, the exact version of the chart"
            raise InvalidInput("A chart in a registry needs its version", remedy=remedy, value=component.path, **where)
        return
    if component.chart_version:
        raise InvalidInput("A chart inside the stamp has no chartVersion: Chart.yaml says it", **where)
    file = f"{component.path}/Chart.yaml"
    if file not in source.files:
        raise InvalidInput("A Helm component needs a chart, and there is no Chart.yaml", value=component.path, **where)
    chart = parse_yaml(source.files[file], origin=f"{source.origin}/{file}")
    for field in ("name", "version"):
        if not isinstance(chart, dict) or not isinstance(chart.get(field), str):
            raise InvalidInput("A chart needs this", file=f"{source.origin}/{file}", field=field)
