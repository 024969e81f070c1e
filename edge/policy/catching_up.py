"""Sites that were away come to the version later: by which versions, when, through which gates, and was it soon enough.

The clock of the objective runs from the moment a site is back, not from the rollout that it missed: nobody can mend a
site that is not there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import cmp_to_key
from typing import Final

from edge.errors import InvalidInput, SiteSilent, SiteUnreachable
from edge.model.base import Value
from edge.model.outcome import Outcome, Status
from edge.model.placement import CatchUp, CatchUpState
from edge.model.rollout import Approval, Joiners, OnMeeting, RolloutPlan, Strategy, VersionPath, WaveSpec
from edge.model.stamp import Stamp
from edge.policy.next_act import HELD_BACK
from edge.policy.timing import quantile
from edge.policy.versions import compare, is_newer

_OPEN: Final = (CatchUpState.QUEUED, CatchUpState.RUNNING, CatchUpState.QUARANTINED)


_AWAY: Final = (SiteUnreachable.code, SiteSilent.code)
_CLOSES: Final = {
    Status.SUCCEEDED: CatchUpState.DONE,
    Status.FAILED: CatchUpState.FAILED,
    Status.ROLLED_BACK: CatchUpState.FAILED,
    Status.QUARANTINED: CatchUpState.QUARANTINED,
    Status.HELD: CatchUpState.FAILED,
    Status.SKIPPED: CatchUpState.FAILED,
}


class CatchUpReport(Value):
    """How sites that were away did against their objectives. Seconds count from return to end."""

    away: int = 0
    """Not back yet: their clock does not run."""
    open: int = 0
    """Back, and neither done nor late."""
    met: int = 0
    missed: int = 0
    """Done too late, failed, or still open after the objective."""
    quarantined: int = 0
    """Of the open and the missed ones, those that wait for a person."""
    median_s: float | None = None
    p95_s: float | None = None


def path_of(have: str | None, want: str, known: Sequence[Stamp], path: VersionPath) -> tuple[str, ...]:
    """The versions that a site gets one after another, the wanted one last; empty when it has that already.

    `have` None: the site never had the stamp, so there is nothing to step over. `known` are versions of this stamp.
    Raises InvalidInput for a way back, and for a jump over a version that says it is a required step: the one is a
    roll-out of its own, the other needs a person to choose.
    """
    if have == want:
        return ()
    if have is None:
        return (want,)
    if is_newer(have, want):
        remedy = "Roll the older version out to the site by name"
        raise InvalidInput(f"The site has a newer version, {have}", field="version", value=want, remedy=remedy)
    between = {
        stamp.version
        for stamp in known
        if stamp.required_step and is_newer(stamp.version, have) and is_newer(want, stamp.version)
    }
    steps = sorted(between, key=cmp_to_key(compare))
    if steps and path is VersionPath.JUMP:
        remedy = "Set `catch_up.path` of the strategy to `steps`"
        said = f"From {have} to {want} a site must not jump over {', '.join(steps)}"
        raise InvalidInput(said, field="strategy.catch_up.path", value=path, remedy=remedy)
    return (*steps, want)


def is_due(item: CatchUp, now: datetime) -> bool:
    """Whether a site in the queue is to be begun: it is back, or a person let a surprising diff pass."""
    if item.state is CatchUpState.QUARANTINED:
        return bool(item.approved_by)
    return item.state is CatchUpState.QUEUED and item.returned_at is not None and item.returned_at <= now


def closes_as(outcome: Outcome) -> CatchUpState | None:
    """How an entry ends when the rollout that brings it has ended so at its site; None: it stays in the queue.

    It stays for a site that went away again or that is locked. One that was held, because another site of the same
    batch failed, or that is left alone for good, fails: trying the rest by itself would burn one site after another.
    """
    reason, code = (outcome.cause.reason, outcome.cause.code) if outcome.cause else ("", "")
    if outcome.status is Status.SKIPPED and reason == HELD_BACK:
        return None
    if outcome.status is Status.FAILED and code in _AWAY:
        return None
    return _CLOSES.get(outcome.status)


def due_by(item: CatchUp) -> datetime | None:
    """When the site should have the version; None: it is not back yet."""
    return None if item.returned_at is None else item.returned_at + timedelta(seconds=item.objective_s)


def objective_met(item: CatchUp, now: datetime) -> bool | None:
    """Whether it came soon enough; None: that cannot be said yet, or no longer matters since a newer one is queued."""
    end = due_by(item)
    if end is None or item.state is CatchUpState.SUPERSEDED:
        return None
    if item.state is CatchUpState.DONE:
        return item.ended_at is not None and item.ended_at <= end
    if item.state is CatchUpState.FAILED or now > end:
        return False
    return None


def objective_report(items: Sequence[CatchUp], now: datetime) -> CatchUpReport:
    """Counts over catch-ups; superseded ones are left out."""
    counted = [item for item in items if item.state is not CatchUpState.SUPERSEDED]
    met = Counter(objective_met(item, now) for item in counted)
    away = sum(item.returned_at is None and item.state in _OPEN for item in counted)
    seconds = sorted(
        (item.ended_at - item.returned_at).total_seconds()
        for item in counted
        if item.state is CatchUpState.DONE and item.ended_at and item.returned_at
    )
    return CatchUpReport(
        away=away,
        open=met[None] - away,
        met=met[True],
        missed=met[False],
        quarantined=sum(item.state is CatchUpState.QUARANTINED for item in counted),
        median_s=quantile(seconds, 0.5),
        p95_s=quantile(seconds, 0.95),
    )


def catch_up_strategy(plan: RolloutPlan, sites: Collection[str]) -> Strategy:
    """The strategy by which sites that missed a rollout get its version: the same gates, in one wave after the canary.

    Windows, deadline, self-test, preflight, budget, delivery and canary stay as they were; where the waves said
    themselves which of them are canaries, one site is. A wave that needed a person's word needs it for its late sites
    too. Another rollout that has one of the sites is waited for: nobody is there to be refused.
    """
    named = plan.strategy.canary == "0" and any(wave.canary for wave in plan.waves)
    missed = [wave for wave in plan.waves if set(wave.sites).intersection(sites)]
    approval = tuple(when for when in Approval if any(when in wave.approval for wave in missed))
    return plan.strategy.model_copy(
        update={
            "canary": "1" if named else plan.strategy.canary,
            "waves": (WaveSpec(size="100%", approval=approval),),
            "on_meeting": OnMeeting.WAIT,
            "mandatory": None,
            "joiners": Joiners.IGNORE,
            "force": tuple(site for site in plan.strategy.force if site in sites),
        }
    )
