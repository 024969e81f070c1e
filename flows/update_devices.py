"""The runbook of an update of devices: choose who gets it, go wave by wave, stop when a budget breaks, report."""

from __future__ import annotations

from functools import partial
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from edge.model.firmware import UpdateOrder
from edge.model.rollout import RolloutState, Strategy
from edge.model.site import SiteSelector
from edge.policy.rollout_leases import rollout_lease
from tasks.driving import Acts, drive
from tasks.firmware import open_update, update_sites
from tasks.holding import free_dead_sites, holding
from tasks.report import tally
from tasks.rollout_report import RolloutReport
from tasks.runner import threads

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
        with holding(job, rollout_lease(job.plan.rollout_id)):
            free_dead_sites(job)
            report = RolloutReport(job)
            state = drive(job, Acts(work=partial(update_sites.submit, job)), report)
        said = f"{report.publish(state)}; refused: {refused}" if state else "waiting"
    return Failed(message=said) if state is RolloutState.STOPPED else Completed(message=said)
