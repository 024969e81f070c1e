"""What is left to do when a rollout has ended: sites that missed it are queued, sites that caught up are told off."""

from __future__ import annotations

from edge.model.outcome import Outcome, Status
from edge.model.placement import CatchUp, CatchUpState
from edge.policy.cohort import to_catch_up
from tasks.rollout import RolloutJob

_ENDS = {
    Status.SUCCEEDED: CatchUpState.DONE,
    Status.FAILED: CatchUpState.FAILED,
    Status.ROLLED_BACK: CatchUpState.FAILED,
    Status.QUARANTINED: CatchUpState.QUARANTINED,
}


def look_after(job: RolloutJob) -> None:
    """Close what this rollout brought to sites that were behind, and queue the sites that missed it."""
    facts, now = job.facts()
    for item in job.ledger.catch_ups.open():
        outcome = facts.outcomes.get(item.site)
        if outcome is not None and (item.stamp, item.digest) == (job.plan.stamp, job.plan.digest):
            _close(job, item, outcome)
    state = job.ledger.rollouts.get(job.plan.rollout_id).state
    for missed in to_catch_up(job.plan, facts, state, job.ledger.sites.list(), now):
        job.ledger.catch_ups.queue(missed)


def _close(job: RolloutJob, item: CatchUp, outcome: Outcome) -> None:
    by, reason = job.plan.rollout_id, outcome.cause.message if outcome.cause else ""
    if outcome.status in _ENDS:
        job.ledger.catch_ups.end(item.site, item.stamp, _ENDS[outcome.status], by_rollout=by, reason=reason)
    elif item.state is CatchUpState.RUNNING:
        job.ledger.catch_ups.requeue(item.site, item.stamp, by_rollout=by, reason=reason)
