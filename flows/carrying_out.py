"""What all runbooks of rollouts share: hold the rollout, carry it out, and say how it ended."""

from __future__ import annotations

from functools import partial
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from edge.model.order import Blocks
from edge.model.rollout import RolloutState
from edge.policy.rollout_leases import rollout_lease
from tasks.aftermath import look_after
from tasks.driving import Acts, drive
from tasks.holding import free_dead_sites, holding
from tasks.parts import Parts
from tasks.precaching import precache_sites
from tasks.rolling_back import roll_back_sites
from tasks.rollout import RolloutJob
from tasks.rollout_report import RolloutReport
from tasks.site_rollout import stamp_sites

MAX_THREADS = 128

BAD = (RolloutState.STOPPED, RolloutState.ROLLED_BACK)


def carry_out(job: RolloutJob, *, patience_s: float, blocks: Blocks) -> State[Any]:
    """Carry the rollout out to its end, or until it has to wait for long."""
    log = get_run_logger()
    with holding(job, rollout_lease(job.plan.rollout_id)):
        report = RolloutReport(job)
        log.info("Rollout %s: %d sites in %d waves", job.plan.rollout_id, report.total, len(job.plan.waves))
        acts = Acts(
            work=partial(stamp_sites.submit, job),
            roll_back=partial(roll_back_sites.submit, job),
            precache=partial(precache_sites.submit, job),
            shared=Parts(job, blocks).work if job.plan.strategy.runs > 1 else None,
            look_after=partial(look_after, job),
        )
        free_dead_sites(job)
        state = drive(job, acts, report, patience_s)
        if state is None:
            waiting = job.ledger.rollouts.get(job.plan.rollout_id).waiting
            return Completed(name="Waiting", message=f"waiting: {waiting}")
        said = report.publish(state)
    return Failed(message=said) if state in BAD else Completed(message=said)
