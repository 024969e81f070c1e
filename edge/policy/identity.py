"""Is a device who it says it is? Decided from its certificate alone; what the device says of itself plays no part.

The chain is checked by `cryptography`'s verifier. Its rules for public web servers would refuse device certificates as
manufacturers issue them (IEEE 802.1AR asks neither for a DNS name nor for an extended key usage), and without those
rules it looks at neither usage nor key of the leaf, so both are checked here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.errors import IdentityRefused, InvalidInput
from edge.model.device import Registration
from edge.model.identity import DeviceIdentity, Refusal
from edge.policy.chain import MAX_CERTIFICATES, ChainRefused, check_name_constraints, verified_chain

T = TypeVar("T", bound=x509.ExtensionType)

MIN_RSA_BITS = 2048
_STRONG_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_CLIENT_USAGES = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises when a structure is malformed."""


class Proven(NamedTuple):
    """Who a device is, and the certificates that say so: the leaf first, a trusted one last."""

    identity: DeviceIdentity
    chain: tuple[x509.Certificate, ...]


def check_identity(registration: Registration, *, trusted: Sequence[str], now: datetime) -> DeviceIdentity:
    """Return who the device is, or raise IdentityRefused with a `reason` of `Refusal` in `where`.

    `trusted` are PEM texts with the manufacturers' CA certificates (InvalidInput when one cannot be read).
    """
    return prove_identity(registration, trusted=trusted, now=now).identity


def prove_identity(registration: Registration, *, trusted: Sequence[str], now: datetime) -> Proven:
    """As `check_identity`, with the chain that was verified."""
    device = registration.device_id
    anchors = trusted_certificates(tuple(trusted))
    leaf, *between = _read(registration.certificate, device)
    try:
        _check_dates(leaf, device, now)
        _check_key(leaf, device)
        _check_usage(leaf, device)
        chain = verified_chain(leaf, between, anchors=anchors, now=now)
        _check_name(leaf, device)
        _check_serial(leaf, registration)
        check_name_constraints(device, chain)
        return Proven(_identity(leaf, device), chain)
    except ChainRefused as error:
        raise _refused(error.reason, str(error), device) from error
    except UNREADABLE as error:
        raise _refused(Refusal.UNREADABLE, "The certificate has a malformed part", device) from error


def refuse_contested(fingerprint: str, rivals: Sequence[DeviceIdentity]) -> None:
    """Raise IdentityRefused (`key-changed`) when another key for the device is as good as the one on record.

    `fingerprint` is the key on record, `rivals` are the claims that would be admitted. Those that would not play no
    part: otherwise anybody could keep a device out by naming its id.
    """
    for claim in rivals:
        if claim.fingerprint == fingerprint:
            continue
        what = "Two certificates with different keys are valid for this device; one of them may be a copy's"
        raise _refused(Refusal.KEY_CHANGED, what, claim.device_id)


def key_fingerprint(registration: Registration) -> str:
    """SHA-256 in hex of the public key in a registration's leaf certificate, whoever signed it.

    Raises IdentityRefused when there is none that can be read.
    """
    leaf = _read(registration.certificate, registration.device_id)[0]
    try:
        return public_key_fingerprint(leaf)
    except UNREADABLE as error:
        raise _refused(Refusal.UNREADABLE, "The public key cannot be read", registration.device_id) from error


@lru_cache(maxsize=8)
def trusted_certificates(texts: tuple[str, ...]) -> tuple[x509.Certificate, ...]:
    """The CA certificates in PEM texts. Raises InvalidInput when a text holds none or one of them is no CA."""
    found: list[x509.Certificate] = []
    for text in texts:
        try:
            found += x509.load_pem_x509_certificates(text.encode())
        except ValueError as error:
            raise InvalidInput("The trusted certificates cannot be read", field="trusted", value=text[:40]) from error
    for certificate in found:
        if not _is_authority(certificate):
            raise InvalidInput(
                "A trusted certificate is not a certificate authority",
                field="trusted",
                value=certificate.subject.rfc4514_string(),
            )
    return tuple(found)


