"""Engines run once for what they depend on: their answers are kept, and shared by the threads of a process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

from edge.clients.kustomize import build_kustomization
from edge.errors import InvalidInput
from edge.model.stamp import Component, Stamp
from edge.policy.engine_text import with_types
from edge.policy.manifests import Manifest, parse_engine_output
from edge.policy.parameters import texts_of

_KEPT = 256
"""How many answers of engines are kept: Kustomize's of as many stamps, Helm's of as many sets of values."""


class _Answers:
    """Answers by key, the last used are kept. Who asks for one that is being made waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._being_made: dict[str, threading.Lock] = {}
        self._kept: OrderedDict[str, tuple[Manifest, ...]] = OrderedDict()

    def get(self, key: str, make: Callable[[], tuple[Manifest, ...]]) -> tuple[Manifest, ...]:
        """The kept answer, or the one that `make` makes now. What `make` raises is not kept."""
        found = self._find(key)
        if found is not None:
            return found
        with self._lock:
            mine = self._being_made.setdefault(key, threading.Lock())
        with mine:
            found = self._find(key)
            return found if found is not None else self._keep(key, make())

    def _find(self, key: str) -> tuple[Manifest, ...] | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def _keep(self, key: str, made: tuple[Manifest, ...]) -> tuple[Manifest, ...]:
        with self._lock:
            self._kept[key] = made
            self._being_made.pop(key, None)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made


_answers = _Answers()


def kustomize_documents(stamp: Stamp, component: Component) -> tuple[Manifest, ...]:
    """The manifests of a Kustomize component, with templates in them. They are shared: never change them."""

    def make() -> tuple[Manifest, ...]:
        text = build_kustomization(stamp.files, component.path, component=component.name)
        found = parse_engine_output(text, origin=f"{component.path} (as Kustomize built it)", has_templates=True)
        if not found:
            raise InvalidInput("Kustomize makes no objects of this", component=component.name, file=component.path)
        texts = texts_of(stamp)
        return tuple((file, with_types(manifest, texts)) for file, manifest in found)

    return _answers.get(f"kustomize {stamp.digest} {component.name}", make)


def helm_documents(stamp: Stamp, component: Component, values: Mapping[str, str]) -> tuple[Manifest, ...]:
    """The manifests that Helm makes of a component with these values; `${...}` in them is text."""
    raise InvalidInput("Helm components are not available yet", component=component.name)
