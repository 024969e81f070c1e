"""Who a device is, as its certificate proves, and why a certificate is refused."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime

from edge.model.base import Value
from edge.model.names import DeviceId


class Refusal(StrEnum):
    """Why an identity is refused. The text is a contract: it stands in the ledger and in reports."""

    UNREADABLE = "unreadable"
    """No certificate could be read, or one of them is malformed."""
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    WEAK_KEY = "weak-key"
    WRONG_USAGE = "wrong-usage"
    """The certificate is not meant for a client that signs, or it is a certificate authority's own."""
    UNKNOWN_ISSUER = "unknown-issuer"
    """No trusted certificate authority has the name of the issuer."""
    BAD_CHAIN = "bad-chain"
    """The issuer's name is known, but the signatures or the certificates between do not hold."""
    WRONG_NAME = "wrong-name"
    """The certificate is good, and belongs to another device."""
    KEY_CHANGED = "key-changed"
    """The device is known with another key."""
    REVOKED = "revoked"
    """A certificate of the chain is on its issuer's revocation list, or its key was revoked here."""
    REVOCATION_UNKNOWN = "revocation-unknown"
    """The policy asks for a revocation list, and there is none that is current."""
    WRONG_SERIAL = "wrong-serial"
    """The serial number that the device tells is not the one in its certificate."""
    PROOF_MISSING = "proof-missing"
    PROOF_FAILED = "proof-failed"
    """The signature was not made with the certificate's key over this registration."""
    CHALLENGE_UNKNOWN = "challenge-unknown"
    """The nonce was never given to this device."""
    CHALLENGE_EXPIRED = "challenge-expired"
    REPLAYED = "replayed"
    """The nonce was answered before, by another registration or in an earlier life of the device."""
    NOT_OWNED = "not-owned"
    """No voucher and no allow-list ties the serial number to a tenant."""
    VOUCHER_INVALID = "voucher-invalid"
    """The voucher cannot be read, was tampered with, or its signer is not trusted."""
    VOUCHER_EXPIRED = "voucher-expired"
    VOUCHER_USED = "voucher-used"
    """The voucher let in another device, or this one in an earlier life."""
    OTHER_TENANT = "other-tenant"
    """The owner on record is not the tenant that the assignment rule gives."""
    ATTESTATION_MISSING = "attestation-missing"
    ATTESTATION_INVALID = "attestation-invalid"
    """A part of the attestation cannot be read, or its signature does not hold."""
    TPM_UNTRUSTED = "tpm-untrusted"
    """The endorsement certificate does not lead to a trusted maker of TPMs, or is another TPM's."""
    PCR_MISMATCH = "pcr-mismatch"
    """The quoted PCR values are those of no reference set."""
    NO_RULE = "no-rule"
    """Nobody says where the device belongs: no assignment rule matches it."""
    SITE_TAKEN = "site-taken"
    """The site that the rule gives belongs to another device."""


class DeviceIdentity(Value):
    """What a certificate proved.

    `serial` is the certificate's, in hex; `device_serial` the device's own, when its subject names one (IEEE 802.1AR),
    else empty; `fingerprint` the SHA-256 of its public key.
    """

    device_id: DeviceId
    subject: str
    issuer: str
    serial: str
    device_serial: str = ""
    fingerprint: str
    not_after: AwareDatetime
