"""Devices: what registers itself, and where it is in its life."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Literal

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
    DECOMMISSIONING = "decommissioning"
    """Its access is revoked; not everything of it is proven to be gone."""
    DECOMMISSIONED = "decommissioned"
    """Nothing of it is left at its site or in Azure, and that is proven. A new voucher may bring it back."""


class Origin(StrEnum):
    """By which way a registration came. The platform notes it; no sender can say it."""

    EVENT = "event"
    """Over HTTP, through the gateway."""
    MQTT = "mqtt"
    IMPORT = "import"
    """From an operator's file."""


class Position(Value):
    """A place on the earth, in degrees (WGS 84)."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


class DeviceFacts(Value):
    """What a device says of itself. Assignment rules read these; identity never rests on them."""

    serial: str = Field(min_length=1, max_length=128)
    model: str = Field(default="", max_length=128)
    architecture: str = Field(default="amd64", pattern=r"^(amd64|arm64|arm|riscv64)$")
    location: str = Field(default="", max_length=128)
    position: Position | None = None
    firmware: str = Field(default="", max_length=128)
    """Version of what runs below the operating system."""
    os: str = Field(default="", max_length=128)
    """Version of the operating system's image."""
    hardware: dict[str, str] = Field(default={}, max_length=64)


class Proof(Value):
    """The device's answer to a challenge: it holds the private key of its certificate.

    What is signed is defined by `edge.policy.proof.signed_bytes`. `algorithm` is a JWA name; `signature` is base64 of
    what `openssl dgst -sign` writes (DER for ECDSA).
    """

    nonce: str = Field(min_length=16, max_length=128)
    algorithm: Literal["ES256", "ES384", "ES512", "EdDSA", "RS256", "PS256"]
    signature: str = Field(max_length=4096)


class Endorsement(Value):
    """The old key's word for a new certificate: its signature over what the registration's proof signs.

    `algorithm` and `signature` are as in a Proof.
    """

    algorithm: Literal["ES256", "ES384", "ES512", "EdDSA", "RS256", "PS256"]
    signature: str = Field(max_length=4096)


class Attestation(Value):
    """What a TPM 2.0 says of the device's boot. Binary parts are base64 of the TPM's own structures.

    `ek_certificate` is PEM, leaf first, with any intermediates; `ak_public` a TPMT_PUBLIC (or TPM2B_PUBLIC), `quote` a
    TPMS_ATTEST, `signature` a TPMT_SIGNATURE. `pcrs` maps bank and index to the value in hex:
    `{"sha256": {"0": "3d45…"}}`. `activation` is hex HMAC-SHA256 of the challenge's nonce under the secret that only
    this TPM could recover (TPM2_ActivateCredential): it ties the attestation key to the endorsement key.
    """

    ek_certificate: str = Field(max_length=65536)
    ak_public: str = Field(max_length=8192)
    quote: str = Field(max_length=8192)
    signature: str = Field(max_length=8192)
    pcrs: dict[str, dict[str, str]] = Field(max_length=4)
    activation: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


class Registration(Value):
    """One device asking to be let in: the `data` of the registration event.

    `certificate` is the device's X.509 certificate and any intermediates, PEM, leaf first. `voucher` is an ownership
    voucher (RFC 8366 fields, signed as a compact JWS), when the device carries one.
    """

    device_id: DeviceId
    certificate: str = Field(max_length=65536)
    facts: DeviceFacts
    voucher: str = Field(default="", max_length=65536)
    attestation: Attestation | None = None
    proof: Proof | None = None


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
    via: Origin = Origin.EVENT
    """By which way the registration on record came."""
    generation: int = Field(default=1, ge=1)
    """Which life of the device this is: it grows with each reset and each decommissioning."""


class DeviceClaim(Value):
    """A registration for a device id under another key than the one on record: a changed device, or an impostor."""

    device_id: DeviceId
    key: str
    """What `edge.policy.proof.claim_key` says of the registration."""
    registration: Registration
    via: Origin = Origin.EVENT
    first_at: AwareDatetime
    last_at: AwareDatetime


class Inventory(Value):
    """What an operator knows of a device beyond what it says of itself. Dates are ISO dates."""

    device_id: DeviceId
    vendor: str = Field(default="", max_length=128)
    asset_tag: str = Field(default="", max_length=128)
    purchased_on: date | None = None
    warranty_until: date | None = None
    note: str = Field(default="", max_length=1000)


class Reservation(Value):
    """A place kept for a device that is not here yet: it takes over the site of the device that it replaces.

    It goes before the assignment rules.
    """

    device_id: DeviceId
    site: SiteName
    replaces: DeviceId
    made_at: AwareDatetime
    used_at: AwareDatetime | None = None
