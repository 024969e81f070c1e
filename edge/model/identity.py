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


class DeviceIdentity(Value):
    """What a certificate proved. `serial` is the certificate's, in hex; `fingerprint` the SHA-256 of its public key."""

    device_id: DeviceId
    subject: str
    issuer: str
    serial: str
    fingerprint: str
    not_after: AwareDatetime
