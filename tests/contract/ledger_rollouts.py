"""Rollouts for tests of the ledger, and short words to them."""

from __future__ import annotations

from edge.ledger import Ledger
from edge.model.outcome import Outcome, Status
from edge.model.rollout import RolloutFacts, RolloutPlan, Strategy, Wave
from tests.contract.conftest import START


def plan(rollout_id: str = "r1", version: str = "1.0.0", sites: tuple[str, ...] = ("s1", "s2", "s3")) -> RolloutPlan:
    """A canary and a wave after it."""
    waves = (
        Wave(index=0, name="canary", sites=sites[:1], failure_budget=0),
        Wave(index=1, name="wave 1", sites=sites[1:], failure_budget=1),
    )
    return RolloutPlan(
        rollout_id=rollout_id, stamp="line", version=version, digest="a" * 64, strategy=Strategy(), waves=waves
    )


def begun(ledger: Ledger, rollout_id: str = "r1", **fields: object) -> None:
    """Start the rollout."""
    ledger.rollouts.start(plan(rollout_id).model_copy(update=fields))


def ended(ledger: Ledger, site: str, status: Status, rollout_id: str = "r1") -> None:
    """The site was begun and ended so."""
    ledger.rollouts.site_started(rollout_id, site)
    ledger.rollouts.site_ended(rollout_id, Outcome(subject=site, status=status))


def facts(ledger: Ledger, rollout_id: str = "r1") -> RolloutFacts:
    """What is known of the rollout."""
    return ledger.rollouts.facts(rollout_id, now=START)


def actions(ledger: Ledger) -> list[str]:
    """What the audit trail says was done."""
    return [entry.action for entry in ledger.audit.entries()]
