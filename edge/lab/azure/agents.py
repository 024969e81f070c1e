"""The Arc agents as Azure would hear of them: read from the cluster they run in, when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class AgentsSeen:
    """Arc agents that run on a cluster and can call Azure.

    `public_key` is that of the private key they hold (base64 of DER SEQUENCE(n, e)); `resource_id` is the connected
    cluster they say they belong to. `ready` means that every agent Deployment is available.
    """

    resource_id: str
    public_key: str
    ready: bool
    agent_version: str = ""
    kubernetes_version: str = ""
    nodes: int = 0
    cores: int = 0


class FluxAgents(Protocol):
    """The agents for Flux at sites that can be reached. `config` is the name of a fluxConfiguration."""

    def bring(self, name: str, config: str, properties: Mapping[str, Any]) -> str:
        """Make the site's objects what the configuration says; what went wrong, or ""."""
        ...

    def take(self, name: str, config: str) -> None:
        """Remove the configuration's objects from the site."""
        ...

    def look(self, name: str, config: str) -> dict[str, Any]:
        """The properties that a report changes."""
        ...
