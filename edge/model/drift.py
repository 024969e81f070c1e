"""Drift: where a site differs from what the platform put there, told from who owns which field."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, Field

from edge.model.base import Value
from edge.model.kube import ObjectRef
from edge.model.names import SiteName, StampName
from edge.model.outcome import Cause
from edge.model.rollout import Strategy
from edge.model.site import SiteSelector


class DriftKind(StrEnum):
    """In which way something differs."""

    MISSING = "missing"
    """An object that came with the stamp is gone."""
    CHANGED = "changed"
    """A field that we set has another value, and is not ours any more."""
    REMOVED = "removed"
    """A field that we set is gone. A site does not remember who took it away."""
    TAKEN_OVER = "taken-over"
    """A field has the value that we want, and belongs to another manager alone: it will follow that one, not us."""
    CO_OWNED = "co-owned"
    """Another manager owns a field beside us, with the same value: what we leave out later stays there."""


class DriftRule(Value):
    """Drift that is to be ignored: whatever matches everything that is set; empty matches all.

    `*` stands for any text. `path` is a field's path as findings have it (`.spec.replicas`,
    `.spec.template.spec.containers[name=app].image`).
    """

    kind: str = ""
    name: str = ""
    namespace: str = ""
    path: str = ""
    manager: str = ""


class Finding(Value):
    """One difference. `path` is empty for a whole object. `wanted` and `found` are JSON, shortened; secrets are masked.

    `manager` is who has the field by the site's own account, `since` the time of that one's last write to the object;
    both may be unknown. `first_seen` is when the platform saw it first: drift may be older than that, never younger.
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


class DriftStatus(StrEnum):
    """What a look at a stamp on a site came to."""

    CLEAN = "clean"
    DRIFTED = "drifted"
    MENDED = "mended"
    """What could be mended was; findings that are left are of the kind that cannot."""
    FAILED = "failed"
    """It could not be looked at, or not be mended, for a reason that is no absence."""
    AWAY = "away"
    """The site did not answer."""
    UNDER_REPAIR = "under-repair"
    """Somebody asked that it be left alone until a date."""
    SKIPPED = "skipped"
    """It was not looked at, because something else is responsible for it right now."""


class DriftLook(Value):
    """One stamp on one site, looked at. `why` says, for people, why it was not looked at or not mended."""

    site: SiteName
    stamp: StampName
    status: DriftStatus
    findings: tuple[Finding, ...] = ()
    mended: tuple[Finding, ...] = ()
    """What was found and is not there any more."""
    cause: Cause | None = None
    why: str = ""
    ignored: int = 0
    """How many differences a rule hid."""


class DriftOrder(Value):
    """What is looked at, what is ignored, and whether it is mended.

    Mending goes by the strategy of the rollout that put the stamp there, or by `strategy`: its failure budget (of the
    sites that drifted), its windows, its concurrency, its deadline per site.
    """

    sites: SiteSelector = SiteSelector()
    stamps: tuple[StampName, ...] = ()
    ignore: tuple[DriftRule, ...] = Field(default=(), max_length=256)
    mend: bool = False
    strategy: Strategy | None = None
