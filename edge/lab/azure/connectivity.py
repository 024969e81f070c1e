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

_IN_CONTACT = "in_contact"
"""Whether the agents could call at the last look."""


def refresh(store: Store, options: AzureOptions, resource: Resource) -> None:
    """Look at the cluster's agents, if any, and bring what the service says about the connection up to date.

    Agents that were in contact at the last look and are now have been in contact all the time between: whatever would
    have cut them off has its own look (`contact_changed`). So they have renewed their certificate on the way.
    """
    if resource.properties["provisioningState"] != "Succeeded":
        return
    now = store.now()
    seen = _caller(options, resource)
    if seen is not None and resource.hidden.get(_IN_CONTACT):
        _called(resource, now)
    reached = seen is not None and not _expired(resource, now)
    if seen is not None and reached:
        _called(resource, now)
        _told(resource, seen)
        store.dirty = True
    _note(store, resource, in_contact=reached, status=_status(resource, now))


def contact_changed(store: Store, options: AzureOptions, resource: Resource) -> None:
    """The way between agents and Azure has just changed: until this moment things were as at the last look."""
    if resource.hidden.get(_IN_CONTACT):
        _called(resource, store.now())
    refresh(store, options, resource)


def reachable(options: AzureOptions, resource: Resource) -> bool:
    """Whether the cluster's own agents can call now."""
    return resource.properties["provisioningState"] == "Succeeded" and _caller(options, resource) is not None


def _note(store: Store, resource: Resource, *, in_contact: bool, status: str) -> None:
    if (resource.hidden.get(_IN_CONTACT), resource.properties["connectivityStatus"]) != (in_contact, status):
        resource.hidden[_IN_CONTACT] = in_contact
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


def _called(resource: Resource, now: datetime) -> None:
    """The agents have called in up to now: at the first call, and at each that comes 46 days after a certificate was
    issued, they got a new one."""
    known = resource.hidden.get("certificate_issued")
    issued = datetime.fromisoformat(known) if known else now
    while now - issued >= RENEW_AFTER:
        issued += RENEW_AFTER if resource.hidden.get(_IN_CONTACT) else now - issued
    if known != issued.isoformat():
        resource.hidden["certificate_issued"] = issued.isoformat()
        resource.properties["managedIdentityCertificateExpirationTime"] = (issued + CERTIFICATE_LIFE).isoformat()
    resource.properties["lastConnectivityTime"] = now.isoformat()


def _told(resource: Resource, seen: AgentsSeen) -> None:
    """What agents say of themselves and of their cluster when they call."""
    resource.properties.update(
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
