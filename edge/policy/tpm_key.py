"""Attestation keys: reads a TPMT_PUBLIC and says whether a quote that it signs can be believed.

A quote proves something only when the key can sign nothing that the TPM did not make itself (restricted), and never
existed outside of that TPM (fixedTPM, fixedParent, sensitiveDataOrigin).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from edge.policy.tpm_wire import Reader, decode, invalid, number

AttestationKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class Alg(IntEnum):
    """Algorithm identifiers of the TPM 2.0 Library (TPM_ALG_ID), as far as they are read here."""

    RSA = 0x0001
    SHA1 = 0x0004
    AES = 0x0006
    SHA256 = 0x000B
    SHA384 = 0x000C
    SHA512 = 0x000D
    NULL = 0x0010
    RSASSA = 0x0014
    RSAPSS = 0x0016
    ECDSA = 0x0018
    ECC = 0x0023
    CFB = 0x0043


class Attribute(IntFlag):
    """What a key may do (TPMA_OBJECT)."""

    FIXED_TPM = 1 << 1
    FIXED_PARENT = 1 << 4
    SENSITIVE_DATA_ORIGIN = 1 << 5
    USER_WITH_AUTH = 1 << 6
    RESTRICTED = 1 << 16
    DECRYPT = 1 << 17
    SIGN = 1 << 18


HASHES: Final[dict[int, type[hashes.HashAlgorithm]]] = {
    Alg.SHA256: hashes.SHA256,
    Alg.SHA384: hashes.SHA384,
    Alg.SHA512: hashes.SHA512,
}
"""Hashes that a signature or a name may rest on."""

CURVES: Final[dict[int, type[ec.EllipticCurve]]] = {0x0003: ec.SECP256R1, 0x0004: ec.SECP384R1, 0x0005: ec.SECP521R1}

_NEEDED: Final = (
    Attribute.FIXED_TPM
    | Attribute.FIXED_PARENT
    | Attribute.SENSITIVE_DATA_ORIGIN
    | Attribute.RESTRICTED
    | Attribute.SIGN
)
_SCHEMES: Final = {Alg.RSA: (Alg.RSASSA, Alg.RSAPSS), Alg.ECC: (Alg.ECDSA,)}
_RSA_BITS: Final = (2048, 3072, 4096)
_MAX_DIGEST: Final = 64
_MAX_COORDINATE: Final = 66


@dataclass(frozen=True)
class AkPublic:
    """An attestation key: the key itself, how it signs, and its name (hash algorithm and digest of its TPMT_PUBLIC)."""

    key: AttestationKey
    scheme: int
    hash_alg: int
    name: bytes


def read_ak(text: str) -> AkPublic:
    """Read a TPMT_PUBLIC or TPM2B_PUBLIC in base64. Raises IdentityRefused unless it is a fit attestation key."""
    content = _unwrapped(decode(text, "attestation key"))
    reader = Reader(content, "attestation key")
    kind, name_alg = reader.number(2), reader.number(2)
    if name_alg not in HASHES:
        raise invalid(f"The attestation key's name rests on the hash 0x{name_alg:04x}, which is not accepted")
    _check_attributes(reader.number(4))
    reader.sized(_MAX_DIGEST)
    scheme, hash_alg = _read_scheme(reader, kind)
    key = _read_rsa(reader) if kind == Alg.RSA else _read_ecc(reader)
    reader.end()
    return AkPublic(key, scheme, hash_alg, key_name(name_alg, content))


def key_name(name_alg: int, public: bytes) -> bytes:
    """The name of a TPM object: its hash algorithm and the digest of its TPMT_PUBLIC."""
    return number(name_alg, 2) + hashlib.new(HASHES[name_alg]().name, public).digest()


def _unwrapped(content: bytes) -> bytes:
    """Without the length that a TPM2B_PUBLIC begins with; a TPMT_PUBLIC of that length would hold no key."""
    return content[2:] if int.from_bytes(content[:2], "big") == len(content) - 2 else content


def _check_attributes(attributes: int) -> None:
    missing = _NEEDED & ~Attribute(attributes & _NEEDED)
    if missing:
        names = ", ".join(str(flag.name).lower().replace("_", "-") for flag in missing)
        raise invalid(f"The attestation key lacks {names}: what it signs proves nothing")
    if attributes & Attribute.DECRYPT:
        raise invalid("The attestation key may also decrypt; only a key for signing is accepted")


def _read_scheme(reader: Reader, kind: int) -> tuple[int, int]:
    """The signing scheme and its hash. A key that signs has no symmetric algorithm."""
    if kind not in _SCHEMES:
        raise invalid(f"The attestation key is of type 0x{kind:04x}, neither RSA nor ECC")
    if reader.number(2) != Alg.NULL:
        raise invalid("The attestation key is a storage key")
    scheme = reader.number(2)
    if scheme not in _SCHEMES[Alg(kind)]:
        raise invalid(f"The attestation key signs by the scheme 0x{scheme:04x}, which is not accepted")
    hash_alg = reader.number(2)
    if hash_alg not in HASHES:
        raise invalid(f"The attestation key signs with the hash 0x{hash_alg:04x}, which is not accepted")
    return scheme, hash_alg


def _read_rsa(reader: Reader) -> rsa.RSAPublicKey:
    bits, exponent = reader.number(2), reader.number(4)
    modulus = reader.sized(max(_RSA_BITS) // 8)
    value = int.from_bytes(modulus, "big")
    if bits not in _RSA_BITS or value.bit_length() != bits or value % 2 == 0:
        raise invalid("The attestation key is not RSA of 2048, 3072 or 4096 bits")
    try:
        return rsa.RSAPublicNumbers(exponent or 65537, value).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise invalid("The attestation key is no RSA key") from error


def _read_ecc(reader: Reader) -> ec.EllipticCurvePublicKey:
    curve, derivation = reader.number(2), reader.number(2)
    if curve not in CURVES or derivation != Alg.NULL:
        raise invalid("The attestation key is on none of the curves P-256, P-384 and P-521")
    x, y = (int.from_bytes(reader.sized(_MAX_COORDINATE), "big") for _ in "xy")
    try:
        return ec.EllipticCurvePublicNumbers(x, y, CURVES[curve]()).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise invalid("The attestation key is no point on its curve") from error
