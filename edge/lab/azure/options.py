"""What one may set about the pretend Azure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from edge.lab.azure.agents import AgentsSeen, FluxAgents

SUBSCRIPTION_ID = "00000000-0000-4000-8000-0000000000ed"
TENANT_ID = "00000000-0000-4000-8000-00000000007e"


class Clock(Protocol):
    """The lab's clock, as far as Azure needs it."""

    def now(self) -> datetime:
        """The lab's time, with a time zone."""
        ...


@dataclass(frozen=True)
class AzureOptions:
    """How the pretend Azure behaves. Times are lab seconds, but for `retry_after_s`: the pause that
    callers are asked to make between two looks at an operation is in their own, real seconds.

    `agents` looks at a site's cluster and says which Arc agents run there (None: none, or the site cannot be reached).
    Without it a cluster counts as connected as soon as it is provisioned. `flux` are the agents that carry Flux
    configurations to sites; without them those are kept and never come into effect. `page_size` is how many items a
    list carries.
    """

    subscription_id: str = SUBSCRIPTION_ID
    tenant_id: str = TENANT_ID
    resource_group: str = "edge"
    location: str = "westeurope"
    provisioning_s: float = 1.5
    deleting_s: float = 0.5
    retry_after_s: float = 1.0
    page_size: int = 100
    agents: Callable[[str], AgentsSeen | None] | None = None
    flux: FluxAgents | None = None
