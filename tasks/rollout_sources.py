"""Collects what a rollout's report is made of. No Prefect here, since commands use it as well."""

from __future__ import annotations

from datetime import datetime

from edge.ledger import Ledger
from edge.policy.rollout_report import Sources, of_rollout

_CATCH_UPS = 10_000
"""How many of the latest catch-ups are looked through."""


def sources_of(ledger: Ledger, rollout_id: str, now: datetime) -> Sources:
    """Everything that the ledger has about the rollout. Raises NotFound."""
    rollout = ledger.rollouts.get(rollout_id)
    return Sources(
        rollout=rollout,
        waves=ledger.rollouts.facts(rollout_id, now=now).waves,
        records=ledger.steps.records(f"rollout:{rollout_id}"),
        catch_ups=of_rollout(ledger.catch_ups.list(_CATCH_UPS), rollout_id),
        entries=ledger.audit.about(rollout_id),
    )
