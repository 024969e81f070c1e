"""The lab's certificate authorities: one for its TLS port, one that plays the manufacturer of the devices.

Keys are EC P-256, because a thousand of them must cost about a second. Files with private keys have mode 0600.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.errors import InvalidInput

_DAY = timedelta(days=1)
_CA_LIFE = 3650 * _DAY
_LEAF_LIFE = 397 * _DAY
_RENEW_BEFORE = 30 * _DAY
_CRL_LIFE = 30 * _DAY


class Authority:
    """A certificate authority kept in two files, `<stem>.crt` and `<stem>.key`."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, cert_file: Path) -> None:
        self._key = key
        self.certificate = certificate
        self.cert_file = cert_file
        self._key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())

    @classmethod
    def open(cls, stem: Path, common_name: str) -> Authority:
        """Read the authority at this place, or make it. Raises InvalidInput when its files are broken."""
        cert_file, key_file = stem.with_suffix(".crt"), stem.with_suffix(".key")
        if cert_file.exists() and key_file.exists():
            return cls(*_read(cert_file, key_file), cert_file)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _self_signed(key, common_name)
        stem.parent.mkdir(parents=True, exist_ok=True)
        write_secret(key_file, _pem_key(key))
        cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(key, certificate, cert_file)

    def server(self, stem: Path) -> tuple[Path, Path]:
        """Certificate and key files for the loopback server; renewed when they run out within a month."""
        cert_file, key_file = stem.with_suffix(".crt"), stem.with_suffix(".key")
        if not (cert_file.exists() and key_file.exists() and _lasts(cert_file)):
            names: list[x509.GeneralName] = [x509.DNSName("localhost")]
            names += [x509.IPAddress(ip_address(address)) for address in ("127.0.0.1", "::1")]
            self._issue(stem, "localhost", names, ExtendedKeyUsageOID.SERVER_AUTH)
        return cert_file, key_file

    def device(self, folder: Path, device_id: str, serial: str) -> None:
        """Issue a device's certificate to `<folder>/<device_id>.crt` and `.key`; one that is there stays."""
        stem = folder / device_id
        if not Path(f"{stem}.crt").exists():
            names: list[x509.GeneralName] = [x509.DNSName(device_id.lower())]
            self._issue(stem, device_id, names, ExtendedKeyUsageOID.CLIENT_AUTH, serial)

    def sign(self, builder: x509.CertificateBuilder) -> str:
        """Sign a certificate of another kind, and say by which key; answers PEM."""
        certificate = builder.add_extension(self._key_id, critical=False).sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def revoke(self, file: Path, serials: Sequence[int]) -> None:
        """Write a revocation list (PEM) that takes back the certificates with these serial numbers, and no others.

        Its number is the time in microseconds, so that a list that is written later is the newer one.
        """
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now)
            .next_update(now + _CRL_LIFE)
            .add_extension(x509.CRLNumber(int(now.timestamp() * 1_000_000)), critical=False)
            .add_extension(self._key_id, critical=False)
        )
        for serial in serials:
            taken_back = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            builder = builder.add_revoked_certificate(taken_back)
        file.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _issue(
        self,
        stem: Path,
        name: str,
        alternatives: list[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        serial: str = "",
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(key.public_key(), _subject(name, serial), self.certificate.subject, _LEAF_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(self._key_id, critical=False)
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        write_secret(Path(f"{stem}.key"), _pem_key(key))
        Path(f"{stem}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def _read(cert_file: Path, key_file: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _broken(cert_file, key_file) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise _broken(cert_file, key_file)
    return key, certificate


def _broken(cert_file: Path, key_file: Path) -> InvalidInput:
    remedy = "Remove the lab's folder, or give another --state"
    return InvalidInput("certificate and key do not make an authority", file=cert_file, key=key_file, remedy=remedy)


def _self_signed(key: ec.EllipticCurvePrivateKey, common_name: str) -> x509.Certificate:
    name = _subject(common_name, "")
    return (
        _builder(key.public_key(), name, name, _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _builder(
    key: ec.EllipticCurvePublicKey, subject: x509.Name, issuer: x509.Name, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(common_name: str, serial: str) -> x509.Name:
    parts = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Edge Lab"),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ]
    if serial:
        parts.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
    return x509.Name(parts)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _lasts(cert_file: Path) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
    except ValueError:
        return False
    return certificate.not_valid_after_utc - datetime.now(UTC) > _RENEW_BEFORE
