"""Which devices are let in, and where they belong."""

from __future__ import annotations

from typing import Self

from prefect.blocks.core import Block
from pydantic import Field

from edge.clients.files import read_text
from edge.errors import InvalidInput
from edge.model.assignment import AssignmentRules
from edge.policy.assignment import parse_rules
from edge.policy.identity import trusted_certificates
from edge.settings import Settings

_REMEDY = "Set EDGE_TRUST and EDGE_ASSIGNMENT, and apply with --overwrite-blocks; or edit the block"


class DeviceAdmission(Block):
    """The manufacturers that are trusted, and the rules that give a device its site and tenant."""

    _block_type_name = "Edge device admission"
    _block_type_slug = "edge-device-admission"

    trusted: str = Field(default="", description="CA certificates of the manufacturers, PEM.")
    rules: str = Field(default="", description="Assignment rules, YAML.")

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The files that `EDGE_TRUST` and `EDGE_ASSIGNMENT` name. Raises InvalidInput when one is no good."""
        trust, assignment = settings.trust, settings.assignment
        made = cls(trusted=read_text(trust) if trust else "", rules=read_text(assignment) if assignment else "")
        if trust:
            made.anchors(origin=str(trust))
        if assignment:
            made.assignment_rules(origin=str(assignment))
        return made

    def anchors(self, origin: str = "the block's trusted") -> tuple[str, ...]:
        """The manufacturers' certificates, PEM. Raises InvalidInput without any, or with one that is no CA's."""
        if not self.trusted:
            raise InvalidInput("No manufacturer is trusted", remedy=_REMEDY, file=origin, field="trusted")
        try:
            trusted_certificates((self.trusted,))
        except InvalidInput as error:
            raise InvalidInput(error.what, remedy=error.remedy, file=origin, **error.where) from error
        return (self.trusted,)

    def assignment_rules(self, origin: str = "the block's rules") -> AssignmentRules:
        """The rules. Raises InvalidInput without any, or with one that cannot be used."""
        if not self.rules:
            raise InvalidInput("There are no assignment rules", remedy=_REMEDY, file=origin, field="rules")
        return parse_rules(self.rules, origin=origin)
