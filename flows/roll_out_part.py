"""The runbook of a part of a wave, so that several workers share a large one."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from edge.errors import NotYet
from edge.model.order import Blocks
from edge.policy.groups import in_groups
from edge.policy.rollout_leases import part_lease
from flows.carrying_out import MAX_THREADS
from tasks.holding import free_dead_sites, holding, sites_of_part
from tasks.rollout import open_begun
from tasks.runner import threads
from tasks.site_rollout import stamp_sites
from tasks.waves import Share


@flow(name="roll-out-part", task_runner=threads(MAX_THREADS), persist_result=False)
def roll_out_part(
    rollout: str,
    wave: int,
    part: int,
    of: int,
    ledger: str = "default",
    credentials: str = "default",
    secrets: str = "default",
) -> State[Any]:
    """Bring a wave's stamp to one part of its sites. Started by the run that carries the rollout out.

    Args:
        rollout: The rollout's id.
        wave: The wave's index, from 0.
        part: Which part, from 0.
        of: How many parts the wave has.
        ledger: Name of the ledger block.
        credentials: Name of the site credentials block.
        secrets: Name of the secret source block.
    """
    blocks = Blocks(ledger=ledger, credentials=credentials, secrets=secrets)
    with open_begun(rollout, blocks, share=Share(part, of)) as job:
        sites = sites_of_part(job.plan.waves[wave], part, of)
        try:
            with holding(job, part_lease(rollout, wave, part), waits=False):
                free_dead_sites(job, sites)
                done = [stamp_sites.submit(job, group) for group in in_groups(job.open_sites(sites))]
                count = sum(future.result() for future in done)
        except NotYet as busy:
            return Completed(message=str(busy))
    return Completed(message=f"{count} sites were worked on")
