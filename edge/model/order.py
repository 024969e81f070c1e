"""What somebody wants rolled out, before it is planned, and what it is carried out with."""

from __future__ import annotations

from pydantic import Field

from edge.model.base import Value
from edge.model.rollout import Strategy
from edge.model.site import SiteSelector


class Blocks(Value):
    """Names of the blocks that a rollout works with."""

    ledger: str = "default"
    credentials: str = "default"
    secrets: str = "default"
    policies: str = "default"
    gitops: str = "default"
    arc: str = "default"


class RolloutOrder(Value):
    """A stamp on sites. `parameters` are the same for all sites; a secret's value is a reference."""

    stamp: str
    sites: SiteSelector = SiteSelector()
    parameters: dict[str, str] = {}
    strategy: Strategy = Strategy()
    allow_downgrade: bool = False
    by: str = Field(default="", max_length=200)
    """Who asks for it, for the audit trail; empty: the platform itself."""
