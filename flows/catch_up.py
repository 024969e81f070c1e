"""The runbook of sites that were away: see who is back, and bring them what they missed through the same gates."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from edge.errors import Transient
from edge.model.order import Blocks
from edge.policy.groups import in_groups
from flows.carrying_out import MAX_THREADS, carry_out
from tasks.catching_up import begun_rollouts, look_for, open_catching_up
from tasks.rollout import open_begun
from tasks.runner import threads


@flow(name="catch-up", task_runner=threads(MAX_THREADS), persist_result=False)
def catch_up(
    sites: list[str] | None = None,
    patience_s: float = 20.0,
    ledger: str = "default",
    credentials: str = "default",
    secrets: str = "default",
) -> State[Any]:
    """Look for sites that are back, and roll out to them what they missed.

    Args:
        sites: Sites that were heard of; empty: all that wait are asked for a sign of life.
        patience_s: How long the run waits for a soak or a person, in seconds, before it leaves a rollout to
            `tend-rollouts` and turns to the next one.
        ledger: Name of the ledger block.
        credentials: Name of the site credentials block.
        secrets: Name of the secret source block.
    """
    blocks = Blocks(ledger=ledger, credentials=credentials, secrets=secrets)
    with open_catching_up(blocks) as waiting:
        looks = [look_for.submit(waiting, group) for group in in_groups(waiting.away(sites or ()))]
        back = sum(look.result() for look in looks)
        get_run_logger().info("%d sites gave a sign of life", back)
        said = [_carry_out(rollout, patience_s, blocks) for rollout in begun_rollouts(waiting)]
    return Completed(message=f"{back} sites gave a sign of life; {'; '.join(said) or 'nothing is due'}")


def _carry_out(rollout: str, patience_s: float, blocks: Blocks) -> str:
    """What came of one rollout. One that another run has, or that cannot go on now, does not keep the others."""
    try:
        with open_begun(rollout, blocks) as job:
            return str(carry_out(job, patience_s=patience_s, blocks=blocks).message)
    except Transient as error:
        get_run_logger().warning("%s is left to tend-rollouts: %s", rollout, error)
        return f"{rollout} goes on later"
