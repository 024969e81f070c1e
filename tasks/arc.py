"""The act of connecting a cluster to Azure Arc: look, decide, register, install agents, wait; and undo what failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from prefect import get_run_logger

from blocks.arc import ArcSubscription
from blocks.credentials import SiteCredentials
from edge.clients.arc import ArcClient
from edge.clients.arc_keys import new_key
from edge.clients.helm import agents_found, install_arc_agents, uninstall_arc_agents
from edge.clients.kubernetes import SiteClient
from edge.errors import CredentialRejected, EdgeError, Rejected
from edge.model.arc import AgentsFound, ArcTarget, ClusterPlatform, ConnectAction, ConnectedCluster
from edge.model.site import Site
from edge.model.step import Detail
from edge.policy.arc import decide_connect, home_elsewhere, is_unfinished, onboarding_tags, refuse_if_told
from edge.policy.arc_agents import agent_values, cloud_of
from edge.policy.arc_keys import public_key_of
from edge.policy.arc_precheck import platform_of, precheck

AGENTS_WITHIN_S = 1800.0
"""The agents' chart took 90 s on a large cluster and over 22 minutes on a small one."""

CONNECTED_WITHIN_S = 600.0
LOOK_EVERY_S = 1.0


class ArcConnection:
    """Connects sites to one subscription. One client serves all threads."""

    def __init__(self, subscription: ArcSubscription, credentials: SiteCredentials) -> None:
        self.subscription = subscription
        self.credentials = credentials
        self.arc: ArcClient = subscription.client()

    def prepare(self) -> None:
        """What a subscription needs once: the resource provider and the resource group."""
        self.arc.ensure_provider()
        self.arc.ensure_group(self.subscription.resource_group, self.subscription.location)

    def connect(self, work: str, site: Site, cluster: SiteClient) -> Detail:
        """Connect the site's cluster, or find that it is connected.

        `work` is the onboarding's id, by which a later try knows the resource that an earlier one left. Raises Rejected
        when the cluster cannot be connected, ConnectRefused when the decision table says so. After any other failure
        the resource and the agents of this try are taken away again.
        """
        target = self.subscription.target(site.name)
        nodes = list(cluster.list("v1", "Node"))
        _check(target, cluster, nodes)
        action, resource = self._decide(work, target, cluster)
        refuse_if_told(action, target)
        if action is ConnectAction.CLEAN_THEN_NEW:
            self._undo(target, site)
        if action is ConnectAction.REUSE_KEY and resource is not None:
            self.arc.put(target, resource.public_key, onboarding_tags(work), platform=platform_of(nodes))
        else:
            self._connect_as_new(work, target, site, platform_of(nodes))
        return {"arc_id": target.resource_id, "decision": action.value}

    def _decide(
        self, work: str, target: ArcTarget, cluster: SiteClient
    ) -> tuple[ConnectAction, ConnectedCluster | None]:
        found = agents_found(cluster)
        resource = self.arc.get(target)
        unfinished = is_unfinished(resource, work)
        action = decide_connect(
            found.state, found.public_key, resource, elsewhere=self._is_elsewhere(found, target), unfinished=unfinished
        )
        return action, resource

    def _is_elsewhere(self, found: AgentsFound, target: ArcTarget) -> bool:
        """Whether the agents belong to another resource, and that one exists."""
        home = home_elsewhere(found, target)
        return home is not None and self.arc.get(home) is not None

    def _connect_as_new(self, work: str, target: ArcTarget, site: Site, platform: ClusterPlatform) -> None:
        private_key = new_key(self.subscription.key_bits)
        with self._undoing(target, site):
            public_key = public_key_of(private_key)
            resource = self.arc.put(target, public_key, onboarding_tags(work), platform=platform)
            install_arc_agents(
                self.credentials.text(site.name),
                self.arc.agents_chart(target.location),
                agent_values(target, resource, private_key, platform, cloud_of(self.subscription.endpoint)),
                within_s=AGENTS_WITHIN_S,
                ca_file=str(self.subscription.ca_file) if self.subscription.ca_file else None,
            )
            self.arc.wait_connected(target, within_s=CONNECTED_WITHIN_S, every_s=LOOK_EVERY_S)

    @contextmanager
    def _undoing(self, target: ArcTarget, site: Site) -> Iterator[None]:
        """Take away what a failed try left, so that the next one is not refused because of it."""
        try:
            yield
        except EdgeError as error:
            self._undo(target, site, because=error)
            raise

    def _undo(self, target: ArcTarget, site: Site, because: EdgeError | None = None) -> None:
        """Resource first: agents without one are a case that the next try mends, the other way round is refused."""
        _attempt(partial(self.arc.delete, target), because)
        _attempt(partial(uninstall_arc_agents, self.credentials.text(site.name)), because)


def _check(target: ArcTarget, cluster: SiteClient, nodes: list[dict[str, object]]) -> None:
    """Everything that stands in the way, in one error, before anything is changed."""
    causes = precheck(nodes, str(cluster.version()["gitVersion"]), may_bind_roles=_may_bind_roles(cluster))
    if causes:
        what = "; ".join(cause.message for cause in causes)
        remedy = "; ".join(cause.remedy for cause in causes)
        raise Rejected(
            what, remedy=remedy, resource=target.resource_id, codes=", ".join(cause.code for cause in causes)
        )


def _may_bind_roles(cluster: SiteClient) -> bool:
    """Tried, as a dry run, rather than asked for: the answer is then the one that the agents' chart would get."""
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "edge-platform-precheck"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    }
    try:
        cluster.apply(binding, dry_run=True)
    except CredentialRejected:
        return False
    return True


def _attempt(clean_up: Callable[[], None], because: EdgeError | None) -> None:
    """A clean-up that fails after a failure is said and left to the next try; on its own it is an error."""
    try:
        clean_up()
    except EdgeError as error:
        if because is None:
            raise
        get_run_logger().error("Not cleaned up after a failed connect: %s", error)
