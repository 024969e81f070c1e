"""Certificates for tests: manufacturers with authorities in between, and what they certify. Dates are around NOW."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def name(text: str, serial: str = "") -> x509.Name:
    """A subject with a common name and, as IEEE 802.1AR has it, the device's serial number."""
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, text)]
    if serial:
        parts.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
    return x509.Name(parts)


def key_usage(*, sign: bool = False, certify: bool = False, agree: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(sign, False, False, False, agree, certify, certify, False, False)


def pem(*certificates: x509.Certificate) -> str:
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


def builder(subject: x509.Name, issuer: x509.Name, key: Any, *, days: int) -> x509.CertificateBuilder:
    """A certificate for the public half of `key`, valid from a day before NOW for `days` after it."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=days))
    )


class Maker:
    """A certificate authority: a manufacturer's own, or with a parent one in between. `extra` become critical."""

    def __init__(
        self,
        common_name: str,
        parent: Maker | None = None,
        *,
        path_length: int | None = 1,
        usage: x509.KeyUsage | None = key_usage(certify=True, sign=True),  # noqa: B008 - a frozen value
        extra: Sequence[x509.ExtensionType] = (),
        days: int = 3650,
    ) -> None:
        self.key, self.name = new_key(), name(common_name)
        signer = parent or self
        made = builder(self.name, signer.name, self.key, days=days)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        for extension in ([usage] if usage else []) + list(extra):
            made = made.add_extension(extension, critical=True)
        own, of_signer = self.key.public_key(), signer.key.public_key()
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(own), critical=False)
        made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(of_signer), critical=False)
        self.certificate = made.sign(signer.key, hashes.SHA256())

    @property
    def pem(self) -> str:
        return pem(self.certificate)

    def certify(
        self, subject: x509.Name, *extensions: x509.ExtensionType, key: Any = None, days: int = 365
    ) -> x509.Certificate:
        """A certificate that is no authority's, with these extensions (not critical)."""
        made = builder(subject, self.name, key or new_key(), days=days)
        for extension in extensions:
            made = made.add_extension(extension, critical=False)
        return made.sign(self.key, hashes.SHA256())
