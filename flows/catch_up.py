"""The runbook of sites that were away: see who is back, and bring them what they missed through the same gates."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from edge.model.order import Blocks
from edge.policy.groups import in_groups
from flows.carrying_out import MAX_THREADS, carry_out
from tasks.catching_up import begin, due_orders, look_for, open_catching_up
from tasks.rollout import open_rollout
from tasks.runner import threads


@flow(name="catch-up", task_runner=threads(MAX_THREADS), persist_result=False)
def catch_up(
    sites: list[str] | None = None,
    patience_s: float = 120.0,
    ledger: str = "default",
    credentials: str = "default",
    secrets: str = "default",
) -> State[Any]:
    """Look for sites that are back, and roll out to them what they missed.

    Args:
        sites: Sites that were heard of; empty: all that wait are asked for a sign of life.
        patience_s: How long the run waits for a window or a person, in seconds, before it leaves a rollout to
            `tend-rollouts`.
        ledger: Name of the ledger block.
        credentials: Name of the site credentials block.
        secrets: Name of the secret source block.
    """
    log = get_run_logger()
    blocks = Blocks(ledger=ledger, credentials=credentials, secrets=secrets)
    with open_catching_up(blocks) as waiting:
        looks = [look_for.submit(waiting, group) for group in in_groups(waiting.away(sites or ()))]
        back = sum(look.result() for look in looks)
        orders = list(due_orders(waiting))
    log.info("%d sites are back, %d rollouts are due", back, len(orders))
    said = []
    for order in orders:
        with open_rollout(order, blocks) as job:
            begin(job)
            said.append(str(carry_out(job, patience_s=patience_s, blocks=blocks).message))
    return Completed(message=f"{back} sites are back; {'; '.join(said) or 'nothing is due'}")
