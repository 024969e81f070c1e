"""Where the platform's memory is."""

from __future__ import annotations

from typing import Self

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from edge.ledger import Ledger
from edge.settings import Settings


class EdgeLedger(Block):
    """The ledger: tenants, sites, devices, stamps, rollouts, steps and the audit trail."""

    _block_type_name = "Edge ledger"
    _block_type_slug = "edge-ledger"

    url: SecretStr = Field(description="SQLAlchemy URL of a SQLite file or a PostgreSQL database.")
    claim_s: float = Field(
        default=100.0, ge=1, description="Seconds after which a run that does not renew its claims is taken for dead."
    )

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The ledger that `EDGE_LEDGER_URL` names."""
        return cls(url=SecretStr(settings.ledger), claim_s=settings.claim_s)

    def client(self) -> Ledger:
        """Open the ledger, bringing its tables up to date."""
        return Ledger.open(self.url.get_secret_value())
