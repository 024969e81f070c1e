"""The runbook of decommissioning: revoke, wipe, disconnect, forget, free, and prove each."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from edge.model.decommission import LeaveProof
from edge.model.names import DeviceId
from edge.policy.decommission import OWED_WHEN_LOST, proof_markdown
from tasks.decommission import decommission
from tasks.decommission_job import open_leaving
from tasks.report import key_of


@flow(name="decommission-device", persist_result=False)
def decommission_device(
    device: DeviceId,
    reason: str = "",
    lost: bool = False,
    ledger: str = "default",
    credentials: str = "default",
    arc: str = "default",
) -> State[Any]:
    """Let a device go: nothing of it is left on its cluster or in Azure, and each step is proven by reading.

    Its access is revoked first. Started again after it was killed, or after its cluster came back, it goes on where it
    was.

    Args:
        device: The device's id.
        reason: Why; it stands in the audit trail.
        lost: The cluster will not be seen again. The device is let go all the same; that it was not wiped stays owed.
        ledger: Name of the ledger block.
        credentials: Name of the site credentials block.
        arc: Name of the Arc subscription block.
    """
    with open_leaving({"ledger": ledger, "credentials": credentials, "arc": arc}) as job:
        proof = decommission(job, device, reason, lost=lost)
    create_markdown_artifact(proof_markdown(proof), key=key_of(f"decommission {device}"), description="Proof")
    said = _sentence(proof)
    get_run_logger().info(said)
    return Completed(message=said) if _is_let_go(proof) else Failed(message=said)


def _is_let_go(proof: LeaveProof) -> bool:
    return {step.step for step in proof.owed} <= set(OWED_WHEN_LOST if proof.lost else ())


def _sentence(proof: LeaveProof) -> str:
    if not proof.owed:
        return f"{proof.device_id} has left, and every step is proven"
    owed = "; ".join(f"{step.step}: {step.owed}" for step in proof.owed)
    return f"{proof.device_id} {'was let go as lost' if proof.lost else 'has not left'}; owed: {owed}"
