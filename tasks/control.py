"""A person's word to a rollout: written down, and a run started when it needs one."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.ledger import EdgeLedger
from blocks.load import load
from edge.model.order import Blocks
from edge.model.rollout import Control
from tasks.tending import take_up
from tasks.words import takes_a_run, write_down


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="{action} {rollout}")
def say(rollout: str, action: Control, *, by: str, reason: str, blocks: Blocks) -> str:
    """Write the word down and start a run where one is needed now; answers a sentence.

    Raises NotFound for a rollout, or an approval, that nobody waits for, LedgerMismatch when its state does not allow
    the action.
    """
    with load(EdgeLedger, blocks.ledger).client() as ledger:
        found = write_down(ledger, rollout, action, by=by, reason=reason)
        is_to_be_taken_up = takes_a_run(ledger, found)
    if is_to_be_taken_up:
        take_up(rollout, blocks)
    return f"{rollout} is {found.state}"
