"""The resource types one site serves: the built-in ones, shared by all sites, and those of its own CRDs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from edge.lab.kube.crds import types_of
from edge.lab.kube.resources import CRDS, Catalogue, Key, ResourceType, builtin_catalogue


@lru_cache(maxsize=64)
def _shared(custom: tuple[ResourceType, ...]) -> Catalogue:
    """One catalogue for all sites with the same CRDs, so that they share the documents made from it too."""
    return Catalogue(custom)


class SiteTypes:
    """A site's catalogue."""

    def __init__(self) -> None:
        self._crds: dict[str, dict[str, Any]] = {}
        self._custom: Catalogue | None = None

    @property
    def custom(self) -> Catalogue | None:
        """The types that CRDs define; None while there are none."""
        if self._custom is None and self._crds:
            self._custom = _shared(tuple(one for crd in self._crds.values() for one in types_of(crd)))
        return self._custom

    def observe(self, verdict: str, resource: ResourceType, obj: dict[str, Any]) -> None:
        """Take note of a CRD that came, changed or went."""
        if resource.key != CRDS:
            return
        name = obj["metadata"]["name"]
        if verdict == "DELETED":
            self._crds.pop(name, None)
        elif self._crds.get(name, {}).get("spec") == obj["spec"]:
            self._crds[name] = obj
            return
        else:
            self._crds[name] = obj
        self._custom = None

    def observe_key(self, key: Key, obj: dict[str, Any]) -> None:
        """As `observe`, for an object that is restored."""
        if key == CRDS:
            self._crds[obj["metadata"]["name"]] = obj
            self._custom = None

    def find(self, group: str, version: str, plural: str) -> ResourceType | None:
        """By the parts of a URL."""
        found = builtin_catalogue().find(group, version, plural)
        return found or (self.custom.find(group, version, plural) if self.custom else None)

    def of_kind(self, api_version: str, kind: str) -> ResourceType | None:
        """By the head of a manifest."""
        found = builtin_catalogue().of_kind(api_version, kind)
        return found or (self.custom.of_kind(api_version, kind) if self.custom else None)

    def of_key(self, key: Key) -> ResourceType | None:
        """The preferred type for objects stored under `key`."""
        return builtin_catalogue().of_key(key) or (self.custom.of_key(key) if self.custom else None)

    def __iter__(self) -> Iterator[ResourceType]:
        yield from builtin_catalogue()
        yield from self.custom or ()
