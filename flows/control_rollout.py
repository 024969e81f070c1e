"""The runbook of a word to a rollout, so that people can say it from Prefect's own form and its API."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from edge.model.order import Blocks
from edge.model.rollout import Control
from tasks.control import say


@flow(name="control-rollout", persist_result=False)
def control_rollout(
    rollout: str,
    action: Control,
    by: str,
    reason: str = "",
    ledger: str = "default",
    credentials: str = "default",
    secrets: str = "default",
) -> State[Any]:
    """Pause, resume or cancel a rollout, retry what failed, approve or reject the wave that waits.

    Args:
        rollout: The rollout's id.
        action: What is to be done.
        by: Who says so; it goes into the audit trail.
        reason: Why.
        ledger: Name of the ledger block.
        credentials: Name of the site credentials block.
        secrets: Name of the secret source block.
    """
    blocks = Blocks(ledger=ledger, credentials=credentials, secrets=secrets)
    return Completed(message=say(rollout, action, by=by, reason=reason, blocks=blocks))
