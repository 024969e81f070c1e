"""What onboarding is remembered under."""

from __future__ import annotations

from hashlib import sha256

from edge.model.device import Device
from edge.model.step import StepKey

ATTEMPTS = "attempt:"
"""How the works begin under which whole tries are counted."""


def onboarding_work(device: Device) -> str:
    """The work id of a device's onboarding: the same for the same life and certificate; another is looked at afresh."""
    certificate = sha256(device.registration.certificate.encode()).hexdigest()[:12]
    return f"{life_prefix(device)}{certificate}"


def life_prefix(device: Device) -> str:
    """How the work ids of all onboardings in this life of the device begin: one for each certificate that it had."""
    return f"onboarding:{device.device_id}:{device.generation}:"


def attempt_key(device: Device) -> StepKey:
    """Under which each try of the whole onboarding is counted, with how the last one ended.

    It is no step of the work itself, so that a fleet's step times are not mixed with whole tries.
    """
    return StepKey(work=f"{ATTEMPTS}{onboarding_work(device)}", subject=device.device_id, step="attempt")


def attempted_work(attempt: StepKey) -> str:
    """The work that `attempt_key` counts the tries of."""
    return attempt.work.removeprefix(ATTEMPTS)


def lease_name(device_id: str) -> str:
    """What a run holds while it works on a device."""
    return f"device:{device_id}"
