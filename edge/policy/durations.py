"""Lengths of time as people write them: `90s`, `30m`, `12h`, `7d`, `2w`."""

from __future__ import annotations

import re
from datetime import timedelta

from edge.errors import InvalidInput

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_WRITTEN = re.compile(r"([0-9]{1,6})([smhdw])")


def parse_duration(text: str, *, field: str) -> timedelta:
    """The length of time. Raises InvalidInput naming `field`."""
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        remedy = "Write a whole number and a unit: 90s, 30m, 12h, 7d or 2w"
        raise InvalidInput("This is no length of time", field=field, value=text, remedy=remedy)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def short_seconds(seconds: float | None) -> str:
    """Seconds for people, in as much detail as matters: `0.04 s`, `12.3 s`, `92 s`, `22 min`, `3.1 h`."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 20 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3_600:.1f} h"
