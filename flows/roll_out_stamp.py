"""The runbook of a rollout: freeze the cohort, go wave by wave, stop when a wave breaks its budget, report."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from edge.model.order import Blocks, RolloutOrder
from edge.model.rollout import Strategy
from edge.model.site import SiteSelector
from flows.carrying_out import MAX_THREADS, carry_out
from tasks.cancelling import pause_rollout
from tasks.rollout import open_rollout
from tasks.runner import threads


@flow(
    name="roll-out-stamp",
    task_runner=threads(MAX_THREADS),
    persist_result=False,
    on_cancellation=[pause_rollout],
)
def roll_out_stamp(
    stamp: str,
    sites: SiteSelector = SiteSelector(),
    parameters: dict[str, str] | None = None,
    strategy: Strategy = Strategy(),
    allow_downgrade: bool = False,
    patience_s: float = 120.0,
    ledger: str = "default",
    credentials: str = "default",
    secrets: str = "default",
    by: str = "",
) -> State[Any]:
    """Put a stamp on a cohort of sites, in waves.

    Started again with the same stamp, sites and parameters after it was killed, it goes on where it was.

    Args:
        stamp: A shipped stamp's name, a folder that the worker can read, an artifact (`oci://`, `git+https://`), or
            `name@version` from the ledger.
        sites: Which sites; empty means all.
        parameters: Values of the stamp's parameters, the same for all sites; a secret's value is a reference.
        strategy: Waves, budgets, windows, approvals, concurrency, deadlines, how many runs share a wave.
        allow_downgrade: Whether sites may get an older version than they have.
        patience_s: How long the run itself waits for a window, a soak or a person, in seconds; then it ends, and the
            scheduled `tend-rollouts` takes the rollout up again when its time has come.
        ledger: Name of the ledger block.
        credentials: Name of the site credentials block.
        secrets: Name of the secret source block.
        by: Who asks for it, for the audit trail.
    """
    blocks = Blocks(ledger=ledger, credentials=credentials, secrets=secrets)
    order = RolloutOrder(
        stamp=stamp,
        sites=sites,
        parameters=parameters or {},
        strategy=strategy,
        allow_downgrade=allow_downgrade,
        by=by,
    )
    with open_rollout(order, blocks) as job:
        return carry_out(job, patience_s=patience_s, blocks=blocks)
