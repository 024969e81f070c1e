"""Updates of firmware and operating system: two slots, a self-test, and no second try of what failed."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, Field

from edge.model.base import Value
from edge.model.names import DeviceId


class Component(StrEnum):
    """What is updated."""

    FIRMWARE = "firmware"
    OS = "os"


class UpdateOutcome(StrEnum):
    """How an update ended on one device."""

    CONFIRMED = "confirmed"
    """It booted the new slot and its self-test held through the window."""
    FELL_BACK = "fell-back"
    """The self-test failed, or nobody confirmed in time; the device runs the old slot again."""
    FAILED = "failed"
    """It never booted the new slot: download, digest or installation failed."""


class UpdateAttempt(Value):
    """One try of one version on one device, for the record."""

    device_id: DeviceId
    component: Component
    version: str = Field(min_length=1, max_length=128)
    outcome: UpdateOutcome
    reason: str = ""
    from_version: str = ""
    at: AwareDatetime
