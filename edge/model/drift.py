"""Drift: where a site differs from what the platform put there, told from who owns which field."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime

from edge.model.base import Value
from edge.model.kube import ObjectRef
from edge.model.names import SiteName, StampName


class DriftKind(StrEnum):
    """In which way something differs."""

    MISSING = "missing"
    """An object that came with the stamp is gone."""
    CHANGED = "changed"
    """A field that is ours has another value, and another manager owns it now as well or instead."""
    REMOVED = "removed"
    """A field that we set is gone."""
    TAKEN_OVER = "taken-over"
    """A field has the value that we want, and is owned by another manager alone: it will follow that one, not us."""
    CO_OWNED = "co-owned"
    """Another manager owns a field beside us, with the same value: neither can change it without the other."""


class DriftRule(Value):
    """Drift that is to be ignored: whatever matches everything that is set. Globs as in shells; empty matches all.

    `path` is a field's path as findings have it (`.spec.replicas`, `.spec.containers[name=app].image`).
    """

    kind: str = ""
    name: str = ""
    namespace: str = ""
    path: str = ""
    manager: str = ""


class Finding(Value):
    """One difference. `path` is empty for a whole object. `wanted` and `found` are JSON, shortened; of Secrets never.

    `manager` is who has the field by the site's own account, `since` the time of its last write there; both may be
    unknown. `first_seen` is when the platform saw it first: drift may be older than that, and never younger.
    """

    site: SiteName
    stamp: StampName
    kind: DriftKind
    ref: ObjectRef
    path: str = ""
    manager: str = ""
    wanted: str = ""
    found: str = ""
    since: AwareDatetime | None = None
    first_seen: AwareDatetime | None = None
    last_seen: AwareDatetime | None = None
