"""Finds the rollouts that wait for nobody but a run, and starts one for each."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.ledger import EdgeLedger
from blocks.load import load
from edge.errors import NotFound
from edge.ledger import Ledger
from edge.model.order import Blocks
from edge.model.rollout import RolloutState
from tasks.holding import rollout_lease
from tasks.starting import start_run

DEPLOYMENT = "resume-rollout/default"


def due_rollouts(blocks: Blocks) -> tuple[str, ...]:
    """Ids of rollouts of stamps that have not ended, are not paused, are due, and that no run carries out."""
    with load(EdgeLedger, blocks.ledger).client() as ledger:
        held = ledger.leases.held(rollout_lease(""))
        due = [name for name in ledger.rollouts.due(datetime.now(UTC)) if rollout_lease(name) not in held]
        return tuple(name for name in due if _is_ours(ledger, name))


def _is_ours(ledger: Ledger, rollout_id: str) -> bool:
    """Updates of devices go through their own runbook, which is started again by its order."""
    rollout = ledger.rollouts.get(rollout_id)
    if rollout.state is RolloutState.PAUSED:
        return False
    try:
        return ledger.stamps.get(rollout.plan.stamp, rollout.plan.version).digest == rollout.plan.digest
    except NotFound:
        return False


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="take up {rollout_id}")
def take_up(rollout_id: str, blocks: Blocks) -> str:
    """Start a run that goes on with the rollout; one that comes second finds it held, and ends."""
    start_run(DEPLOYMENT, {"rollout": rollout_id, **blocks.model_dump(exclude_defaults=True)})
    return rollout_id
