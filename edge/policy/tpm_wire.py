"""Reads the TPM's own encoding: big-endian numbers and byte strings with a 16-bit length before them.

What a device sends is hostile until proven otherwise: a reader never takes more than is there, and is asked at the end
whether all was read. Whatever is wrong is IdentityRefused with the reason `attestation-invalid`, and nothing else.
"""

from __future__ import annotations

import base64
import binascii

from edge.errors import IdentityRefused
from edge.model.identity import Refusal

MAX_BYTES = 4096
"""No structure that is read here is longer: the largest is an RSA-4096 key of about 800 bytes."""


class Reader:
    """Takes bytes from the front. `part` names the structure in refusals."""

    def __init__(self, content: bytes, part: str) -> None:
        self._rest = content
        self._part = part

    def number(self, size: int) -> int:
        """An unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def sized(self, limit: int) -> bytes:
        """A byte string with its 16-bit length before it (TPM2B), of at most `limit` bytes."""
        size = self.number(2)
        if size > limit:
            raise invalid(f"The {self._part} has a field of {size} bytes where at most {limit} may be")
        return self.take(size)

    def take(self, size: int) -> bytes:
        if size > len(self._rest):
            raise invalid(f"The {self._part} is cut short")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def rest(self) -> bytes:
        """All that was not taken yet."""
        return self.take(len(self._rest))

    def end(self) -> None:
        if self._rest:
            raise invalid(f"The {self._part} has {len(self._rest)} bytes too many")


def decode(text: str, part: str) -> bytes:
    """Base64 to bytes, refusing what is not base64 and what is too long."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(f"The {part} is not base64") from error
    if len(content) > MAX_BYTES:
        raise invalid(f"The {part} has {len(content)} bytes, at most {MAX_BYTES} are read")
    return content


def number(value: int, size: int) -> bytes:
    """An unsigned number as the TPM writes it."""
    return value.to_bytes(size, "big")


def sized(content: bytes) -> bytes:
    """A byte string with its 16-bit length before it (TPM2B)."""
    return number(len(content), 2) + content


def invalid(what: str) -> IdentityRefused:
    """A refusal for an attestation that cannot be read, or does not hold."""
    return refused(Refusal.ATTESTATION_INVALID, what, "Let the device ask for a new challenge and quote again")


def refused(reason: Refusal, what: str, remedy: str) -> IdentityRefused:
    """A refusal with its reason in `where`."""
    return IdentityRefused(what, reason=reason.value, remedy=remedy)
