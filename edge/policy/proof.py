"""Proof of possession: what a device signs, and whether a registration's signature holds."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

import rfc8785
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from edge.errors import IdentityRefused, InvalidInput
from edge.model.device import Endorsement, Proof, Registration
from edge.policy.identity import UNREADABLE, key_fingerprint

_CURVES: Final = {
    "ES256": ("secp256r1", hashes.SHA256()),
    "ES384": ("secp384r1", hashes.SHA384()),
    "ES512": ("secp521r1", hashes.SHA512()),
}


def registration_digest(registration: Registration) -> str:
    """SHA-256 in hex of the registration as it was sent, without its proof, in canonical JSON (RFC 8785)."""
    sent = registration.model_dump(mode="json", exclude_unset=True, exclude={"proof"})
    return hashlib.sha256(rfc8785.dumps(sent)).hexdigest()


def signed_bytes(registration: Registration, nonce: str) -> bytes:
    """What the device's key signs."""
    return f"edge-platform registration v1\n{nonce}\n{registration_digest(registration)}".encode()


def claim_key(registration: Registration) -> str:
    """What a registration is known by: the fingerprint of its key when it proves that it holds it.

    `unproven:` and the fingerprint without a proof that holds; `unreadable:` and the digest of the text when there is
    no certificate that can be read.
    """
    try:
        fingerprint = key_fingerprint(registration)
    except IdentityRefused:
        return f"unreadable:{hashlib.sha256(registration.certificate.encode()).hexdigest()}"
    return fingerprint if _holds(registration) else f"unproven:{fingerprint}"


def _holds(registration: Registration) -> bool:
    proof = registration.proof
    return proof is not None and vouched(registration.certificate, registration, proof, proof.nonce)


def vouched(certificate: str, registration: Registration, word: Proof | Endorsement, nonce: str) -> bool:
    """Whether the key of a certificate (PEM, leaf first) signed this registration over the nonce."""
    try:
        key = x509.load_pem_x509_certificates(certificate.encode())[0].public_key()
        signature = base64.b64decode(word.signature, validate=True)
        _verify(key, signature, signed_bytes(registration, nonce), word.algorithm)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def _verify(key: object, signature: bytes, data: bytes, algorithm: str) -> None:
    if isinstance(key, ec.EllipticCurvePublicKey) and algorithm in _CURVES:
        curve, digest = _CURVES[algorithm]
        if key.curve.name != curve:
            raise InvalidSignature
        key.verify(signature, data, ec.ECDSA(digest))
    elif isinstance(key, ed25519.Ed25519PublicKey) and algorithm == "EdDSA":
        key.verify(signature, data)
    elif isinstance(key, rsa.RSAPublicKey) and algorithm == "RS256":
        key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(key, rsa.RSAPublicKey) and algorithm == "PS256":
        key.verify(signature, data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    else:
        raise InvalidSignature


def sign(private_key: PrivateKeyTypes, registration: Registration, nonce: str) -> Proof:
    """The device's answer to a challenge, made with its key. Raises InvalidInput for another kind of key."""
    algorithm, signature = _signed(private_key, signed_bytes(registration, nonce))
    return Proof.model_validate(
        {"nonce": nonce, "algorithm": algorithm, "signature": base64.b64encode(signature).decode()}
    )


def _signed(key: PrivateKeyTypes, data: bytes) -> tuple[str, bytes]:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        for algorithm, (curve, digest) in _CURVES.items():
            if key.curve.name == curve:
                return algorithm, key.sign(data, ec.ECDSA(digest))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "EdDSA", key.sign(data)
    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256", key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    raise InvalidInput("A key of this kind proves nothing", field="key", value=type(key).__name__)
