"""The runbook of an update of devices: choose who gets it, go wave by wave, stop when a budget breaks, report."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from edge.model.firmware import UpdateOrder
from edge.model.rollout import RolloutState, Strategy, Wave, WaveVerdict
from edge.model.site import SiteSelector
from edge.policy.groups import in_groups
from edge.policy.rollout import remaining
from tasks.firmware import UpdateJob, open_update, update_sites
from tasks.report import RolloutReport, tally
from tasks.runner import threads
from tasks.waves import close_rollout, judge

MAX_THREADS = 128


@flow(name="update-devices", task_runner=threads(MAX_THREADS), persist_result=False)
def update_devices(
    order: UpdateOrder,
    sites: SiteSelector = SiteSelector(),
    strategy: Strategy = Strategy(),
    ledger: str = "default",
    credentials: str = "default",
) -> State[Any]:
    """Bring a version of the operating system or the firmware to devices, in waves.

    A device that does not confirm it falls back by itself, and never gets this version again. Started again with the
    same order and sites after it was killed, it goes on where it was.

    Args:
        order: Component, version, image by its digest, and how long the self-test lasts.
        sites: The sites whose devices are meant; empty means all.
        strategy: Canary, wave sizes, failure budget, concurrency, and the deadline of one device.
        ledger: Name of the ledger block.
        credentials: Name of the site credentials block.
    """
    log = get_run_logger()
    with open_update(order, sites, strategy, {"ledger": ledger, "credentials": credentials}) as (job, candidates):
        refused = tally(candidates.refused.values()) or "none"
        log.info("%s %s: %d devices are due, refused: %s", order.component, order.version, len(candidates.due), refused)
        if job is None:
            return Completed(message=f"nothing to do; refused: {refused}")
        report = RolloutReport(job)
        for wave in job.plan.waves:
            _update_wave(job, wave, report)
            if judge(job, wave) is WaveVerdict.STOP:
                log.error("Wave %s broke its failure budget: the devices after it are held", wave.name)
                break
        state = close_rollout(job)
        said = f"{report.publish(state)}; refused: {refused}"
    return Failed(message=said) if state is RolloutState.STOPPED else Completed(message=said)


def _update_wave(job: UpdateJob, wave: Wave, report: RolloutReport) -> None:
    """One task run per site, or per group in a large wave; devices that ended in an earlier run are left alone."""
    todo = remaining(wave, job.outcomes())
    report.follow(wave, [update_sites.submit(job, group) for group in in_groups(todo.sites)])
