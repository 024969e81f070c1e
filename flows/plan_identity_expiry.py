"""The runbook of identities: ask Azure, plan, and tell who must be visited and by when. It runs daily."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed

from edge.model.device import Device
from edge.model.expiry import ExpiryPlan
from edge.policy.expiry import needs_visit, plan_row
from edge.policy.renewal import certificate_end
from tasks.expiry import ending_certificates, open_expiry, plans, read_identities
from tasks.report import tally

EVENT = "edge.site.identity.needs-visit"
"""One per site that waiting does not help; its payload is the row of the table."""


@flow(name="plan-identity-expiry", persist_result=False)
def plan_identity_expiry(ledger: str = "default", arc: str = "default") -> State[Any]:
    """Find the sites that will lose their identity in Azure in the dark, and say by when to visit them.

    Args:
        ledger: Name of the ledger block.
        arc: Name of the Arc subscription block.
    """
    with open_expiry({"ledger": ledger, "arc": arc}) as job:
        read_identities(job)
        planned = plans(job.ledger, job.now)
        ending = ending_certificates(job.ledger, job.now)
    _publish(planned, ending)
    for plan in filter(needs_visit, planned):
        resource = {"prefect.resource.id": f"edge.site.{plan.site}", "prefect.resource.name": plan.site}
        emit_event(event=EVENT, resource=resource, payload=plan_row(plan))
    visits = sum(map(needs_visit, planned))
    said = f"{len(planned)} sites, {visits} to visit ({tally(plan.outlook for plan in planned) or 'none connected'})"
    said += f"; {len(ending)} device certificates end soon"
    get_run_logger().info(said)
    return Completed(message=said)


def _publish(planned: Sequence[ExpiryPlan], ending: Sequence[Device]) -> None:
    create_table_artifact(
        table=[plan_row(plan) for plan in planned],
        key="site-identity-expiry",
        description="Identities of sites in Azure, the most urgent first",
    )
    rows = [
        {"device": device.device_id, "site": device.site or "", "certificate_ends": _end(device)} for device in ending
    ]
    create_table_artifact(
        table=rows, key="device-certificate-expiry", description="Device certificates that end within 30 days"
    )


def _end(device: Device) -> str:
    end = certificate_end(device.registration)
    return end.isoformat() if end else "cannot be read"
