"""Events that came in through the gateway, as stored."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime, Field

from edge.model.base import Value


class EventState(StrEnum):
    """What became of a stored event."""

    STORED = "stored"
    SENT = "sent"
    """The Prefect server has it; the run it starts has not claimed it yet."""
    HANDLED = "handled"
    SUPERSEDED = "superseded"
    """A newer event about the same device was there before it; kept for the record, acted on by nobody."""


class IncomingEvent(Value):
    """An event, whatever schema it came in (CloudEvents or Event Grid). Unique by `source` and `id`."""

    id: str = Field(min_length=1, max_length=256)
    source: str = Field(min_length=1, max_length=1024)
    type: str = Field(min_length=1, max_length=256)
    subject: str = Field(default="", max_length=1024)
    time: AwareDatetime
    data: dict[str, Any] = {}
