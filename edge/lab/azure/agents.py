"""The Arc agents as Azure would hear of them: read from the cluster they run in, when somebody asks."""

from __future__ import annotations

from dataclasses import dataclass


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
