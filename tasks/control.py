"""A person's word to a rollout: written down, and a run started when it needs one."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.ledger import EdgeLedger
from blocks.load import load
from edge.ledger import Ledger
from edge.model.order import Blocks
from edge.model.rollout import Control, RolloutState
from tasks.tending import due_rollouts, take_up


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="{action} {rollout}")
def say(rollout: str, action: Control, *, by: str, reason: str, blocks: Blocks) -> str:
    """Write the word down and start a run where one is needed now; answers a sentence.

    Raises NotFound for a rollout, or an approval, that nobody waits for, LedgerMismatch when its state does not allow
    the action.
    """
    with load(EdgeLedger, blocks.ledger).client() as ledger:
        state = write_down(ledger, rollout, action, by=by, reason=reason)
    if rollout in due_rollouts(blocks):
        take_up(rollout, blocks)
    return f"{rollout} is {state}"


def write_down(ledger: Ledger, rollout: str, action: Control, *, by: str, reason: str) -> RolloutState:
    """Put the word on record; answers the rollout's state afterwards."""
    if action in (Control.APPROVE, Control.REJECT):
        ledger.rollouts.decide(rollout, action is Control.APPROVE, by=by, reason=reason)
    else:
        ledger.rollouts.control(rollout, action, by=by, reason=reason)
    return ledger.rollouts.get(rollout).state
