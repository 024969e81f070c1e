"""The runbook of a rollout: freeze the cohort, go wave by wave, stop when a wave breaks its budget, report."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from edge.model.rollout import RolloutState, Strategy, Wave, WaveVerdict
from edge.model.site import SiteSelector
from edge.policy.groups import in_groups
from edge.policy.rollout import remaining
from tasks.report import RolloutReport
from tasks.rollout import RolloutJob, open_rollout, stamp_sites
from tasks.runner import threads
from tasks.waves import close_rollout, judge

MAX_THREADS = 128


@flow(name="roll-out-stamp", task_runner=threads(MAX_THREADS), persist_result=False)
def roll_out_stamp(
    stamp: str,
    sites: SiteSelector = SiteSelector(),
    parameters: dict[str, str] | None = None,
    strategy: Strategy = Strategy(),
    ledger: str = "default",
    credentials: str = "default",
) -> State[Any]:
    """Put a stamp on a cohort of sites, in waves.

    Started again with the same stamp, sites and parameters after it was killed, it goes on where it was.

    Args:
        stamp: A shipped stamp's name, a folder that the worker can read, or `name@version` from the ledger.
        sites: Which sites; empty means all.
        parameters: Values of the stamp's parameters, the same for all sites.
        strategy: Canary, wave sizes, failure budget, concurrency and deadline.
        ledger: Name of the ledger block.
        credentials: Name of the site credentials block.
    """
    log = get_run_logger()
    blocks = {"ledger": ledger, "credentials": credentials}
    with open_rollout(stamp, sites, parameters or {}, strategy, blocks) as job:
        report = RolloutReport(job)
        log.info("Rollout %s: %d sites in %d waves", job.plan.rollout_id, report.total, len(job.plan.waves))
        for wave in job.plan.waves:
            _roll_out_wave(job, wave, report)
            if judge(job, wave) is WaveVerdict.STOP:
                log.error("Wave %s broke its failure budget: the sites after it are held", wave.name)
                break
        state = close_rollout(job)
        said = report.publish(state)
    return Failed(message=said) if state is RolloutState.STOPPED else Completed(message=said)


def _roll_out_wave(job: RolloutJob, wave: Wave, report: RolloutReport) -> None:
    """One task run per site, or per group in a large wave; sites that ended in an earlier run are left alone."""
    todo = remaining(wave, job.outcomes())
    report.follow(wave, [stamp_sites.submit(job, group) for group in in_groups(todo.sites)])
