"""The runbook of second chances: take up again the devices whose onboarding failed for a reason that may pass."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from edge.model.bulk import Backoff, LaterTries
from edge.model.names import DeviceId
from flows.onboard_device import MAX_THREADS
from tasks.attention import escalate
from tasks.onboarding import onboard_devices
from tasks.onboarding_claim import holding_batch
from tasks.onboarding_job import open_onboarding
from tasks.onboarding_rounds import Rounds
from tasks.report import OnboardingReport
from tasks.retrying import due_devices, opened_again, tired_devices
from tasks.runner import threads


@flow(name="retry-onboarding", task_runner=threads(MAX_THREADS), persist_result=False)
def retry_onboarding(
    devices: list[DeviceId] | None = None,
    at_most: int = 500,
    ledger: str = "default",
    credentials: str = "default",
    admission: str = "default",
    arc: str = "default",
) -> State[Any]:
    """Try failed devices again. Without `devices`: those whose pause is over, which grows with the number of tries.

    Also taken up are devices whose run died, and registrations that nobody came for. Failures that do not pass by
    themselves are left to people, unless they are named.

    Args:
        devices: Ids of devices to try again now, whatever they failed for; empty: those that are due.
        at_most: How many devices one run takes up.
        ledger: Name of the ledger block.
        credentials: Name of the site credentials block.
        admission: Name of the device admission block.
        arc: Name of the Arc subscription block.
    """
    blocks = {"ledger": ledger, "credentials": credentials, "admission": admission, "arc": arc}
    with open_onboarding(blocks) as job, holding_batch(job, ""):
        backoff, later = Backoff(), LaterTries()
        chosen = opened_again(job, devices) if devices else due_devices(job, backoff, later)[:at_most]
        if not chosen:
            return Completed(message="No device is due")
        report = OnboardingReport(len(chosen))
        rounds = Rounds(lambda group: onboard_devices.submit(job, group, rounds.on_last_try(group)), backoff)
        outcomes = rounds.run(chosen, report.show)
        said = report.publish(outcomes)
        escalate(outcomes, tired_devices(job, chosen, later))
    get_run_logger().info(said)
    return Completed(message=said)
