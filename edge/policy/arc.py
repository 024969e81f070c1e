"""Connecting a cluster to Azure Arc: what to do about the agents and the resource that are there already."""

from __future__ import annotations

from collections.abc import Collection

from edge.errors import ConnectRefused
from edge.model.arc import AgentsFound, AgentsOnCluster, ArcTarget, ConnectAction, ConnectedCluster
from edge.model.base import Value
from edge.policy.arc_keys import public_key_of

__all__ = [
    "NO_TRACES",
    "ONBOARDING_TAG",
    "Traces",
    "decide_connect",
    "home_elsewhere",
    "is_unfinished",
    "made_by",
    "made_with",
    "may_delete",
    "onboarding_tags",
    "public_key_of",
    "read_resource_id",
    "refuse_if_told",
]


class Traces(Value):
    """What is known of whose agents and resource are, beyond their keys.

    `elsewhere`: the agents say that they belong to another connected cluster, and that one exists (`home_elsewhere`).
    `unfinished`: the resource was made by this very onboarding, and no agent ever called in as it (`is_unfinished`).
    `earlier`: the resource was made by an earlier onboarding of the same device (`made_by`). `marked`: the agents, or
    what is left of them, were put there by this onboarding or an earlier one of the same device.
    """

    elsewhere: bool = False
    unfinished: bool = False
    earlier: bool = False
    marked: bool = False


NO_TRACES = Traces()


def decide_connect(
    agents: AgentsOnCluster, cluster_key: str | None, resource: ConnectedCluster | None, known: Traces = NO_TRACES
) -> ConnectAction:
    """The decision table: six rows by agents and resource, and before them what is ours and only half there.

    `cluster_key` is the public key of the agents on the cluster, `resource` the connected cluster under the name that
    is wanted. A resource of this onboarding in which no agent ever called would not have been made over agents of
    somebody else, so what is on the cluster is ours too: unless those agents hold its key, both are deleted and the
    connect goes on as new. So are leftovers of agents of ours without a resource, and, when a device comes back after a
    reset, the resource of its earlier life: its agents are gone or are known to be ours.
    """
    if known.elsewhere:
        return ConnectAction.REFUSE_ELSEWHERE
    if _is_ours_to_clean(agents, resource, known):
        keep = agents is AgentsOnCluster.PRESENT and resource is not None and cluster_key == resource.public_key
        return ConnectAction.REUSE_KEY if keep else ConnectAction.CLEAN_THEN_NEW
    if agents is AgentsOnCluster.PRESENT_WITHOUT_CONFIG:
        return ConnectAction.REFUSE_BROKEN
    if agents is AgentsOnCluster.ABSENT:
        return ConnectAction.NEW if resource is None else ConnectAction.REFUSE_NAME_TAKEN
    return _with_agents(cluster_key, resource)


def _is_ours_to_clean(agents: AgentsOnCluster, resource: ConnectedCluster | None, known: Traces) -> bool:
    if resource is None:
        return known.marked and agents is not AgentsOnCluster.ABSENT
    if known.unfinished:
        return True
    return known.earlier and (known.marked or agents is AgentsOnCluster.ABSENT)


def _with_agents(cluster_key: str | None, resource: ConnectedCluster | None) -> ConnectAction:
    if resource is None:
        return ConnectAction.CLEAN_THEN_NEW
    if cluster_key is None:
        return ConnectAction.REFUSE_BROKEN
    same = cluster_key == resource.public_key
    return ConnectAction.REUSE_KEY if same else ConnectAction.REFUSE_ELSEWHERE


_PARTS = 8
ONBOARDING_TAG = "edge-onboarding"
"""Tag that a connected cluster carries: the id of the onboarding that made it."""


def onboarding_tags(work: str) -> dict[str, str]:
    """The tags by which an onboarding knows its own resource again; `work` is the same on every try."""
    return {ONBOARDING_TAG: work}


def is_unfinished(resource: ConnectedCluster | None, work: str) -> bool:
    """Whether the resource was made by this onboarding and no agent ever called in as it."""
    if resource is None or resource.tags.get(ONBOARDING_TAG) != work:
        return False
    return resource.certificate_expires is None


def made_by(resource: ConnectedCluster | None, works: Collection[str]) -> bool:
    """Whether one of these onboardings made the resource, by its tag. What is not, is never deleted after a failure."""
    return resource is not None and resource.tags.get(ONBOARDING_TAG) in works


def made_with(resource: ConnectedCluster | None, public_key: str) -> bool:
    """Whether the resource was registered with this key."""
    return resource is not None and resource.public_key == public_key


def read_resource_id(resource_id: str, location: str) -> ArcTarget | None:
    """The connected cluster that an ARM id names; None when it names something else."""
    parts = resource_id.strip("/").split("/")
    if len(parts) != _PARTS or parts[6].lower() != "connectedclusters":
        return None
    return ArcTarget(subscription_id=parts[1], resource_group=parts[3], name=parts[7], location=location)


def may_delete(resource: ConnectedCluster | None, arc_id: str | None) -> bool:
    """Whether a resource is ours to delete: the site was connected as it (`arc_id`), or an onboarding made it."""
    if resource is None:
        return False
    return (arc_id or "").lower() == resource.resource_id.lower() or ONBOARDING_TAG in resource.tags


def home_elsewhere(agents: AgentsFound, target: ArcTarget) -> ArcTarget | None:
    """The connected cluster that the agents name, when it is not the one wanted: look there before deciding."""
    if agents.resource_id.lower() == target.resource_id.lower():
        return None
    return read_resource_id(agents.resource_id, target.location)


_REFUSALS = {
    ConnectAction.REFUSE_ELSEWHERE: (
        "This cluster is connected to Azure Arc as another resource",
        "Disconnect it there first, or import the site under that resource",
    ),
    ConnectAction.REFUSE_NAME_TAKEN: (
        "The name belongs to another cluster that is connected to Azure Arc",
        "Choose another name for the site, or delete the connected cluster if its cluster no longer exists",
    ),
    ConnectAction.REFUSE_BROKEN: (
        "Arc agents are on the cluster, but what they belong to cannot be told",
        "Delete the namespaces azure-arc and azure-arc-release and the connected cluster in Azure, then connect again",
    ),
}


def refuse_if_told(action: ConnectAction, target: ArcTarget) -> None:
    """Raise ConnectRefused when the table says so."""
    if action in _REFUSALS:
        what, remedy = _REFUSALS[action]
        raise ConnectRefused(what, remedy=remedy, resource=target.resource_id, decision=action.value)
