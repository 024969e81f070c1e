"""Devices: what registers itself, and where it is in its life."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, Field

from edge.model.base import Value
from edge.model.names import DeviceId, SiteName, TenantName


class DeviceState(StrEnum):
    """Where a device is in its life."""

    REGISTERED = "registered"
    """Its registration is stored; onboarding has not begun."""
    ONBOARDING = "onboarding"
    CONNECTED = "connected"
    QUARANTINED = "quarantined"
    """Refused, with the reason on record. No later step ran."""
    FAILED = "failed"
    """Onboarding ended in a failure that may go away; it can be started again."""


class DeviceFacts(Value):
    """What a device says of itself. Assignment rules read these; identity never rests on them."""

    serial: str = Field(min_length=1, max_length=128)
    model: str = Field(default="", max_length=128)
    architecture: str = Field(default="amd64", pattern=r"^(amd64|arm64|arm|riscv64)$")
    location: str = Field(default="", max_length=128)
    hardware: dict[str, str] = Field(default={}, max_length=64)


class Registration(Value):
    """One device asking to be let in: the `data` of the registration event.

    `certificate` is the device's X.509 certificate and any intermediates, PEM, leaf first.
    """

    device_id: DeviceId
    certificate: str = Field(max_length=65536)
    facts: DeviceFacts


class Device(Value):
    """A device as the ledger knows it."""

    device_id: DeviceId
    state: DeviceState
    registration: Registration
    registered_at: AwareDatetime
    last_contact: AwareDatetime | None = None
    tenant: TenantName | None = None
    site: SiteName | None = None
    reason: str = ""
    """Why it is quarantined or failed; empty otherwise."""


class DeviceClaim(Value):
    """A registration for a device id under another key than the one on record: a changed device, or an impostor."""

    device_id: DeviceId
    key: str
    """SHA-256 in hex of the claimed public key, or `unreadable:` and the digest of what was sent instead."""
    registration: Registration
    first_at: AwareDatetime
    last_at: AwareDatetime
