"""Endorsement certificates: whose TPM it is, and whether its maker is trusted.

`cryptography`'s verifier checks the chain. Its rules for public web servers do not fit: the certificates of TPM makers
carry the TCG's own purpose (2.23.133.8.1), no DNS name, and a critical directory name; their authorities often carry a
purpose too, or lack a key identifier. What makes an authority one is asked for here instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import verification

from edge.errors import IdentityRefused
from edge.model.identity import Refusal
from edge.policy.chain import MAX_CERTIFICATES
from edge.policy.identity import trusted_certificates
from edge.policy.tpm_wire import invalid, refused

EK_PURPOSE: Final = x509.ObjectIdentifier("2.23.133.8.1")
"""Extended key usage of an endorsement certificate (tcg-kp-EKCertificate)."""

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

EkPublic = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class Protection(NamedTuple):
    """How an endorsement key protects what is meant for it: the hash of its name, and the bits of its AES key."""

    hash: type[hashes.SHA256] | type[hashes.SHA384]
    aes_bits: int

    @property
    def digest_size(self) -> int:
        """In bytes."""
        return self.hash.digest_size


_BY_KIND: Final = {
    ("rsa", 2048): Protection(hashes.SHA256, 128),
    ("secp256r1", 256): Protection(hashes.SHA256, 128),
    ("secp384r1", 384): Protection(hashes.SHA384, 256),
}
"""By the templates of the TCG's EK credential profile. The certificate does not say it, the kind of key does."""


@dataclass(frozen=True)
class Endorsement:
    """An endorsement certificate, its intermediates and its key."""

    leaf: x509.Certificate
    between: tuple[x509.Certificate, ...]
    key: EkPublic

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex of the key (SubjectPublicKeyInfo in DER)."""
        return hashlib.sha256(self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def read_ek(text: str) -> Endorsement:
    """Read PEM, leaf first. Raises IdentityRefused (`attestation-invalid`) when it is no endorsement certificate."""
    try:
        certificates = x509.load_pem_x509_certificates(text.encode())
        key = certificates[0].public_key()
    except _UNREADABLE as error:
        raise invalid("The endorsement certificate cannot be read") from error
    if len(certificates) > MAX_CERTIFICATES:
        raise invalid(f"There are {len(certificates)} endorsement certificates, at most {MAX_CERTIFICATES} are read")
    if not isinstance(key, EkPublic):
        raise invalid("The endorsement key is neither RSA nor EC")
    protection(key)
    return Endorsement(certificates[0], tuple(certificates[1:]), key)


def protection(key: EkPublic) -> Protection:
    """How this key protects a credential. Raises IdentityRefused for a kind of key that no EK template has."""
    kind = ("rsa" if isinstance(key, rsa.RSAPublicKey) else key.curve.name, key.key_size)
    if kind not in _BY_KIND:
        raise invalid(f"The endorsement key is {kind[0]} of {kind[1]} bits, not RSA-2048, P-256 or P-384")
    return _BY_KIND[kind]


def check_maker(ek: Endorsement, *, anchors: Sequence[str], now: datetime) -> None:
    """Raise IdentityRefused (`tpm-untrusted`) unless the certificate leads to a trusted maker of TPMs.

    InvalidInput when the trusted certificates cannot be read.
    """
    trusted = trusted_certificates(tuple(anchors))
    if not trusted:
        raise untrusted("No maker of TPMs is trusted")
    try:
        _check_purpose(ek.leaf)
        issuer = ek.leaf.issuer.rfc4514_string()[:200]
        _verifier(trusted, now).verify(ek.leaf, list(ek.between))
    except verification.VerificationError as error:
        raise untrusted(f"The endorsement certificate by {issuer!r} does not lead to a trusted maker") from error
    except _UNREADABLE as error:
        raise invalid("The endorsement certificate has a malformed part") from error


def untrusted(what: str) -> IdentityRefused:
    """A refusal because the TPM is not one to be trusted."""
    return refused(
        Refusal.TPM_UNTRUSTED, what, "Add the maker's CA certificates to EDGE_TPM_TRUST if it is to be trusted"
    )


def _verifier(trusted: Sequence[x509.Certificate], now: datetime) -> verification.ClientVerifier:
    authority = (
        verification.ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, _is_authority)
        .require_present(x509.KeyUsage, verification.Criticality.AGNOSTIC, _signs_certificates)
    )
    return (
        verification.PolicyBuilder()
        .store(verification.Store(list(trusted)))
        .time(now)
        .max_chain_depth(MAX_CERTIFICATES)
        .extension_policies(ca_policy=authority, ee_policy=verification.ExtensionPolicy.permit_all())
        .build_client_verifier()
    )


def _is_authority(_policy: verification.Policy, _certificate: x509.Certificate, found: x509.BasicConstraints) -> None:
    if not found.ca:
        raise ValueError("an issuer is no certificate authority")


def _signs_certificates(_policy: verification.Policy, _certificate: x509.Certificate, found: x509.KeyUsage) -> None:
    if not found.key_cert_sign:
        raise ValueError("an issuer may not sign certificates")


def _check_purpose(leaf: x509.Certificate) -> None:
    """It must be for endorsement and no authority's own.

    Without the purpose, any key that a maker of TPMs certifies could pass for one that only a TPM holds.
    """
    values = [extension.value for extension in leaf.extensions]
    if any(isinstance(value, x509.BasicConstraints) and value.ca for value in values):
        raise untrusted("The endorsement certificate is a certificate authority's own")
    if not any(isinstance(value, x509.ExtendedKeyUsage) and EK_PURPOSE in value for value in values):
        raise untrusted("The certificate is not meant for an endorsement key")
