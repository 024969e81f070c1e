"""What every rollout does, whatever it brings to its sites: a frozen plan, waves, a verdict after each, an end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from prefect import runtime

from blocks.credentials import SiteCredentials
from edge.errors import NotYet, Transient
from edge.ledger import Ledger
from edge.model.outcome import Outcome, Status
from edge.model.rollout import RolloutPlan, RolloutState, Wave, WaveVerdict
from edge.model.site import Site
from edge.policy.rollout import count_of, finish_state, judge_wave


class WavesJob:
    """One run of a rollout in this process: the frozen plan, and what is needed to carry it out.

    A plain class on purpose: Prefect looks into dataclasses and models that are passed to tasks, and this one is large.
    """

    def __init__(self, plan: RolloutPlan, ledger: Ledger, credentials: SiteCredentials) -> None:
        self.plan = plan
        self.ledger = ledger
        self.credentials = credentials
        self.slots = threading.BoundedSemaphore(max(1, count_of(plan.strategy.concurrency, len(plan.waves[0].sites))))

    def outcomes(self) -> dict[str, Outcome]:
        """How the sites that have ended did, from the ledger: this run's and earlier ones'."""
        rows = self.ledger.rollouts.get(self.plan.rollout_id).sites
        return {
            row.site: Outcome(subject=row.site, status=row.status, cause=row.cause, seconds=row.seconds)
            for row in rows
            if row.status is not None
        }


def work_through(job: WavesJob, sites: Sequence[str], act: Callable[[Site], Outcome]) -> int:
    """Inside a task: do the act on each of these sites that has not ended yet; answers how many were worked on.

    How a site did is in the ledger. Sites that fail for a reason that may pass are tried again with the task, and only
    those. Raises Transient while there are such sites and tries left.
    """
    first_try = runtime.task_run.run_count <= 1
    todo = sites if first_try else tuple(site for site in sites if site not in job.outcomes())
    again: list[Outcome] = []
    for outcome in (_in_a_slot(job, site, act) for site in todo):
        if first_try and _may_pass(outcome):
            again.append(outcome)
        else:
            job.ledger.rollouts.site_ended(job.plan.rollout_id, outcome)
    if again:
        raise _try_again(again)
    return len(todo)


def _in_a_slot(job: WavesJob, name: str, act: Callable[[Site], Outcome]) -> Outcome:
    with job.slots:
        job.ledger.rollouts.site_started(job.plan.rollout_id, name)
        return act(job.ledger.sites.get(name))


def _may_pass(outcome: Outcome) -> bool:
    """Whether a second try may help. A site that did not become healthy has had all the time it may take."""
    if outcome.status is not Status.FAILED or outcome.cause is None:
        return False
    return outcome.cause.transient and outcome.cause.code != NotYet.code


def _try_again(outcomes: Sequence[Outcome]) -> Transient:
    names = ", ".join(outcome.subject for outcome in outcomes)
    cause = outcomes[0].cause
    return Transient(f"Sites will be tried again: {cause.message if cause else ''}", sites=names)


def judge(job: WavesJob, wave: Wave) -> WaveVerdict:
    """Go on after this wave, or stop? Sites after a stop are held."""
    outcomes = job.outcomes()
    verdict = judge_wave(job.plan, wave, outcomes)
    if verdict is WaveVerdict.STOP:
        job.ledger.rollouts.hold_rest(job.plan.rollout_id)
    return verdict


def close_rollout(job: WavesJob) -> RolloutState:
    """Write down how the rollout ended."""
    state = finish_state(job.plan, job.outcomes())
    job.ledger.rollouts.finish(job.plan.rollout_id, state)
    return state
