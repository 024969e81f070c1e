"""Quotes: reads a TPMS_ATTEST of type quote and its TPMT_SIGNATURE, and checks the one against the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from edge.policy.tpm_key import HASHES, AkPublic, Alg
from edge.policy.tpm_wire import Reader, decode, invalid

MAGIC: Final = 0xFF544347
"""What the TPM writes in front of all that it makes itself; a restricted key signs nothing else that begins so."""
QUOTE: Final = 0x8018

BANKS: Final[dict[int, str]] = {Alg.SHA1: "sha1", Alg.SHA256: "sha256", Alg.SHA384: "sha384", Alg.SHA512: "sha512"}
_MAX_BANKS: Final = 8
_MAX_SELECT: Final = 4
_MAX_NAME: Final = 66
_MAX_DIGEST: Final = 64
_MAX_SIGNATURE: Final = 512


@dataclass(frozen=True)
class ClockInfo:
    """The TPM's clock in ms, how often it was reset and resumed, and whether the clock may be behind its own past."""

    clock: int
    resets: int
    restarts: int
    safe: bool


@dataclass(frozen=True)
class Quote:
    """What the TPM says of its PCRs. `selection` is bank and index in the order of the digest."""

    extra_data: bytes
    clock: ClockInfo
    firmware_version: int
    selection: tuple[tuple[str, int], ...]
    pcr_digest: bytes


def read_quote(content: bytes) -> Quote:
    """Read a TPMS_ATTEST. Raises IdentityRefused unless it is a whole quote."""
    reader = Reader(content, "quote")
    if reader.number(4) != MAGIC:
        raise invalid("The quote was not made by a TPM")
    if reader.number(2) != QUOTE:
        raise invalid("The attested structure is no quote")
    reader.sized(_MAX_NAME)
    extra_data = reader.sized(_MAX_DIGEST + 2)
    clock = ClockInfo(reader.number(8), reader.number(4), reader.number(4), _yes_or_no(reader))
    quote = Quote(extra_data, clock, reader.number(8), _read_selection(reader), reader.sized(_MAX_DIGEST))
    reader.end()
    return quote


def check_signature(text: str, quote: bytes, ak: AkPublic) -> None:
    """Check a TPMT_SIGNATURE in base64 over the quote's bytes. Raises IdentityRefused when it does not hold."""
    reader = Reader(decode(text, "signature"), "signature")
    scheme, hash_alg = reader.number(2), reader.number(2)
    if (scheme, hash_alg) != (ak.scheme, ak.hash_alg):
        raise invalid("The quote is signed by another scheme than the attestation key's own")
    parts = [reader.sized(_MAX_SIGNATURE) for _ in range(2 if scheme == Alg.ECDSA else 1)]
    reader.end()
    try:
        _verify(ak, parts, quote)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm) as error:
        raise invalid("The quote is not signed by the attestation key") from error


def _verify(ak: AkPublic, parts: list[bytes], quote: bytes) -> None:
    algorithm = HASHES[ak.hash_alg]()
    if isinstance(ak.key, ec.EllipticCurvePublicKey):
        r, s = (int.from_bytes(part, "big") for part in parts)
        ak.key.verify(encode_dss_signature(r, s), quote, ec.ECDSA(algorithm))
        return
    # TPMs differ in the length of the salt: that of the digest, or as long as the key allows.
    pss = padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO)
    ak.key.verify(parts[0], quote, padding.PKCS1v15() if ak.scheme == Alg.RSASSA else pss, algorithm)


def _yes_or_no(reader: Reader) -> bool:
    value = reader.number(1)
    if value > 1:
        raise invalid("The quote's clock is malformed")
    return value == 1


def _read_selection(reader: Reader) -> tuple[tuple[str, int], ...]:
    count = reader.number(4)
    if count > _MAX_BANKS:
        raise invalid(f"The quote selects from {count} banks, at most {_MAX_BANKS} are read")
    banks = [_read_bank(reader) for _ in range(count)]
    names = [bank for bank, _ in banks]
    if len(set(names)) != len(names):
        raise invalid("The quote names a bank twice")
    return tuple((bank, index) for bank, indices in banks for index in indices)


def _read_bank(reader: Reader) -> tuple[str, list[int]]:
    algorithm, size = reader.number(2), reader.number(1)
    if size > _MAX_SELECT:
        raise invalid("The quote's selection is malformed")
    bits = int.from_bytes(reader.take(size), "little")
    indices = [index for index in range(size * 8) if bits >> index & 1]
    if algorithm not in BANKS and indices:
        raise invalid(f"The quote selects from the bank 0x{algorithm:04x}, which is not read")
    return BANKS.get(algorithm, f"0x{algorithm:04x}"), indices
