"""Which of two semantic versions is the newer one (semver.org 2.0.0, chapter 11), and that a site does not go back."""

from __future__ import annotations

import re
from functools import total_ordering

from edge.errors import InvalidInput

_VERSION = re.compile(r"v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-([0-9A-Za-z.-]+))?(?:\+.*)?", re.ASCII)


@total_ordering
class _Word:
    """One identifier of a pre-release: numbers come before words, and numbers count as numbers."""

    def __init__(self, text: str) -> None:
        is_number = text.isascii() and text.isdigit()
        self._key = (0, int(text), "") if is_number else (1, 0, text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Word) and self._key == other._key

    def __lt__(self, other: _Word) -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)


def compare(one: str, other: str) -> int:
    """-1 when `one` is the older version, 0 when they rank alike, 1 when it is the newer. Build metadata is ignored.

    Raises InvalidInput for what is no semantic version.
    """
    mine, theirs = _key(one), _key(other)
    return (mine > theirs) - (mine < theirs)


def is_newer(version: str, than: str) -> bool:
    """Whether a version comes after another. What is no semantic version, as a device may report, is never newer."""
    return bool(_VERSION.fullmatch(version) and _VERSION.fullmatch(than)) and compare(version, than) > 0


def refuse_downgrade(have: str, want: str, **where: object) -> None:
    """Raises InvalidInput when `want` is older than `have`; `where` says what this is about, such as site and stamp."""
    if compare(want, have) < 0:
        raise InvalidInput(
            "This version is older than the one that is there",
            remedy="Allow the way back with --allow-downgrade, or give the content a newer version",
            has=have,
            version=want,
            **where,
        )


def _key(version: str) -> tuple[tuple[int, ...], bool, list[_Word]]:
    """A version without a pre-release is newer than one with it; of two that begin alike the longer is newer."""
    found = _VERSION.fullmatch(version)
    if found is None:
        raise InvalidInput("This is not a semantic version", field="version", value=version)
    *numbers, before = found.groups()
    return tuple(map(int, numbers)), before is None, [_Word(word) for word in before.split(".")] if before else []
