"""What is left to do when a rollout ends: sites that missed it are queued, and the queue hears how its sites did."""

from __future__ import annotations

from datetime import datetime

from edge.model.outcome import Outcome, Status
from edge.model.placement import CatchUp, CatchUpState
from edge.model.rollout import RolloutState
from edge.policy.catching_up import closes_as
from edge.policy.cohort import to_catch_up
from tasks.rollout import RolloutJob


def look_after(job: RolloutJob, state: RolloutState) -> None:
    """Queue the sites that missed this rollout, which is about to end in `state`, and close what it brought to others.

    Safe to repeat. It is done before the end is on record: a run that dies in between is replaced by one that does it
    again.
    """
    facts, now = job.facts()
    on_the_way = {item.site for item in _open(job) if _is_step(job, item)}
    for missed in to_catch_up(job.plan, facts, state, job.ledger.sites.list(), now):
        if missed.site not in on_the_way:
            job.ledger.catch_ups.queue(missed)
    started_at = job.ledger.rollouts.get(job.plan.rollout_id).started_at
    for item in _open(job):
        outcome = facts.outcomes.get(item.site)
        if outcome is None:
            continue
        if _is_mine(job, item) or item.digest == job.plan.digest:
            _close(job, item, outcome, facts.locked.get(item.site))
        elif outcome.status is Status.SUCCEEDED and item.queued_at < started_at:
            _end(job, item, CatchUpState.SUPERSEDED, f"By {job.plan.version}")


def _open(job: RolloutJob) -> list[CatchUp]:
    return [item for item in job.ledger.catch_ups.open() if item.stamp == job.plan.stamp]


def _is_mine(job: RolloutJob, item: CatchUp) -> bool:
    return item.state is not CatchUpState.QUEUED and item.by_rollout == job.plan.rollout_id


def _is_step(job: RolloutJob, item: CatchUp) -> bool:
    """Whether this rollout brings a version on the way to the one that is wanted."""
    return _is_mine(job, item) and item.digest != job.plan.digest


def _close(job: RolloutJob, item: CatchUp, outcome: Outcome, locked_until: datetime | None) -> None:
    reason = outcome.cause.message if outcome.cause else ""
    if not _is_mine(job, item) and outcome.status in (Status.HELD, Status.SKIPPED):
        return  # this rollout did not try it
    if outcome.status is Status.SUCCEEDED and _is_step(job, item):
        _again(job, item, f"It has {job.plan.version}, on the way", due=item.returned_at)
        return
    state = closes_as(outcome)
    if state is None:
        _again(job, item, reason, due=locked_until if outcome.status is Status.SKIPPED else None)
    else:
        _end(job, item, state, reason)


def _end(job: RolloutJob, item: CatchUp, state: CatchUpState, reason: str) -> None:
    job.ledger.catch_ups.end(item.site, item.stamp, state, by_rollout=job.plan.rollout_id, reason=reason)


def _again(job: RolloutJob, item: CatchUp, reason: str, *, due: datetime | None) -> None:
    work = job.plan.rollout_id
    job.ledger.catch_ups.requeue(item.site, item.stamp, by_rollout=work, reason=reason, due=due)
