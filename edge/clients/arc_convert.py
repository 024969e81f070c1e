"""From the SDK's models to ours and back."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from azure.mgmt.hybridkubernetes import models as sdk

from edge.model.arc import ArcTarget, ClusterPlatform, ConnectedCluster


def wanted(
    target: ArcTarget, public_key: str, tags: Mapping[str, str], platform: ClusterPlatform
) -> sdk.ConnectedCluster:
    """The body of a PUT."""
    return sdk.ConnectedCluster(
        location=target.location,
        tags=dict(tags),
        identity=sdk.ConnectedClusterIdentity(type=sdk.ResourceIdentityType.SYSTEM_ASSIGNED),
        properties=sdk.ConnectedClusterProperties(
            agent_public_key_certificate=public_key,
            distribution=platform.distribution,
            infrastructure=platform.infrastructure,
        ),
    )


def found(resource: sdk.ConnectedCluster) -> ConnectedCluster:
    """The resource as the platform sees it."""
    properties = resource.properties
    return ConnectedCluster(
        resource_id=resource.id or "",
        location=resource.location,
        public_key=properties.agent_public_key_certificate or "",
        provisioning_state=_word(properties.provisioning_state),
        connectivity=_word(properties.connectivity_status),
        agent_version=properties.agent_version or "",
        certificate_expires=properties.managed_identity_certificate_expiration_time,
        last_connected=properties.last_connectivity_time,
        tags=dict(resource.tags or {}),
        tenant_id=(resource.identity.tenant_id if resource.identity else None) or "",
    )


def _word(value: str | Enum | None) -> str:
    """An enum's text, or the text itself when Azure knows a word that the SDK does not."""
    return str(value.value) if isinstance(value, Enum) else value or ""
