"""Finds the rollouts that wait for nobody but a run, and starts one for each."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.ledger import EdgeLedger
from blocks.load import load
from edge.model.order import Blocks
from tasks.starting import start_run
from tasks.words import RESUME, in_need_of_a_run


def due_rollouts(blocks: Blocks) -> tuple[str, ...]:
    """As `in_need_of_a_run`, of the ledger that these blocks name."""
    with load(EdgeLedger, blocks.ledger).client() as ledger:
        return in_need_of_a_run(ledger)


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="take up {rollout_id}")
def take_up(rollout_id: str, blocks: Blocks) -> str:
    """Start a run that goes on with the rollout; one that comes second finds it held, and ends."""
    start_run(RESUME, {"rollout": rollout_id, **blocks.model_dump(exclude_defaults=True)})
    return rollout_id
