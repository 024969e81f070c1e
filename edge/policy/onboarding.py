"""What onboarding is remembered under."""

from __future__ import annotations

from hashlib import sha256

from edge.model.device import Device


def onboarding_work(device: Device) -> str:
    """The work id of a device's onboarding: the same for the same life and certificate; another is looked at afresh."""
    certificate = sha256(device.registration.certificate.encode()).hexdigest()[:12]
    return f"onboarding:{device.device_id}:{device.generation}:{certificate}"
