"""When a connected cluster counts as connected, offline or expired."""

from __future__ import annotations

from datetime import datetime, timedelta

from edge.lab.azure.agents import AgentsSeen
from edge.lab.azure.options import AzureOptions
from edge.lab.azure.store import Resource, Store

CERTIFICATE_LIFE = timedelta(days=90)
RENEW_AFTER = timedelta(days=46)
OFFLINE_AFTER = timedelta(minutes=15)
"""Azure calls a cluster offline when it has not heard of it for this long."""


def refresh(store: Store, options: AzureOptions, resource: Resource) -> None:
    """Look at the cluster's agents, if any, and bring what the service says about the connection up to date."""
    if resource.properties["provisioningState"] != "Succeeded":
        return
    now = store.now()
    seen = _caller(options, resource)
    if seen is not None and not _expired(resource, now):
        _heard(resource, seen, now)
        store.dirty = True
    status = _status(resource, now)
    if resource.properties["connectivityStatus"] != status:
        resource.properties["connectivityStatus"] = status
        store.dirty = True


def _caller(options: AzureOptions, resource: Resource) -> AgentsSeen | None:
    """The agents that call in as this resource: theirs is the key that was registered, and all of them run."""
    key = resource.properties.get("agentPublicKeyCertificate", "")
    if options.agents is None:
        return AgentsSeen(resource_id=resource.id, public_key=key, ready=True)
    seen = options.agents(str(resource.body["name"]))
    if seen is None or not seen.ready or seen.public_key != key:
        return None
    return seen if seen.resource_id.lower() == resource.id.lower() else None


def _heard(resource: Resource, seen: AgentsSeen, now: datetime) -> None:
    issued = resource.hidden.get("certificate_issued")
    if issued is None or now - datetime.fromisoformat(issued) >= RENEW_AFTER:
        resource.hidden["certificate_issued"] = now.isoformat()
        resource.properties["managedIdentityCertificateExpirationTime"] = (now + CERTIFICATE_LIFE).isoformat()
    resource.properties.update(
        lastConnectivityTime=now.isoformat(),
        agentVersion=seen.agent_version,
        kubernetesVersion=seen.kubernetes_version,
        totalNodeCount=seen.nodes,
        totalCoreCount=seen.cores,
    )
    profile = resource.properties.setdefault("arcAgentProfile", {})
    profile["agentState"] = "Succeeded"


def _expired(resource: Resource, now: datetime) -> bool:
    issued = resource.hidden.get("certificate_issued")
    return issued is not None and now - datetime.fromisoformat(issued) >= CERTIFICATE_LIFE


def _status(resource: Resource, now: datetime) -> str:
    last = resource.properties.get("lastConnectivityTime")
    if last is None:
        return "Connecting"
    if _expired(resource, now):
        return "Expired"
    return "Connected" if now - datetime.fromisoformat(last) < OFFLINE_AFTER else "Offline"
