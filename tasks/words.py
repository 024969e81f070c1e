"""What people tell rollouts, and which rollouts need a run then. Without Prefect, so that commands use it as well."""

from __future__ import annotations

from datetime import UTC, datetime

from edge.errors import NotFound
from edge.ledger import Ledger
from edge.model.rollout import ENDED, Control, Rollout, RolloutState
from edge.policy.rollout_leases import rollout_lease

RESUME = "resume-rollout/default"
"""The deployment whose run goes on with a rollout."""


def write_down(ledger: Ledger, rollout: str, action: Control, *, by: str, reason: str) -> Rollout:
    """Put a word on record; answers the rollout as it is afterwards.

    Raises NotFound for a rollout, or an approval, that nobody waits for, LedgerMismatch when its state does not allow
    the action.
    """
    if action in (Control.APPROVE, Control.REJECT):
        ledger.rollouts.decide(rollout, action is Control.APPROVE, by=by, reason=reason)
    else:
        ledger.rollouts.control(rollout, action, by=by, reason=reason)
    return ledger.rollouts.get(rollout)


def in_need_of_a_run(ledger: Ledger) -> tuple[str, ...]:
    """Ids of rollouts of stamps that have not ended, are not paused, are due, and that no run carries out."""
    held = ledger.leases.held(rollout_lease(""))
    due = [name for name in ledger.rollouts.due(datetime.now(UTC)) if rollout_lease(name) not in held]
    return tuple(name for name in due if _may_go_on(ledger, ledger.rollouts.get(name)))


def takes_a_run(ledger: Ledger, rollout: Rollout) -> bool:
    """Whether a run can go on with this rollout now, be it only to wait for a person; none carries it out yet."""
    return rollout_lease(rollout.plan.rollout_id) not in ledger.leases.held(rollout_lease("")) and _may_go_on(
        ledger, rollout
    )


def _may_go_on(ledger: Ledger, rollout: Rollout) -> bool:
    """Updates of devices go through their own runbook, which is started again by its order."""
    if rollout.state in ENDED or rollout.state is RolloutState.PAUSED:
        return False
    try:
        return ledger.stamps.get(rollout.plan.stamp, rollout.plan.version).digest == rollout.plan.digest
    except NotFound:
        return False
