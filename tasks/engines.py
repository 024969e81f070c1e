"""Engines run once for what they depend on: their answers are kept, and shared by the threads of a process."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

from edge.clients.kustomize import build_kustomization
from edge.clients.oci import pull_chart
from edge.clients.oci_registry import RegistryAccess
from edge.errors import InvalidInput
from edge.model.stamp import Component, Stamp
from edge.policy.chart import chart_values, kept_of_chart
from edge.policy.engine_text import check_generated, with_types
from edge.policy.manifests import Manifest, parse_engine_output
from edge.policy.parameters import texts_of
from edge.settings import Settings

if TYPE_CHECKING:
    from edge.clients.helm_template import ChartTemplates

T = TypeVar("T")
OCI = "oci://"

_KEPT = 256
"""How many answers of engines are kept: Kustomize's of as many stamps, Helm's of as many sets of values."""


class Answers(Generic[T]):
    """Answers by key, the last used are kept. Who asks for one that is being made waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._being_made: dict[str, threading.Lock] = {}
        self._kept: OrderedDict[str, T] = OrderedDict()

    def get(self, key: str, make: Callable[[], T]) -> T:
        """The kept answer, or the one that `make` makes now. What `make` raises is not kept."""
        found = self._find(key)
        if found is not None:
            return found
        with self._lock:
            mine = self._being_made.setdefault(key, threading.Lock())
        with mine:
            found = self._find(key)
            try:
                return found if found is not None else self._keep(key, make())
            finally:
                self._being_made.pop(key, None)

    def _find(self, key: str) -> T | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def _keep(self, key: str, made: T) -> T:
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made


_answers: Answers[tuple[Manifest, ...]] = Answers()
_charts: Answers[ChartTemplates] = Answers()


def kustomize_documents(stamp: Stamp, component: Component) -> tuple[Manifest, ...]:
    """The manifests of a Kustomize component, with templates in them. They are shared: never change them."""

    def make() -> tuple[Manifest, ...]:
        text = build_kustomization(stamp.files, component.path, component=component.name)
        found = parse_engine_output(text, origin=f"{component.path} (as Kustomize built it)", has_templates=True)
        if not found:
            raise InvalidInput("Kustomize makes no objects of this", component=component.name, file=component.path)
        texts = texts_of(stamp)
        for _, manifest in found:
            check_generated(manifest, stamp.parameters, component=component.name, file=component.path)
        return tuple((file, with_types(manifest, texts)) for file, manifest in found)

    return _answers.get(f"kustomize {stamp.digest} {component.name}", make)


def helm_documents(stamp: Stamp, component: Component, values: Mapping[str, str]) -> tuple[Manifest, ...]:
    """The manifests that Helm makes of a component with these values; `${...}` in them is text. They are shared."""
    said = chart_values(component.values, values, texts_of(stamp), file=f"stamp.yaml: component {component.name}")
    release = component.release or component.name
    namespace = component.namespace or stamp.namespaces[0]

    def make() -> tuple[Manifest, ...]:
        made = _chart(stamp, component).render(said, release=release, namespace=namespace)
        found: list[Manifest] = []
        for name, text in made.items():
            origin = f"{component.path}/{name.partition('/')[2]}"
            found.extend(parse_engine_output(text, origin=origin, has_templates=False))
        return tuple(kept_of_chart(found, namespace, stamp.cluster_kinds))

    asked = json.dumps([said, release, namespace], sort_keys=True)
    return _answers.get(f"helm {stamp.digest} {component.name} {hashlib.sha256(asked.encode()).hexdigest()}", make)


def _chart(stamp: Stamp, component: Component) -> ChartTemplates:
    """The component's chart, out of the stamp or pulled from its registry; opened once for a stamp."""

    def make() -> ChartTemplates:
        from edge.clients.helm_template import ChartTemplates, chart_archive  # noqa: PLC0415 - Helm is large, and few need it

        if component.path.startswith(OCI):
            archive = pull_chart(_address(component), access=RegistryAccess.of(Settings()))
        else:
            archive = chart_archive(stamp.files, component.path)
        return ChartTemplates(archive, component=component.name, path=component.path)

    return _charts.get(f"{stamp.digest} {component.name}", make)


def _address(component: Component) -> str:
    """A chart's version is its tag, in which a `+` is written `_`; a digest is an exact version."""
    version = component.chart_version
    return (
        f"{component.path}@{version}"
        if version.startswith("sha256:")
        else f"{component.path}:{version.replace('+', '_')}"
    )
