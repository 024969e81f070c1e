"""Durations as Go writes them, `1h30m`; Flux's definitions refuse any other form."""

from __future__ import annotations

import re

_PART = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """So many seconds; 0 for a text that is no duration."""
    return sum(float(part["number"]) * _UNITS[part["unit"]] for part in _PART.finditer(text))
