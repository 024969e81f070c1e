"""The runbook of whoever tends rollouts: take up those that nobody carries out and whose time has come."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from edge.model.order import Blocks
from tasks.tending import due_rollouts, take_up


@flow(name="tend-rollouts", persist_result=False)
def tend_rollouts(ledger: str = "default", credentials: str = "default", secrets: str = "default") -> State[Any]:
    """Start runs for rollouts that have waited long enough, were approved or resumed, or whose run died.

    Args:
        ledger: Name of the ledger block.
        credentials: Name of the site credentials block.
        secrets: Name of the secret source block.
    """
    blocks = Blocks(ledger=ledger, credentials=credentials, secrets=secrets)
    taken = [take_up(rollout, blocks) for rollout in due_rollouts(blocks)]
    for rollout in taken:
        get_run_logger().info("Taken up: %s", rollout)
    return Completed(message=f"{len(taken)} rollouts were taken up")
