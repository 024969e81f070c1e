"""What it means for a rollout that its run is cancelled in Prefect: it is paused, until a person says what now.

Left alone it would go on by itself within minutes, since whoever tends rollouts takes a run that is gone for dead.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from prefect.client.schemas.objects import FlowRun

from blocks.ledger import EdgeLedger
from blocks.load import load
from edge.errors import EdgeError
from edge.ledger import Ledger
from edge.model.order import RolloutOrder
from edge.model.rollout import Control
from tasks.planning import begun_plan, find_cohort, find_stamp

log = logging.getLogger("edge.rollouts")


def pause_rollout(flow: Any, flow_run: FlowRun, state: Any) -> None:  # noqa: ARG001 - Prefect gives all three
    """Prefect's `on_cancellation` hook of runs that carry a rollout out. Sites at work are not finished by this run."""
    said = flow_run.parameters or {}
    try:
        with load(EdgeLedger, said.get("ledger", "default")).client() as ledger:
            rollout = _rollout_of(ledger, said)
            if rollout:
                reason = f"Its run {flow_run.name} was cancelled"
                ledger.rollouts.control(rollout, Control.PAUSE, by="prefect", reason=reason)
    except EdgeError as error:  # it has ended, or never began
        log.warning("Nothing is paused: %s", error)


def _rollout_of(ledger: Ledger, said: Mapping[str, Any]) -> str:
    """The rollout that a run with these parameters carries out; empty when there is none that has not ended."""
    if "rollout" in said:
        return str(said["rollout"])
    order = RolloutOrder.model_validate({word: said[word] for word in RolloutOrder.model_fields if word in said})
    stamp, cohort = find_stamp(ledger, order.stamp), find_cohort(ledger, order.sites)
    begun = begun_plan(ledger, stamp, cohort, order)
    return begun.rollout_id if begun else ""
