"""What a site has: which version of which stamp, since when, and which objects came with it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime

from edge.model.base import Value
from edge.model.kube import ObjectRef
from edge.model.names import SemVer, SiteName, StampName


class Placement(Value):
    """A stamp on a site. `inventory` are the objects that came with it, in the order in which they were applied.

    `content` is a SHA-256 over the rendered objects without secrets: alike contents are alike placements.
    """

    site: SiteName
    stamp: StampName
    version: SemVer
    digest: str
    content: str
    rollout_id: str
    at: AwareDatetime
    inventory: tuple[ObjectRef, ...] = ()
    parameters: dict[str, str] = {}
    """As given to the rollout; never a secret."""


class FailedVersion(Value):
    """A version that failed on a site: it is not tried there again unless the site is named."""

    site: SiteName
    stamp: StampName
    version: SemVer
    digest: str
    rollout_id: str
    at: AwareDatetime
    reason: str = ""


class CatchUpState(StrEnum):
    """Where a site's catching up is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    """The site changed in ways that nobody expected: a person looks at the diff first."""
    SUPERSEDED = "superseded"
    """A newer version took its place in the queue."""


class CatchUp(Value):
    """A site that was away and still has to get a version. Times are UTC; `objective_s` counts from `returned_at`."""

    site: SiteName
    stamp: StampName
    version: SemVer
    digest: str
    rollout_id: str
    """The rollout that it missed."""
    objective_s: float
    queued_at: AwareDatetime
    returned_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    state: CatchUpState = CatchUpState.QUEUED
    by_rollout: str = ""
    """The rollout that brought it."""
    reason: str = ""
    approved_by: str = ""
    """Who let a surprising diff pass."""


class HoldKind(StrEnum):
    """From what a site is held back."""

    ROLLOUTS = "rollouts"
    DRIFT = "drift"
    """It is under repair: drift is neither reported nor mended."""


class Awaited(Value):
    """A site whose return is waited for, since when."""

    site: SiteName
    since: AwareDatetime


class SiteHold(Value):
    """A site's own "not now", with an end. At most one of each kind for a site."""

    site: SiteName
    kind: HoldKind
    until: AwareDatetime
    reason: str
    by: str = ""
