"""Rollouts: a stamp's version on its way to a cohort of sites, in waves."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, Field, StringConstraints

from edge.model.base import Value
from edge.model.names import SemVer, SiteName, StampName
from edge.model.outcome import Cause, Outcome, Status
from edge.model.site import SiteSelector
from edge.model.step import Detail

CountOrPercent = Annotated[str, StringConstraints(pattern=r"^(\d{1,6}|(100|\d{1,2})%)$")]
"""A number of sites (`"3"`) or a share of the cohort (`"25%"`, rounded up)."""


class Approval(StrEnum):
    """When a wave waits for a person's word."""

    BEFORE = "before"
    AFTER = "after"


class OnBrokenBudget(StrEnum):
    """What is done with a wave that broke its budget. The sites after it are held in any case."""

    STOP = "stop"
    ROLL_BACK = "roll-back"
    """Its sites go back to the snapshot that was taken before: exactly the objects and fields that were changed."""


class OnDeadline(StrEnum):
    """What a site means that did not become healthy within its deadline."""

    CONTINUE = "continue"
    """It failed, and counts in the budget."""
    ABORT = "abort"
    """It failed, and the rollout stops after its wave whatever the budget."""


class Joiners(StrEnum):
    """What becomes of a site that matches the selector and came after the cohort was frozen."""

    IGNORE = "ignore"
    CATCH_UP = "catch-up"
    """It is queued, and passes the same gates once the rollout has succeeded."""


class OnMeeting(StrEnum):
    """What a rollout does when another one that has not ended has some of its sites."""

    WAIT = "wait"
    REFUSE = "refuse"


class VersionPath(StrEnum):
    """How a site that is several versions behind gets to the newest."""

    JUMP = "jump"
    STEPS = "steps"
    """Over every version whose stamp says that it is a required step."""


class Delivery(StrEnum):
    """How the objects get to the site."""

    DIRECT = "direct"
    """The platform applies them."""
    GITOPS = "gitops"
    """The site pulls an immutable revision; the platform says which, and judges by what the site reports."""


class Preflight(StrEnum):
    """How much is checked at a site by server-side dry run before anything is changed there."""

    ALL = "all"
    NONE = "none"


class Window(Value):
    """A maintenance window: it opens by a cron expression (five fields) and stays open for `duration_s` seconds.

    `time_zone` is an IANA name; None means the site's own. In the hour that a clock skips a window opens at the first
    moment that exists; in the hour that a clock repeats it opens once.
    """

    cron: str = Field(max_length=256)
    duration_s: float = Field(gt=0, le=7 * 86400)
    time_zone: str | None = None


class CatchUpRule(Value):
    """How sites that were away come to the version later. `objective_s`: how soon after they are back, in seconds."""

    enabled: bool = True
    objective_s: float = Field(default=86400.0, gt=0)
    path: VersionPath = VersionPath.JUMP


