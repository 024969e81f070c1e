"""The resource types one site serves: the built-in ones, shared by all sites, and those of its own CRDs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edge.lab.kube.crds import types_of
from edge.lab.kube.resources import CRDS, Catalogue, Key, ResourceType, builtin_catalogue


class SiteTypes:
    """A site's catalogue. `generation` changes whenever the set of types does, so that documents can be cached."""

    def __init__(self) -> None:
        self.generation = 0
        self._crds: dict[str, dict[str, Any]] = {}
        self._custom: Catalogue | None = None

    @property
    def custom(self) -> Catalogue | None:
        """The types that CRDs define; None while there are none."""
        if self._custom is None and self._crds:
            self._custom = Catalogue(one for crd in self._crds.values() for one in types_of(crd))
        return self._custom

    def crd_of(self, resource: ResourceType) -> dict[str, Any] | None:
        """The CRD that defines a custom type."""
        return self._crds.get(f"{resource.plural}.{resource.group}")

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
        self.generation += 1

    def observe_key(self, key: Key, obj: dict[str, Any]) -> None:
        """As `observe`, for an object that is restored."""
        if key == CRDS:
            self._crds[obj["metadata"]["name"]] = obj
            self._custom = None
            self.generation += 1

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
