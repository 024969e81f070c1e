"""Kinds of objects, as stage files name them."""

from __future__ import annotations

Kind = tuple[str, str]
"""(group, kind)"""


def parse_kind(text: str) -> Kind:
    """`apps/Deployment` -> ("apps", "Deployment"); the core group is left out: `Pod`."""
    group, _, kind = text.rpartition("/")
    return group, kind
