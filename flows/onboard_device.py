"""The runbook of onboarding: let in the registered devices that may come in, and say why the others may not."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from edge.model.bulk import Backoff
from edge.model.names import DeviceId
from edge.model.outcome import Outcome, Status
from tasks.attention import escalate
from tasks.onboarding import onboard_devices
from tasks.onboarding_claim import holding_batch, settle_batch
from tasks.onboarding_job import open_onboarding
from tasks.onboarding_rounds import Rounds
from tasks.report import OnboardingReport
from tasks.runner import threads

MAX_THREADS = 32
"""They wait for Azure most of the time. How many connect at once over all runs is a limit on the server."""


@flow(name="onboard-device", task_runner=threads(MAX_THREADS), persist_result=False)
def onboard_device(
    devices: list[DeviceId],
    batch: str = "",
    rate: float | None = None,
    ledger: str = "default",
    credentials: str = "default",
    admission: str = "default",
    arc: str = "default",
) -> State[Any]:
    """Let registered devices in: identity, assignment, Azure Arc, baseline, verification.

    Started again for the same devices, it goes on where it was and leaves alone who is in or quarantined. What fails
    for a reason that may pass is tried again; what still fails is taken up later by `retry-onboarding`.

    Args:
        devices: Ids of devices whose registration is stored.
        batch: The gateway's name for this group of registrations; empty when started by hand.
        rate: How many devices to begin with a second; empty: all at once.
        ledger: Name of the ledger block.
        credentials: Name of the site credentials block.
        admission: Name of the device admission block.
        arc: Name of the Arc subscription block.
    """
    blocks = {"ledger": ledger, "credentials": credentials, "admission": admission, "arc": arc}
    with open_onboarding(blocks) as job, holding_batch(job, batch) as taken:
        if batch and not taken:
            return Completed(message="Another run has these registrations, or they are done with")
        report = OnboardingReport(len(set(devices)))
        rounds = Rounds(lambda group: onboard_devices.submit(job, group, rounds.on_last_try(group)), Backoff())
        outcomes = rounds.run(devices, report.show, rate=rate)
        settle_batch(job, taken)
        said = report.publish(outcomes)
        escalate(outcomes)
    get_run_logger().info(said)
    return Failed(message=said) if _nobody_in(outcomes) else Completed(message=said)


def _nobody_in(outcomes: list[Outcome]) -> bool:
    return bool(outcomes) and all(outcome.status is not Status.SUCCEEDED for outcome in outcomes)
