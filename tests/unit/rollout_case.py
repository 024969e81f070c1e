"""A rollout in a few words: six sites, a strategy, what came of them so far, and what is to be done next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from edge.errors import NotYet, Rejected, SiteUnreachable
from edge.model.outcome import Cause, Outcome, Status
from edge.model.rollout import (
    Approval,
    Gate,
    GateState,
    NextAct,
    OnBrokenBudget,
    OnDeadline,
    RolloutPlan,
    Strategy,
    WaveSpec,
    Window,
)
from edge.model.site import Site, SiteSelector
from edge.model.stamp import Component, Stamp
from edge.policy.rollout import FAILED_BEFORE, plan_rollout

NOW = datetime(2026, 5, 2, 12, 0, tzinfo=UTC)
"""A Saturday, at noon."""
STAMP = Stamp(
    name="press",
    version="1.0.0",
    namespaces=("press",),
    components=(Component(name="app", path="app"),),
    digest="0" * 64,
)
GOOD, BAD, AWAY, SKIPPED = Status.SUCCEEDED, Status.FAILED, Status.EXPECTED_OFFLINE, Status.SKIPPED
HELD, BACK = Status.HELD, Status.ROLLED_BACK
NIGHT = Window(cron="0 2 * * *", duration_s=3600)
NOON = Window(cron="0 12 * * *", duration_s=3600)
ROLL_BACK = OnBrokenBudget.ROLL_BACK


def sites(said: str, **fields: object) -> list[Site]:
    return [Site.model_validate({"name": name, **fields}) for name in said]


def plan_of(strategy: Strategy, cohort: Sequence[Site] | str = "abcdef") -> RolloutPlan:
    """Six sites: canary `a`, then waves as the strategy says."""
    return plan_rollout(STAMP, sites(cohort) if isinstance(cohort, str) else cohort, strategy, {}, 1)


def one(site: str, status: Status, cause: Cause | None = None) -> Outcome:
    return Outcome(subject=site, status=status, cause=cause or (Cause.of(Rejected("No")) if status is BAD else None))


def ended(said: str, *others: Outcome) -> dict[str, Outcome]:
    """`"a+ b- c~ d. e< f!"`: succeeded, failed, expected offline, skipped, rolled back, held."""
    marks = {"+": GOOD, "-": BAD, "~": AWAY, ".": SKIPPED, "<": BACK, "!": HELD}
    found = {word[0]: one(word[0], marks[word[1]]) for word in said.split()}
    return {**found, **{outcome.subject: outcome for outcome in others}}


def later(**delta: float) -> datetime:
    return NOW + timedelta(**delta)


def gate(wave: int, when: Approval, state: GateState = GateState.PENDING, by: str = "") -> Gate:
    return Gate(wave=wave, when=when, state=state, asked_at=NOW, by=by)


def says(act: NextAct) -> tuple[Any, ...]:
    """What matters of an act: its kind, then whatever else it has."""
    rest = (act.wave, "".join(act.sites), act.until, act.when, act.state, act.cause and act.cause.reason)
    return (act.act, *(word for word in rest if word not in (None, "")))


SIMPLE = Strategy(waves=())
TWO = Strategy(waves=("2",), failure_budget="2")
BUDGET = Strategy(waves=(), failure_budget="2", concurrency="2")
BACKWARDS = BUDGET.model_copy(update={"on_broken_budget": ROLL_BACK})
ABORT = BUDGET.model_copy(update={"on_deadline": OnDeadline.ABORT})
SOAK = Strategy(canary="0", waves=(WaveSpec(size="1", canary=True, soak_s=3600), WaveSpec()))
BEFORE = Strategy(waves=(WaveSpec(approval=(Approval.BEFORE,)),))
AFTER = Strategy(canary="0", waves=(WaveSpec(size="1", approval=(Approval.AFTER,)), WaveSpec()))
AT_NIGHT = Strategy(waves=(), windows=(NIGHT,))
AT_NOON = Strategy(waves=(), windows=(NOON,))
AHEAD = Strategy(waves=(), windows=(NIGHT,), precache=True, concurrency="2")
MUST = Strategy(waves=(), failure_budget="100%", mandatory=SiteSelector(names=("b",)))
LATE = Cause.of(NotYet("Not healthy"))
GONE_DARK = Cause.of(SiteUnreachable("No"))
KNOWN_BAD = Cause(code="operation-failed", message="It failed there before", reason=FAILED_BEFORE)
