"""Kubernetes quantities (`250m`, `1Gi`): read, added, written."""

from __future__ import annotations

import re
from decimal import Decimal

# Decimal reads more than Kubernetes does: NaN, underscores, exponents that fill the memory.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?")
_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


def parse(text: str | float) -> Decimal:
    """The amount in base units (cores, bytes, pieces). Raises ValueError when it is not a quantity."""
    word = str(text).strip()
    for size in (2, 1):
        factor = _SUFFIXES.get(word[-size:])
        if factor is not None and len(word) > size:
            return _number(word[:-size]) * factor
    return _number(word)


def _number(word: str) -> Decimal:
    if not _NUMBER.fullmatch(word):
        raise ValueError(f"not a quantity: {word!r}")
    return Decimal(word)


def text(amount: Decimal, like: str = "") -> str:
    """A quantity in the unit family of `like`: `m` for fractions, binary suffixes when `like` has one."""
    if amount != amount.to_integral_value():
        return f"{int(amount * 1000)}m"
    whole = int(amount)
    if like.endswith("i"):
        for suffix in ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki"):
            unit = int(_SUFFIXES[suffix])
            if whole and whole % unit == 0:
                return f"{whole // unit}{suffix}"
    return str(whole)
