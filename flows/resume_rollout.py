"""The runbook of a rollout that was interrupted, or has waited: go on where it was."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from edge.model.order import Blocks
from flows.carrying_out import MAX_THREADS, carry_out
from tasks.cancelling import pause_rollout
from tasks.rollout import open_begun
from tasks.runner import threads


@flow(
    name="resume-rollout",
    task_runner=threads(MAX_THREADS),
    persist_result=False,
    on_cancellation=[pause_rollout],
)
def resume_rollout(
    rollout: str,
    patience_s: float = 120.0,
    ledger: str = "default",
    credentials: str = "default",
    secrets: str = "default",
) -> State[Any]:
    """Go on with a rollout that has not ended.

    Args:
        rollout: The rollout's id.
        patience_s: How long the run itself waits, in seconds, before it leaves the rollout to `tend-rollouts` again.
        ledger: Name of the ledger block.
        credentials: Name of the site credentials block.
        secrets: Name of the secret source block.
    """
    blocks = Blocks(ledger=ledger, credentials=credentials, secrets=secrets)
    with open_begun(rollout, blocks) as job:
        return carry_out(job, patience_s=patience_s, blocks=blocks)
