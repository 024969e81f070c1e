"""Key pairs for Arc agents, made here because policy knows no randomness. The private key goes to the cluster only."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

BITS = 4096
"""What Azure's own command line uses. Making one takes 0.2 to 3 s of CPU."""


def new_key(bits: int = BITS) -> str:
    """A new RSA private key in PEM (PKCS #1, the form the agents read)."""
    key = generate_private_key(public_exponent=65537, key_size=bits)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