def _read(text: str, device: str) -> list[x509.Certificate]:
    try:
        certificates = x509.load_pem_x509_certificates(text.encode())
    except UNREADABLE as error:
        raise _refused(Refusal.UNREADABLE, "The certificate cannot be read", device) from error
    if len(certificates) > MAX_CERTIFICATES:
        what = f"The chain has {len(certificates)} certificates, at most {MAX_CERTIFICATES} are read"
        raise _refused(Refusal.BAD_CHAIN, what, device)
    return certificates


def _check_dates(leaf: x509.Certificate, device: str, now: datetime) -> None:
    if now < leaf.not_valid_before_utc:
        what = f"The certificate is valid from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on"
        raise _refused(Refusal.NOT_YET_VALID, what, device)
    if now > leaf.not_valid_after_utc:
        what = f"The certificate expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        raise _refused(Refusal.EXPIRED, what, device)


def _check_key(leaf: x509.Certificate, device: str) -> None:
    key = leaf.public_key()
    if isinstance(key, ed25519.Ed25519PublicKey):
        return
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _STRONG_CURVES:
        return
    what = f"The key is none of RSA of {MIN_RSA_BITS} bits or more, Ed25519, or EC on P-256, P-384 or P-521"
    raise _refused(Refusal.WEAK_KEY, what, device)


def _check_usage(leaf: x509.Certificate, device: str) -> None:
    """What a certificate says of its use must allow a client that signs; it need not say anything."""
    if _is_authority(leaf):
        raise _refused(Refusal.WRONG_USAGE, "The certificate is a certificate authority's own", device)
    usage = extension_of(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise _refused(Refusal.WRONG_USAGE, "The certificate's key usage does not allow signatures", device)
    purposes = extension_of(leaf, x509.ExtendedKeyUsage)
    if purposes is not None and not _CLIENT_USAGES.intersection(purposes):
        raise _refused(Refusal.WRONG_USAGE, "The certificate's extended key usage lacks client authentication", device)


def _check_name(leaf: x509.Certificate, device: str) -> None:
    """The common name or a DNS name must be the device's id, case included: else one device could come as another."""
    names = [str(part.value) for part in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    alternative = extension_of(leaf, x509.SubjectAlternativeName)
    if alternative is not None:
        names += alternative.get_values_for_type(x509.DNSName)
    if device not in names:
        owner = repr(", ".join(names)[:200]) if names else "nobody by name"
        what = f"The certificate belongs to {owner}"
        raise _refused(Refusal.WRONG_NAME, what, device)


def _check_serial(leaf: x509.Certificate, registration: Registration) -> None:
    proven = _device_serial(leaf)
    told = registration.facts.serial
    if proven and told != proven:
        what = f"The device says that its serial number is {told!r}, its certificate says {proven!r}"
        raise _refused(Refusal.WRONG_SERIAL, what, registration.device_id)


def _device_serial(leaf: x509.Certificate) -> str:
    """The serial number of the device in the subject (IEEE 802.1AR), not the certificate's."""
    found = [str(part.value) for part in leaf.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)]
    return found[0][:128] if found else ""


def _identity(leaf: x509.Certificate, device: str) -> DeviceIdentity:
    return DeviceIdentity(
        device_id=device,
        subject=leaf.subject.rfc4514_string(),
        issuer=leaf.issuer.rfc4514_string(),
        serial=f"{leaf.serial_number:x}",
        device_serial=_device_serial(leaf),
        fingerprint=public_key_fingerprint(leaf),
        not_after=leaf.not_valid_after_utc,
    )


def public_key_fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 in hex of a certificate's public key (DER, SubjectPublicKeyInfo)."""
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).hexdigest()


def _is_authority(certificate: x509.Certificate) -> bool:
    constraints = extension_of(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def extension_of(certificate: x509.Certificate, kind: type[T]) -> T | None:
    """The certificate's extension of this kind; None without one. Raises one of UNREADABLE when malformed."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _refused(reason: Refusal, what: str, device: str) -> IdentityRefused:
    return IdentityRefused(
        what,
        device=device,
        reason=reason.value,
        remedy="Check the device at its place; register it again with a certificate of a trusted manufacturer",
    )