class WaveSpec(Value):
    """One wave as it is wanted.

    `size` counts in the whole cohort, or with `sites` among those that match. A canary wave has a budget of zero,
    whatever else is said. `failure_budget` None: that of the strategy. `soak_s`: how long the wave is watched after its
    last site before the next begins.
    """

    name: str | None = Field(default=None, pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    size: CountOrPercent = "100%"
    sites: SiteSelector | None = None
    canary: bool = False
    failure_budget: CountOrPercent | None = None
    concurrency: CountOrPercent | None = None
    soak_s: float = Field(default=0.0, ge=0, le=30 * 86400)
    approval: tuple[Approval, ...] = ()


def _as_wave(said: object) -> object:
    return {"size": said} if isinstance(said, str) else said


def _as_count(said: object) -> object:
    return str(said) if isinstance(said, int) and not isinstance(said, bool) else said


class Strategy(Value):
    """How a rollout goes over its cohort. The defaults are safe: one canary first, and no failure is allowed.

    The canary is a wave of its own in front with a budget of zero; with `canary: "0"` the waves say themselves which of
    them are canaries. `waves` come after it, a text means a size; what is left goes into one last wave.
    `failure_budget` is how many sites may fail over the whole rollout before it stops, `concurrency` how many are
    worked on at once (a share is of the wave; at least one). `site_deadline_s` is how long one site may take from the
    first request to healthy, in seconds.
    """

    canary: CountOrPercent = "1"
    waves: tuple[Annotated[WaveSpec, BeforeValidator(_as_wave, json_schema_input_type=WaveSpec | str)], ...] = (
        WaveSpec(size="25%"),
        WaveSpec(size="100%"),
    )
    failure_budget: CountOrPercent = "0"
    concurrency: Annotated[CountOrPercent, BeforeValidator(_as_count, json_schema_input_type=str | int)] = "32"
    site_deadline_s: float = Field(default=300.0, gt=0, le=86400)
    on_deadline: OnDeadline = OnDeadline.CONTINUE
    on_broken_budget: OnBrokenBudget = OnBrokenBudget.STOP
    mandatory: SiteSelector | None = None
    """Sites of which none may fail, whatever the budget."""
    windows: tuple[Window, ...] = Field(default=(), max_length=32)
    """A site is begun only while one of these is open; none: at any time."""
    precache: bool = False
    """Pull the images to the nodes of a wave's sites while its windows are still closed."""
    self_test_s: float = Field(default=0.0, ge=0, le=86400)
    """After a site is healthy its checks must hold for so many seconds."""
    prune: bool = True
    """Objects of the version before that the new one does not have are removed, after a fresh look."""
    preflight: Preflight = Preflight.ALL
    delivery: Delivery = Delivery.DIRECT
    joiners: Joiners = Joiners.IGNORE
    on_meeting: OnMeeting = OnMeeting.WAIT
    catch_up: CatchUpRule = CatchUpRule()
    runs: int = Field(default=1, ge=1, le=64)
    """How many runs on the work pool share a wave; more workers then mean more width."""
    force: tuple[SiteName, ...] = ()
    """Sites on which this version is tried though it failed there before."""


class Wave(Value):
    """Sites that are changed together. `failure_budget`: how many of them may fail before the rollout stops;
    `concurrency`: how many are worked on at once, None as the strategy says.
    """

    index: int = Field(ge=0)
    name: str
    sites: tuple[SiteName, ...]
    failure_budget: int = Field(ge=0)
    canary: bool = False
    concurrency: int | None = Field(default=None, ge=1)
    soak_s: float = 0.0
    approval: tuple[Approval, ...] = ()


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
    mandatory: tuple[SiteName, ...] = ()
    """Sites whose failure stops the rollout, whatever the budget."""
    time_zones: dict[SiteName, str] = {}
    """Of sites whose zone is not UTC, frozen with the cohort."""
    selector: SiteSelector | None = None
    """Who was meant, for the rule of those that join later."""


class RolloutState(StrEnum):
    """Where a rollout is."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    """Every site succeeded or is expected offline."""
    FAILED = "failed"
    """It went through, within its budget, and some sites failed."""
    STOPPED = "stopped"
    """A wave broke its budget, or a person said no; the sites after it are held."""
    PAUSED = "paused"
    """A person said so: no further site is begun until somebody resumes it."""
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"
    """A wave broke its budget, and its sites are as they were before."""
    CANCELLED = "cancelled"
    """A person ended it; the sites that were not begun are held."""


ENDED = frozenset(
    {
        RolloutState.SUCCEEDED,
        RolloutState.FAILED,
        RolloutState.STOPPED,
        RolloutState.ROLLED_BACK,
        RolloutState.CANCELLED,
    }
)
"""States in which nothing more is done."""


class Control(StrEnum):
    """What people tell a rollout."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY_FAILED = "retry-failed"
    APPROVE = "approve"
    REJECT = "reject"


class GateState(StrEnum):
    """Where the approval of a wave is."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class Gate(Value):
    """The approval before or after a wave: asked for at `asked_at`, answered by `by`."""

    wave: int
    when: Approval
    state: GateState = GateState.PENDING
    asked_at: AwareDatetime
    decided_at: AwareDatetime | None = None
    by: str = ""
    reason: str = ""


class WaveTimes(Value):
    """When a wave's first site was begun and when its last one ended."""

    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None


class RolloutFacts(Value):
    """Everything that `edge.policy.next_act.next_act` decides from, as of one moment.

    `outcomes`: of sites that have ended. `working`: begun and not ended. `gone`: left the fleet since the start.
    `locked`: until when a site does not want to be touched. `failed_here`: sites on which this version failed before.
    """

    outcomes: dict[SiteName, Outcome] = {}
    working: frozenset[SiteName] = frozenset()
    gone: frozenset[SiteName] = frozenset()
    locked: dict[SiteName, AwareDatetime] = {}
    failed_here: frozenset[SiteName] = frozenset()
    waves: dict[int, WaveTimes] = {}
    gates: tuple[Gate, ...] = ()
    state: RolloutState = RolloutState.RUNNING
    cancelled: bool = False
    precached: frozenset[SiteName] = frozenset()


class Act(StrEnum):
    """What a rollout does next."""

    WORK = "work"
    """Begin these sites of the wave."""
    PRECACHE = "precache"
    """Pull the images to these sites, ahead of their window."""
    SKIP = "skip"
    """End these sites without touching them, with `status` and `cause`."""
    WAIT = "wait"
    """For soak, a window, sites at work, a lock: nothing to do before `until` (None: until something happens)."""
    ASK = "ask"
    """Open the gate `when` of the wave and wait for a person."""
    PAUSED = "paused"
    ROLL_BACK = "roll-back"
    """Take these sites back to their snapshots."""
    FINISH = "finish"
    """It ends in `state`; sites that were never begun are held."""


class NextAct(Value):
    """One decision. `why` is a sentence for people."""

    act: Act
    why: str
    wave: int | None = None
    sites: tuple[SiteName, ...] = ()
    until: AwareDatetime | None = None
    when: Approval | None = None
    state: RolloutState | None = None
    status: Status | None = None
    cause: Cause | None = None


class SiteProgress(Value):
    """One site's row in a rollout. `status` is None until the site has ended; `seconds` is wall-clock time."""

    site: SiteName
    wave: int
    status: Status | None = None
    cause: Cause | None = None
    seconds: float = 0.0
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    detail: Detail = {}
    """As `Outcome.detail`: how exactly the site was left."""


class Rollout(Value):
    """A rollout as the ledger knows it."""

    plan: RolloutPlan
    state: RolloutState
    started_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    sites: tuple[SiteProgress, ...] = ()
    waiting: str = ""
    """What it waits for, in a sentence; empty while it works."""
    wake_at: AwareDatetime | None = None
    """When what it waits for may be over."""
    gates: tuple[Gate, ...] = ()
