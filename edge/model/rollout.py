"""Rollouts: a stamp's version on its way to a cohort of sites, in waves."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints

from edge.model.base import Value
from edge.model.names import SemVer, SiteName, StampName
from edge.model.outcome import Cause, Status

CountOrPercent = Annotated[str, StringConstraints(pattern=r"^(\d{1,6}|(100|\d{1,2})%)$")]
"""A number of sites (`"3"`) or a share of the cohort (`"25%"`, rounded up)."""


class Strategy(Value):
    """How a rollout goes over its cohort.

    The canary is a wave of its own in front with a budget of zero. `waves` are the sizes of the waves after it; what is
    left goes into one last wave. `failure_budget` is how many sites may fail over the whole rollout before it stops.
    `site_deadline_s` is how long one site may take from the first request to healthy, in seconds.
    """

    canary: CountOrPercent = "1"
    waves: tuple[CountOrPercent, ...] = ("25%", "100%")
    failure_budget: CountOrPercent = "0"
    concurrency: int = Field(default=32, ge=1, le=256)
    site_deadline_s: float = Field(default=300.0, gt=0, le=86400)


class Wave(Value):
    """Sites that are changed together. `failure_budget`: how many of them may fail before the rollout stops."""

    index: int = Field(ge=0)
    name: str
    sites: tuple[SiteName, ...]
    failure_budget: int = Field(ge=0)


class RolloutPlan(Value):
    """What will happen: frozen at start, so that a restart goes on with the same cohort.

    `digest` is the SHA-256 of the stamp's content; `parameters` were given for all sites and never hold secrets.
    """

    rollout_id: str
    stamp: StampName
    version: SemVer
    digest: str
    strategy: Strategy
    waves: tuple[Wave, ...]
    parameters: dict[str, str] = {}
    must_be_online: tuple[SiteName, ...] = ()
    """Sites whose absence stops the rollout, whatever the budget."""


class RolloutState(StrEnum):
    """Where a rollout is."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    """Every site succeeded or is expected offline."""
    FAILED = "failed"
    """It went through, within its budget, and some sites failed."""
    STOPPED = "stopped"
    """A wave broke its budget; the sites after it are held."""


class SiteProgress(Value):
    """One site's row in a rollout. `status` is None until the site has ended; `seconds` is wall-clock time."""

    site: SiteName
    wave: int
    status: Status | None = None
    cause: Cause | None = None
    seconds: float = 0.0
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None


class Rollout(Value):
    """A rollout as the ledger knows it."""

    plan: RolloutPlan
    state: RolloutState
    started_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    sites: tuple[SiteProgress, ...] = ()


class WaveVerdict(StrEnum):
    """What the judge of a finished wave says."""

    GO_ON = "go-on"
    STOP = "stop"
