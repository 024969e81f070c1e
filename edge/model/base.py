"""What every value has in common: frozen, and closed against unknown fields."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """A frozen value. An unknown field is an error, so that a typing mistake is never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")
