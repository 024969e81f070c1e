"""Fencing: who may write to a site right now, by a token that only grows."""

from __future__ import annotations

from enum import StrEnum

from edge.model.base import Value
from edge.model.names import SiteName


class FenceGuard(StrEnum):
    """Who sees to it that an old token writes nothing."""

    SITE = "site"
    """The site's own admission compares each write's token with its lease."""
    LEASE = "lease"
    """The site cannot: the platform looks at the lease before each write, which leaves a gap of one request."""


class Fence(Value):
    """The right to write to a site: `holder` has the lease, and `token` goes with each write."""

    site: SiteName
    holder: str
    token: int
    guard: FenceGuard
