"""Azure Arc: what is known of a cluster's connection, and what to do about it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime

from edge.model.base import Value


class AgentsOnCluster(StrEnum):
    """What is found on the cluster."""

    ABSENT = "absent"
    PRESENT = "present"
    PRESENT_WITHOUT_CONFIG = "present-without-config"
    """The agents' namespace or release is there, but its ConfigMap is not."""


class ArcTarget(Value):
    """Where a connected cluster lives in Azure."""

    subscription_id: str
    resource_group: str
    name: str
    location: str

    @property
    def resource_id(self) -> str:
        """The ARM resource id."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.Kubernetes/connectedClusters/{self.name}"
        )


class ConnectedCluster(Value):
    """The ARM resource, as far as the platform cares."""

    resource_id: str
    location: str
    public_key: str
    """Base64 of DER SEQUENCE(n, e)."""
    provisioning_state: str = ""
    connectivity: str = ""
    agent_version: str = ""
    certificate_expires: AwareDatetime | None = None
    last_connected: AwareDatetime | None = None
    """When Azure last heard of the agents."""
    tags: dict[str, str] = {}
    tenant_id: str = ""
    """The Entra tenant of the cluster's identity."""


class ClusterPlatform(Value):
    """What a cluster runs on, in the words that Azure Arc uses for `distribution` and `infrastructure`."""

    distribution: str = "generic"
    infrastructure: str = "generic"


class AgentsFound(Value):
    """The Arc agents found on a cluster.

    `public_key` is that of the private key they hold; `resource_id` is the connected cluster their ConfigMap names;
    `onboarding` is the work that the platform wrote on their namespace before it installed them, "" when it did not.
    """

    state: AgentsOnCluster
    public_key: str | None = None
    resource_id: str = ""
    version: str = ""
    onboarding: str = ""


class EgressCheck(StrEnum):
    """What is done about a cluster's way out to Azure before it is connected."""

    OFF = "off"
    """It is not looked at."""
    ON = "on"
    """A way that is found closed refuses the connect; a look that could not be taken is a warning."""
    STRICT = "strict"
    """A look that could not be taken refuses the connect too."""


class ConnectPatience(Value):
    """How long a connect waits, in seconds.

    `agents_s`: until the agents are ready; their chart took 90 s on a large cluster and over 22 minutes on a small one.
    `away_s`: how long the cluster may be away meanwhile. `call_in_s`: until ready agents have called Azure.
    """

    agents_s: float = 1800.0
    away_s: float = 120.0
    call_in_s: float = 600.0
    look_every_s: float = 1.0


class Endpoint(Value):
    """An address that the agents call over TLS."""

    host: str
    port: int = 443

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class ConnectAction(StrEnum):
    """The answer of the decision table."""

    NEW = "new"
    REUSE_KEY = "reuse-key"
    """PUT again with the key that is registered already."""
    CLEAN_THEN_NEW = "clean-then-new"
    """Remove the agents that are there, then go on as new."""
    REFUSE_ELSEWHERE = "refuse-onboarded-elsewhere"
    REFUSE_NAME_TAKEN = "refuse-name-taken"
    REFUSE_BROKEN = "refuse-broken-agents"
