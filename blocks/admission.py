"""Which devices are let in, and where they belong."""

from __future__ import annotations

from typing import Self

from prefect.blocks.core import Block
from pydantic import Field

from edge.settings import Settings


class DeviceAdmission(Block):
    """The manufacturers that are trusted, and the rules that give a device its site and tenant."""

    _block_type_name = "Edge device admission"
    _block_type_slug = "edge-device-admission"

    trusted: str = Field(default="", description="CA certificates of the manufacturers, PEM.")
    rules: str = Field(default="", description="Assignment rules, YAML.")

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The files that `EDGE_TRUST` and `EDGE_ASSIGNMENT` name."""
        return cls(
            trusted=settings.trust.read_text() if settings.trust else "",
            rules=settings.assignment.read_text() if settings.assignment else "",
        )
