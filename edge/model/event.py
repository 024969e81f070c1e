"""Events that came in through the gateway, as stored."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime, Field

from edge.model.base import Value
from edge.model.device import Origin


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


EventKey = tuple[str, str]
"""`source` and `id`: what makes an event unique."""


class StoredEvent(Value):
    """An event in the inbox, and how far it has come."""

    event: IncomingEvent
    state: EventState
    received_at: AwareDatetime
    batch: str | None = None
    """The batch it was last sent in."""
    sent_at: AwareDatetime | None = None
    sends: int = 0
    """How often it was sent."""
    claimed_at: AwareDatetime | None = None
    """When a run took it to work on it."""
    via: Origin = Origin.EVENT
    """By which way it came in."""

    @property
    def key(self) -> EventKey:
        """What the inbox knows it by."""
        return (self.event.source, self.event.id)
