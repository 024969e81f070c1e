"""What the API server serves: resource types, the built-in catalogue, and a site's own view with its CRDs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from edge.lab.kube.schema import Schema, builtin_schema

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
Key = tuple[str, str]
"""(group, plural) under which objects are stored, whatever version they are asked in."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`: a JSONPath into the object, or the name of a function in cells.py."""

    name: str
    path: str = ""
    cell: str = ""
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""
    default: Any = None
    """Printed when the path finds nothing; kubectl shows None as `<none>`."""


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where a kind keeps what the scale subresource shows (JSONPaths such as `.spec.replicas`)."""

    spec: str = ".spec.replicas"
    status: str = ".status.replicas"
    selector: str = ".spec.selector"


@dataclass(frozen=True, slots=True, eq=False)
class ResourceType:
    """One resource in one version. Compared by identity; `key` says which objects it shows."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    singular: str = ""
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[str, ...] = ()
    counts_generation: bool = False
    returns_deleted: bool = False
    immutable: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    scale: ScalePaths | None = None
    storage_version: str = ""
    storage_group: str = ""
    custom_schema: Callable[[], Schema] | None = field(default=None, repr=False)
    """Set for CRDs; compiles on first use."""
    schema_source: bytes = field(default=b"", repr=False)
    """The openAPIV3Schema of a CRD, as JSON."""

    @property
    def key(self) -> Key:
        """Where its objects are kept."""
        return (self.storage_group, self.plural)

    @property
    def api_version(self) -> str:
        """As written in manifests: `v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def storage_api_version(self) -> str:
        """The apiVersion stored objects carry."""
        version = self.storage_version or self.version
        return f"{self.storage_group}/{version}" if self.storage_group else version

    @property
    def qualified(self) -> str:
        """As error texts name it: `deployments.apps`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def schema(self) -> Schema:
        """The compiled schema."""
        return self.custom_schema() if self.custom_schema else _schema_of(self.group, self.version, self.kind)

    @property
    def custom(self) -> bool:
        """Whether a CRD defines it."""
        return self.custom_schema is not None

    @property
    def has_status(self) -> bool:
        """Whether status is written apart from the rest."""
        return "status" in self.subresources


@cache
def _schema_of(group: str, version: str, kind: str) -> Schema:
    found = builtin_schema(group, version, kind)
    if found is None:
        raise KeyError(f"no schema for {kind} of {group}/{version}")
    return found


@cache
def builtin_types() -> tuple[ResourceType, ...]:
    """Every built-in resource, in discovery order."""
    text = files("edge.lab.kube").joinpath("data/resources.yaml").read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    groups = yaml.load(text, Loader=loader)  # noqa: S506 - both are safe loaders; the C one is ten times faster
    return tuple(_parse(entry["group"], entry["version"], one) for entry in groups for one in entry["resources"])


def _parse(group: str, version: str, entry: Mapping[str, Any]) -> ResourceType:
    kind = entry["kind"]
    subresources = tuple(entry.get("sub", ()))
    return ResourceType(
        group=group,
        version=version,
        plural=entry["plural"],
        kind=kind,
        namespaced=entry.get("namespaced", True),
        singular=kind.lower(),
        list_kind=f"{kind}List",
        short_names=tuple(entry.get("short", ())),
        categories=tuple(entry.get("categories", ())),
        verbs=tuple(entry.get("verbs", ALL_VERBS)),
        subresources=subresources,
        counts_generation=entry.get("generation", False),
        returns_deleted=entry.get("returns_deleted", False),
        immutable=tuple(entry.get("immutable", ())),
        columns=tuple(_column(column) for column in entry.get("columns", ())),
        scale=ScalePaths() if "scale" in subresources else None,
        storage_version=version,
        storage_group=entry.get("storage_group", group),
    )


def _column(entry: Mapping[str, Any]) -> Column:
    absent = 0 if entry.get("type") == "integer" else "<none>" if entry.get("priority") else ""
    return Column(**{"default": absent, **entry})


class Catalogue:
    """Resource types by path and by kind. The first version of a group listed is the preferred one."""

    def __init__(self, types: Iterable[ResourceType]) -> None:
        self.types = tuple(types)
        self._by_path = {(one.group, one.version, one.plural): one for one in self.types}
        self._by_kind = {(one.group, one.version, one.kind): one for one in self.types}
        self._by_key: dict[Key, ResourceType] = {}
        for one in self.types:
            if one.storage_group == one.group:
                self._by_key.setdefault(one.key, one)

    def find(self, group: str, version: str, plural: str) -> ResourceType | None:
        """By the parts of a URL."""
        return self._by_path.get((group, version, plural))

    def of_kind(self, api_version: str, kind: str) -> ResourceType | None:
        """By the head of a manifest."""
        group, _, version = api_version.rpartition("/")
        return self._by_kind.get((group, version, kind))

    def of_key(self, key: Key) -> ResourceType | None:
        """The preferred type that shows the objects stored under `key`."""
        return self._by_key.get(key)

    def groups(self) -> dict[str, list[str]]:
        """Group -> versions, in discovery order."""
        found: dict[str, list[str]] = {}
        for one in self.types:
            versions = found.setdefault(one.group, [])
            if one.version not in versions:
                versions.append(one.version)
        return found

    def __iter__(self) -> Iterator[ResourceType]:
        return iter(self.types)


@cache
def builtin_catalogue() -> Catalogue:
    """The catalogue of a site without CRDs; shared by all sites."""
    return Catalogue(builtin_types())


def builtin(plural: str, group: str = "") -> ResourceType:
    """One built-in resource by plural and group, in its preferred version.

    Raises KeyError when the lab does not serve it.
    """
    found = builtin_catalogue().of_key((group, plural))
    if found is None:
        raise KeyError(f"{plural}.{group}" if group else plural)
    return found


NAMESPACES = ("", "namespaces")
PODS = ("", "pods")
CRDS = ("apiextensions.k8s.io", "customresourcedefinitions")
