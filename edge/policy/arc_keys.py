"""The public half of an Arc agent's key pair, in the form that Azure wants."""

from __future__ import annotations

import base64

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from edge.errors import InvalidInput


def public_key_of(private_pem: str) -> str:
    """Base64 of DER SEQUENCE(n, e) of an RSA private key in PEM. Raises InvalidInput; the error never shows the key."""
    try:
        # Proving that the factors are primes costs as much as making the key, and only the public half is used here.
        key = load_pem_private_key(private_pem.encode(), password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise InvalidInput("This is not an RSA private key in PEM", field="private key")
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    return base64.b64encode(public).decode()
