"""Credential activation: a secret that only one TPM can recover, and only while it holds one attestation key.

This is TPM2_MakeCredential, done without a TPM (TPM 2.0 Library, part 1, the chapter on credential protection and the
annexes on RSA and ECC). A device that answers with the secret proves that its attestation key lives in the TPM of the
endorsement certificate.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final, NamedTuple

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode

from edge.errors import InvalidInput
from edge.policy.tpm_ek import Protection, protection, read_ek
from edge.policy.tpm_key import read_ak
from edge.policy.tpm_wire import invalid, number, sized

IDENTITY: Final = b"IDENTITY\0"
_MIN_SEED: Final = 32
_MAX_SECRET: Final = 32


class TpmCredential(NamedTuple):
    """What the device gives to TPM2_ActivateCredential, in base64, and whom it was made for, in hex.

    `id_object` is a TPM2B_ID_OBJECT, `secret` a TPM2B_ENCRYPTED_SECRET. `ak_name` and `ek_fingerprint` belong into the
    challenge: the answer proves nothing of other keys.
    """

    id_object: str
    secret: str
    ak_name: str
    ek_fingerprint: str


def make_credential(ek_certificate_pem: str, ak_public_b64: str, *, secret: bytes, seed: bytes) -> TpmCredential:
    """Wrap `secret` (16 to 32 random bytes) for the TPM with this endorsement key, while it holds this attestation key.

    `seed` is 32 or more random bytes that are used once. Raises IdentityRefused (`attestation-invalid`) when a key
    cannot be read or is not fit; whether the endorsement certificate is trusted is for `check_attestation` to say.
    """
    if len(seed) < _MIN_SEED or not 16 <= len(secret) <= _MAX_SECRET:
        raise InvalidInput("A credential needs a secret of 16 to 32 bytes and a seed of 32 or more", field="secret")
    endorsement, ak = read_ek(ek_certificate_pem), read_ak(ak_public_b64)
    ek = endorsement.key
    how = protection(ek)
    if isinstance(ek, rsa.RSAPublicKey):
        shared = kdfa(how, seed, b"SEED", b"", how.digest_size)
        wrapped = _encrypted(ek, shared, how)
    else:
        shared, wrapped = _agree(ek, seed, how)
    blob = protect(how, shared, ak.name, secret)
    return TpmCredential(_text(sized(blob)), _text(sized(wrapped)), ak.name.hex(), endorsement.fingerprint)


def activation_answer(secret: bytes, nonce: str) -> str:
    """What a device answers once its TPM has recovered the secret: hex HMAC-SHA256 of the nonce under it."""
    return hmac.new(secret, nonce.encode(), hashlib.sha256).hexdigest()


def protect(how: Protection, shared: bytes, name: bytes, secret: bytes) -> bytes:
    """The content of a TPM2B_ID_OBJECT: HMAC over the encrypted secret and the name, then the encrypted secret."""
    key = kdfa(how, shared, b"STORAGE", name, how.aes_bits // 8)
    encryptor = _cipher(key).encryptor()
    encrypted = encryptor.update(sized(secret)) + encryptor.finalize()
    return sized(integrity(how, shared, encrypted + name)) + encrypted


def unprotect(how: Protection, shared: bytes, name: bytes, encrypted: bytes) -> bytes:
    """The TPM2B_DIGEST with the secret in it; the caller has checked the HMAC."""
    decryptor = _cipher(kdfa(how, shared, b"STORAGE", name, how.aes_bits // 8)).decryptor()
    return decryptor.update(encrypted) + decryptor.finalize()


def integrity(how: Protection, shared: bytes, covered: bytes) -> bytes:
    """The outer HMAC of a credential."""
    key = kdfa(how, shared, b"INTEGRITY", b"", how.digest_size)
    return hmac.digest(key, covered, how.hash().name)


def kdfa(how: Protection, key: bytes, label: bytes, context: bytes, size: int) -> bytes:
    """KDFa of the TPM 2.0 Library: SP 800-108 in counter mode. `size` is in bytes."""
    derivation = KBKDFHMAC(
        algorithm=how.hash(),
        mode=Mode.CounterMode,
        length=size,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=label,
        context=context,
        fixed=None,
    )
    return derivation.derive(key)


def kdfe(how: Protection, shared_x: bytes, ephemeral_x: bytes, ek_x: bytes) -> bytes:
    """KDFe of the TPM 2.0 Library for the label IDENTITY: the one-step derivation of SP 800-56A."""
    other = IDENTITY + ephemeral_x + ek_x
    return ConcatKDFHash(algorithm=how.hash(), length=how.digest_size, otherinfo=other).derive(shared_x)


def oaep(how: Protection) -> padding.OAEP:
    """The padding under which an RSA endorsement key takes a seed."""
    return padding.OAEP(padding.MGF1(how.hash()), how.hash(), IDENTITY)


def coordinate(value: int, key: ec.EllipticCurvePublicKey) -> bytes:
    """A coordinate as the TPM writes it: as long as the curve's field."""
    return number(value, (key.curve.key_size + 7) // 8)


def _encrypted(ek: rsa.RSAPublicKey, shared: bytes, how: Protection) -> bytes:
    try:
        return ek.encrypt(shared, oaep(how))
    except ValueError as error:
        raise invalid("The endorsement key is no RSA key") from error


def _agree(ek: ec.EllipticCurvePublicKey, seed: bytes, how: Protection) -> tuple[bytes, bytes]:
    """Agree on a shared seed with an ECC endorsement key; the second value is our point (TPMS_ECC_POINT)."""
    # 64 bits more than the curve has: the remainder is then as good as evenly spread.
    drawn = int.from_bytes(kdfa(how, seed, b"EPHEMERAL", b"", (ek.curve.key_size + 64 + 7) // 8), "big")
    ours = ec.derive_private_key(drawn % (ek.curve.group_order - 1) + 1, ek.curve)
    point, theirs = ours.public_key().public_numbers(), ek.public_numbers()
    x, y = coordinate(point.x, ek), coordinate(point.y, ek)
    return kdfe(how, ours.exchange(ec.ECDH(), ek), x, coordinate(theirs.x, ek)), sized(x) + sized(y)


def _cipher(key: bytes) -> Cipher[CFB]:
    """AES in CFB mode with an initial vector of zeros: the TPM's choice, sound because each key is used once."""
    return Cipher(algorithms.AES(key), CFB(bytes(16)))


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
