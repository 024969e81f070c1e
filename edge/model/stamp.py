"""Stamps: what a site of a kind runs, as one versioned unit."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from edge.model.base import Value
from edge.model.names import SemVer, StampName


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


class Component(Value):
    """Manifests that belong together: `path` is a folder or a file below the stamp's folder."""

    name: StampName
    path: str


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
    components: tuple[Component, ...]
    manifests: dict[str, str] = Field(default={}, repr=False)
    """Path -> text of every manifest, still with `${...}` in it."""
    digest: str
