"""Which devices are let in, and where they belong."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from prefect.blocks.core import Block
from pydantic import Field

from edge.clients.files import read_text
from edge.errors import InvalidInput
from edge.model.admission import AdmissionPolicy, Trust
from edge.model.assignment import AssignmentRules
from edge.model.baseline import Baseline
from edge.policy.admission import parse_admission_policy
from edge.policy.assignment import parse_rules
from edge.policy.baseline import parse_baseline
from edge.policy.identity import trusted_certificates
from edge.settings import Settings

SHIPPED_BASELINE = Path(__file__).parents[1] / "deployments" / "baseline.yaml"

_REMEDY = "Set EDGE_TRUST and EDGE_ASSIGNMENT, and apply with --overwrite-blocks; or edit the block"


class DeviceAdmission(Block):
    """The manufacturers that are trusted, and the rules that give a device its site and tenant."""

    _block_type_name = "Edge device admission"
    _block_type_slug = "edge-device-admission"

    trusted: str = Field(default="", description="CA certificates of the manufacturers, PEM.")
    voucher_trusted: str = Field(default="", description="CA certificates of those who sign ownership vouchers, PEM.")
    tpm_trusted: str = Field(default="", description="CA certificates of the makers of TPMs, PEM.")
    policy: str = Field(default="", description="How much a device must prove, YAML. Empty: the defaults.")
    rules: str = Field(default="", description="Assignment rules, YAML.")
    baseline: str = Field(default="", description="What every site gets, YAML. Empty: the baseline that is shipped.")

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The files that `EDGE_TRUST` and `EDGE_ASSIGNMENT` name. Raises InvalidInput when one is no good."""
        trust, assignment = settings.trust, settings.assignment
        made = cls(
            trusted=_text(trust),
            voucher_trusted=_text(settings.voucher_trust),
            tpm_trusted=_text(settings.tpm_trust),
            policy=_text(settings.admission),
            rules=_text(assignment),
        )
        _check(made.voucher_trusted, str(settings.voucher_trust))
        _check(made.tpm_trusted, str(settings.tpm_trust))
        made.admission_policy(origin=str(settings.admission))
        if trust:
            made.anchors(origin=str(trust))
        if assignment:
            made.assignment_rules(origin=str(assignment))
        if settings.baseline:
            made.baseline = read_text(settings.baseline)
            made.site_baseline(origin=str(settings.baseline))
        return made

    def anchors(self, origin: str = "the block's trusted") -> tuple[str, ...]:
        """The manufacturers' certificates, PEM. Raises InvalidInput without any, or with one that is no CA's."""
        if not self.trusted:
            raise InvalidInput("No manufacturer is trusted", remedy=_REMEDY, file=origin, field="trusted")
        return _check(self.trusted, origin)

    def trust(self) -> Trust:
        """Whom to trust, and how much a device must prove. Raises InvalidInput when a part cannot be used."""
        return Trust(
            anchors=self.anchors(),
            voucher_anchors=_check(self.voucher_trusted, "the block's voucher_trusted"),
            tpm_anchors=_check(self.tpm_trusted, "the block's tpm_trusted"),
            policy=self.admission_policy(),
        )

    def admission_policy(self, origin: str = "the block's policy") -> AdmissionPolicy:
        """How much a device must prove. Raises InvalidInput when it cannot be used."""
        return parse_admission_policy(self.policy, origin=origin) if self.policy else AdmissionPolicy()

    def assignment_rules(self, origin: str = "the block's rules") -> AssignmentRules:
        """The rules. Raises InvalidInput without any, or with one that cannot be used."""
        if not self.rules:
            raise InvalidInput("There are no assignment rules", remedy=_REMEDY, file=origin, field="rules")
        return parse_rules(self.rules, origin=origin)

    def site_baseline(self, origin: str = "the block's baseline") -> Baseline:
        """What every site gets before any stamp. Raises InvalidInput when it cannot be used."""
        if not self.baseline:
            return parse_baseline(read_text(SHIPPED_BASELINE), origin=str(SHIPPED_BASELINE))
        return parse_baseline(self.baseline, origin=origin)


def _text(file: Path | None) -> str:
    return read_text(file) if file else ""


def _check(pem: str, origin: str) -> tuple[str, ...]:
    """The certificates as the policy takes them; none for an empty text. Raises InvalidInput when one is no CA's."""
    if not pem:
        return ()
    try:
        trusted_certificates((pem,))
    except InvalidInput as error:
        raise InvalidInput(error.what, remedy=error.remedy, file=origin, **error.where) from error
    return (pem,)
