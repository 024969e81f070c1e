"""What letting a device in rests on: the operator's policy, challenges, owners and revocation lists."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, ConfigDict, Field
from pydantic.alias_generators import to_camel

from edge.model.base import Value
from edge.model.device import Origin
from edge.model.identity import DeviceIdentity
from edge.model.names import DeviceId, TenantName


class ProofRule(StrEnum):
    """Who must prove that it holds its certificate's private key."""

    REQUIRED = "required"
    EXCEPT_IMPORTS = "except-imports"
    """Registrations from an operator's file need none: the operator answers for them."""
    OFF = "off"


class Need(StrEnum):
    """Whether something must be there. What is there is always checked."""

    REQUIRED = "required"
    WHEN_PRESENT = "when-present"


class PcrReference(Value):
    """One known good state of a boot chain: the model and the values that some PCRs may have, in hex.

    `pcrs` maps bank and index to the allowed values: `{"sha256": {"0": ["3d45…"]}}`. An empty `model` fits any model.
    """

    name: str = Field(min_length=1, max_length=63)
    model: str = ""
    pcrs: dict[str, dict[str, tuple[str, ...]]] = Field(min_length=1)


class AdmissionPolicy(Value):
    """The operator's policy: how much a device must prove. Kept as YAML."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)

    api_version: Literal["edge-platform.io/v1"] = "edge-platform.io/v1"
    kind: Literal["AdmissionPolicy"] = "AdmissionPolicy"
    proof: ProofRule = ProofRule.EXCEPT_IMPORTS
    ownership: Need = Need.WHEN_PRESENT
    attestation: Need = Need.WHEN_PRESENT
    revocation_list: Need = Need.WHEN_PRESENT
    """Required: each issuer of the chain must have a list on record that is not out of date."""
    boot_references: tuple[PcrReference, ...] = ()


class Trust(Value):
    """Whom the operator trusts, as PEM texts, and the policy."""

    anchors: tuple[str, ...]
    """CA certificates of the manufacturers."""
    voucher_anchors: tuple[str, ...] = ()
    """CA certificates of those who sign ownership vouchers."""
    tpm_anchors: tuple[str, ...] = ()
    """CA certificates of the makers of TPMs."""
    policy: AdmissionPolicy = AdmissionPolicy()


class Challenge(Value):
    """A nonce that was given to a device, and by which registration it was answered first.

    `activation` is what the device must answer when the challenge held a credential for its TPM (hex, else empty), and
    `ek_fingerprint` and `ak_name` the endorsement key (SHA-256, hex) and the attestation key (its name, hex) that the
    credential was made for: the answer proves that these two are in one TPM, and nothing of other keys.
    """

    nonce: str
    device_id: DeviceId
    issued_at: AwareDatetime
    expires_at: AwareDatetime
    activation: str = ""
    ak_name: str = ""
    ek_fingerprint: str = ""
    answered_at: AwareDatetime | None = None
    answer: str = ""
    """Digest of the registration that answered first."""
    generation: int | None = None
    """The life of the device in which it was answered."""


class OwnershipKind(StrEnum):
    """What ties a serial number to a tenant."""

    VOUCHER = "voucher"
    LIST = "list"
    """A row of an operator's allow-list."""


class Ownership(Value):
    """A serial number belongs to a tenant. `ownership_id` is the voucher's id, or the list's name and the serial.

    `used_by` and `used_generation` say which device, in which life, came in on it: it lets in no other.
    """

    ownership_id: str = Field(min_length=1, max_length=256)
    serial: str = Field(min_length=1, max_length=128)
    tenant: TenantName
    kind: OwnershipKind
    issuer: str = ""
    """Subject of the voucher's signer, or the list's name."""
    created_at: AwareDatetime
    """When the voucher was made, or the list was read."""
    expires_at: AwareDatetime | None = None
    ek_fingerprint: str = ""
    """SHA-256 in hex of the public endorsement key that the device's TPM must have; empty: any."""
    used_by: DeviceId | None = None
    used_generation: int | None = None
    used_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    """When it was withdrawn, or the device that came in on it was decommissioned."""


class RevocationList(Value):
    """An issuer's newest certificate revocation list (RFC 5280), whose signature was checked when it came in."""

    issuer: str
    """SHA-256 in hex of the issuer's public key."""
    issuer_name: str
    number: int = 0
    this_update: AwareDatetime
    next_update: AwareDatetime | None = None
    pem: str


class RevokedKey(Value):
    """A key that lets nobody in any more, whatever its issuer says; revoked here, by a person or by a flow."""

    fingerprint: str
    """SHA-256 in hex of the public key."""
    device_id: DeviceId
    reason: str = ""
    at: AwareDatetime


class Evidence(Value):
    """What the ledger knows that bears on one registration."""

    via: Origin
    generation: int = 1
    challenge: Challenge | None = None
    """The challenge with the proof's nonce, whoever it was given to."""
    ownerships: tuple[Ownership, ...] = ()
    """Every ownership of the serial number, oldest first; ended ones too."""
    revocation_lists: tuple[RevocationList, ...] = ()
    revoked_keys: frozenset[str] = frozenset()
    """Of the fingerprints asked for, those that were revoked here."""


class Admitted(Value):
    """A device that may come in, and on what grounds."""

    identity: DeviceIdentity
    proven: bool
    ownership: Ownership | None = None
    boot_reference: str | None = None
    """The reference set that its TPM's quote fits."""
