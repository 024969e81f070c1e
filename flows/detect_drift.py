"""The runbook of drift: see where sites differ from what was put there, and mend it when that is wanted."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from edge.model.drift import DriftOrder, DriftRule
from edge.model.order import Blocks
from edge.model.rollout import Strategy
from edge.model.site import SiteSelector
from edge.policy.drift_report import sentence
from edge.policy.groups import in_groups
from tasks.drift import look_at_sites, open_drift
from tasks.drift_mending import mend_all, mend_sites
from tasks.drift_report import publish_drift
from tasks.runner import threads

MAX_THREADS = 32


@flow(name="detect-drift", task_runner=threads(MAX_THREADS), persist_result=False)
def detect_drift(
    sites: SiteSelector = SiteSelector(),
    stamps: list[str] | None = None,
    ignore: list[DriftRule] | None = None,
    mend: bool = False,
    strategy: Strategy | None = None,
    ledger: str = "default",
    credentials: str = "default",
    secrets: str = "default",
) -> State[Any]:
    """Compare what sites have with what the platform put there: who changed what, and since when.

    Args:
        sites: Which sites; empty means all.
        stamps: Names of stamps; empty means all.
        ignore: Drift that is not told: rules by kind, name, namespace, field path and manager.
        mend: Whether what differs is applied again, by the failure budget, the windows and the concurrency of the
            rollout that put it there.
        strategy: Go by this strategy instead.
        ledger: Name of the ledger block.
        credentials: Name of the site credentials block.
        secrets: Name of the secret source block.
    """
    order = DriftOrder(sites=sites, stamps=stamps or (), ignore=ignore or (), mend=mend, strategy=strategy)
    held = True
    with open_drift(order, Blocks(ledger=ledger, credentials=credentials, secrets=secrets)) as job:
        looking = [look_at_sites.submit(job, group) for group in in_groups(job.names)]
        looks = [look for future in looking for look in future.result()]
        if mend:
            looks, held = mend_all(job, looks, mend_sites.submit)
    publish_drift(looks)
    said = sentence(looks)
    get_run_logger().info(said)
    return Completed(message=said) if held else Failed(message=f"the budget of failures broke; {said}")
