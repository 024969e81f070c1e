"""Stamps: what a site of a kind runs, as one versioned unit."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from edge.model.base import Value
from edge.model.check import Check
from edge.model.names import SemVer, StampName
from edge.model.rule import Waiver


class StampSource(Value):
    """A stamp's files as read, before anything is believed: path below the stamp's folder (POSIX) -> text.

    `origin` says where they came from, for error messages.
    """

    origin: str
    files: dict[str, str]


class ParameterType(StrEnum):
    """What a parameter's value must look like. Values are text, since they are substituted into text."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"


class Parameter(Value):
    """One declared parameter. Without a default it must be given."""

    type: ParameterType = ParameterType.STRING
    description: str = ""
    default: str | None = None
    pattern: str | None = None
    """A regular expression the whole value must match."""
    enum: tuple[str, ...] = ()
    secret: bool = False
    """Its values are references, `<name>/<key>`, to what the secret source has; never the secret itself."""
    constraints: dict[str, Any] = {}
    """Further keywords of JSON Schema (draft 2020-12) that a value must meet, such as `minimum`."""


class ComponentKind(StrEnum):
    """Who makes a component's objects out of its files."""

    MANIFESTS = "manifests"
    KUSTOMIZE = "kustomize"
    HELM = "helm"


class Component(Value):
    """Objects that belong together: `path` is a folder or a file below the stamp's folder, or for a Helm component also
    a chart's `oci://` address with a version.

    Its objects are applied once those of all in `depends_on` are Current. `namespace`, `release` and `values` are for
    Helm; a value may hold `${parameter}`.
    """

    name: StampName
    path: str
    kind: ComponentKind = ComponentKind.MANIFESTS
    depends_on: tuple[StampName, ...] = ()
    namespace: str = ""
    release: str = ""
    chart_version: str = ""
    values: dict[str, Any] = {}


class Requirements(Value):
    """What a site must have. Quantities are Kubernetes' own (`500m`, `2Gi`); empty means nothing is asked.

    `kinds` are kinds that something else must serve there (`Certificate.cert-manager.io`), `controllers` are
    `namespace/name` of Deployments that must be available, `architectures` of nodes any one of which will do.
    """

    kinds: tuple[str, ...] = ()
    controllers: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    kubernetes: str = ""
    """The oldest version, such as `1.28`."""


class ParameterValues(Value):
    """Values that hold for some sites: the site's go before the tenant's, those before the region's."""

    regions: dict[str, dict[str, str]] = {}
    tenants: dict[str, dict[str, str]] = {}
    sites: dict[str, dict[str, str]] = {}


class Stamp(Value):
    """A stamp's version. `digest` is the SHA-256 over its files and makes the version immutable.

    `namespaces` are the only ones it may write to; cluster-wide kinds are limited to those namespaces themselves and to
    `cluster_kinds` named here (as `Kind` or `Kind.group`).
    """

    name: StampName
    version: SemVer
    description: str = ""
    namespaces: tuple[str, ...]
    cluster_kinds: tuple[str, ...] = ()
    parameters: dict[str, Parameter] = {}
    values: ParameterValues = ParameterValues()
    components: tuple[Component, ...]
    requires: Requirements = Requirements()
    checks: tuple[Check, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    required_step: bool = False
    """Sites that are behind must not jump over this version."""
    manifests: dict[str, str] = Field(default={}, repr=False)
    """Path -> text of every manifest, still with `${...}` in it."""
    files: dict[str, str] = Field(default={}, repr=False)
    """Path -> text of the files of Kustomize and Helm components."""
    digest: str
