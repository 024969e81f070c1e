"""The acts of second chances: which devices are due, and who is opened again because a person says so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from edge.model.bulk import Backoff, LaterTries
from edge.model.device import DeviceState
from edge.policy.onboarding import lease_name
from edge.policy.retrying import given_up, left_over
from tasks.admission import OPEN
from tasks.onboarding_job import OnboardingJob
from tasks.onboarding_outcome import last_attempt


def due_devices(job: OnboardingJob, run: Backoff, later: LaterTries) -> list[str]:
    """The devices that a later run takes up now, by id."""
    held, now = job.ledger.leases.held(lease_name("")), datetime.now(UTC)
    free = [device for device in job.ledger.devices.list(states=OPEN) if lease_name(device.device_id) not in held]
    return [device.device_id for device in free if left_over(device, last_attempt(job.ledger, device), now, later, run)]


def opened_again(job: OnboardingJob, devices: Sequence[str]) -> list[str]:
    """The named devices; one that is quarantined is opened again, since a person says that it is mended."""
    for name in devices:
        device = job.ledger.devices.get(name)
        if device.state is DeviceState.QUARANTINED:
            job.ledger.devices.move(name, DeviceState.REGISTERED, expected=(DeviceState.QUARANTINED,))
    return list(devices)


def tired_devices(job: OnboardingJob, devices: Sequence[str], later: LaterTries) -> tuple[str, ...]:
    """Those of the devices that failed and that no later run takes up any more."""
    attempts = {}
    for name in devices:
        device = job.ledger.devices.get(name)
        attempt = last_attempt(job.ledger, device)
        if device.state is DeviceState.FAILED and attempt is not None:
            attempts[name] = attempt
    return given_up(attempts, later)
