"""The `Date` of an HTTP answer: what the other side takes for the time."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def moment(date: str) -> datetime | None:
    """The header's moment, UTC, to the second; None when there is none or it cannot be read."""
    try:
        found = parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
