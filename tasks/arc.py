"""The act of connecting a cluster to Azure Arc: look, decide, check, register, install agents, wait; and back again."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from blocks.arc import ArcSubscription
from blocks.credentials import SiteCredentials
from edge.clients.arc import ArcClient
from edge.clients.arc_keys import new_key
from edge.clients.helm import (
    agents_found,
    agents_left,
    install_arc_agents,
    mark_agents,
    uninstall_arc_agents,
    wait_agents_ready,
)
from edge.clients.kubernetes import SiteClient
from edge.clients.oci import pull_chart
from edge.errors import EdgeError, SiteSilent, SiteUnreachable
from edge.model.arc import (
    AgentsFound,
    AgentsOnCluster,
    ArcTarget,
    ConnectAction,
    ConnectedCluster,
    ConnectPatience,
)
from edge.model.site import Site
from edge.model.step import Detail
from edge.policy.arc import (
    Traces,
    decide_connect,
    home_elsewhere,
    is_unfinished,
    made_by,
    may_delete,
    onboarding_tags,
    read_resource_id,
    refuse_if_told,
)
from edge.policy.arc_agents import agent_values, cloud_of
from edge.policy.arc_keys import public_key_of
from edge.policy.arc_precheck import platform_of
from tasks.arc_precheck import Found, Precheck
from tasks.arc_progress import Phases, run_log
from tasks.arc_slot import ConnectSlots
from tasks.arc_undo import Attempt, Holds, refuse_lost

KEYS_AT_ONCE = 2


_PATIENT = ConnectPatience()


class ArcConnection:
    """Connects sites to one subscription, and disconnects them. One client serves all threads."""

    def __init__(
        self, subscription: ArcSubscription, credentials: SiteCredentials, patience: ConnectPatience = _PATIENT
    ) -> None:
        self.subscription = subscription
        self.credentials = credentials
        self.patience = patience
        self.arc: ArcClient = subscription.client()
        self._keys = ThreadPoolExecutor(KEYS_AT_ONCE, "arc-key")
        self.slots = ConnectSlots()
        self._charts: dict[str, bytes] = {}
        self._groups: set[str] = set()
        self._groups_lock = threading.Lock()

    def prepare(self) -> None:
        """What a subscription needs once: the resource provider and the resource group."""
        self.arc.ensure_provider()
        self._ensure_group(self.subscription.resource_group, self.subscription.location)

    def connect(
        self, work: str, site: Site, cluster: SiteClient, ours: Sequence[str] = (), holds: Holds = lambda: True
    ) -> Detail:
        """Connect the site's cluster, or find that it is connected.

        `work` is the onboarding's id, by which a later try knows the resource that an earlier one left; `ours` are the
        ids of the same device's earlier onboardings, whose resource may be replaced after a reset. `holds` says whether
        the device is still this run's, and is asked before each effect: WriteConflict when it is not. Raises Rejected
        when the cluster cannot be connected, ConnectRefused when the decision table says so. After any other failure
        what this try made, resource and agents, is taken away; `left_behind` in the error names what could not be.

        The detail has the seconds by phase (`precheck_s`, `slot_s`, `resource_s`, `agents_s`, `call_in_s`), the API
        server's `latency_s`, and the `warning` of a look that could not be taken.
        """
        return _Connect(self, (work, *ours), site, cluster, holds).run()

    def disconnect(self, site: Site, cluster: SiteClient | None) -> Detail:
        """Delete the site's connected cluster, and its agents when the cluster answers (None: it is not asked).

        What is not the site's stays: a resource of its name that it was not connected as and no onboarding made, and
        agents of another connected cluster. Done before is fine. Raises what Azure answers; what came of it is in the
        detail: `resource` is deleted, none or another's, `agents` is removed, away, not-asked or another's.
        """
        target = self._home_of(site)
        resource, deleted = self.arc.get(target), "none"
        if may_delete(resource, site.arc_id):
            self.arc.delete(target, progress=Phases(site.name).tell("Azure deletes the connected cluster"))
            deleted = "deleted"
        elif resource is not None:
            deleted = "another's"
        return {"arc_id": target.resource_id, "resource": deleted, "agents": self._remove_agents(target, site, cluster)}

    def _home_of(self, site: Site) -> ArcTarget:
        """Where the site is connected, which may be elsewhere than where it would be connected today."""
        wanted = self.subscription.target(site)
        return read_resource_id(site.arc_id or "", wanted.location) or wanted

    def _remove_agents(self, target: ArcTarget, site: Site, cluster: SiteClient | None) -> str:
        if cluster is None:
            return "not-asked"
        try:
            if home_elsewhere(agents_found(cluster), target) is not None:
                return "another's"
            uninstall_arc_agents(self.credentials.text(site.name))
        except (SiteUnreachable, SiteSilent) as away:
            run_log().warning("%s: its agents stay, the cluster is away: %s", site.name, away)
            return "away"
        return "removed"

    def disconnect_faults(self, site: Site, cluster: SiteClient | None) -> list[str]:
        """What is still there of the site's connection, by reading, one sentence each; empty: it is gone.

        A cluster that is given and cannot be read is a fault too: nothing is proved by silence.
        """
        target, faults = self._home_of(site), []
        if may_delete(self.arc.get(target), site.arc_id):
            faults.append(f"The connected cluster {target.resource_id} exists")
        if cluster is not None:
            faults += _agents_faults(cluster, target)
        return faults

    def new_private_key(self) -> Future[str]:
        """A key in the making, in memory only. OpenSSL works outside of Python's lock, so other threads go on."""
        return self._keys.submit(new_key, self.subscription.key_bits)

    def ensure_group_of(self, target: ArcTarget) -> None:
        """Create the resource group of a site that has one of its own; once per process."""
        if target.resource_group != self.subscription.resource_group:
            self._ensure_group(target.resource_group, target.location)

    def chart(self, location: str) -> bytes:
        """The archive of the chart that the data plane names now; each is pulled once."""
        ref = self.arc.agents_chart(location)
        if ref not in self._charts:
            self._charts[ref] = pull_chart(ref, ca_file=str(self.subscription.ca_file or "") or None)
        return self._charts[ref]

    def close(self) -> None:
        """Give back the slots that were kept for a next device."""
        self.slots.close()

    def _ensure_group(self, name: str, location: str) -> None:
        with self._groups_lock:
            if name not in self._groups:
                self.arc.ensure_group(name, location)
                self._groups.add(name)


class _Connect:
    """One connect."""

    def __init__(
        self, home: ArcConnection, works: tuple[str, ...], site: Site, cluster: SiteClient, holds: Holds
    ) -> None:
        self._home = home
        self._arc = home.arc
        self._work = works[0]
        self._works = works
        self._holds = holds
        self._site = site
        self._cluster = cluster
        self._target = home.subscription.target(site)
        self._phases = Phases(site.name)

    def run(self) -> Detail:
        with self._phases.phase("precheck"):
            action, resource = self._decide()
            refuse_if_told(action, self._target)
            reuse = resource is not None and action is ConnectAction.REUSE_KEY
            key = None if reuse else self._home.new_private_key()
            found = Precheck(self._arc, self._home.subscription, self._target, self._cluster).run(
                agents_to_come=not reuse
            )
        self._say(found)
        with self._slot():
            if resource is not None and key is None:
                self._put(resource.public_key, found, resource.tags)
            elif key is not None:
                self._as_new(key, found, clean=action is ConnectAction.CLEAN_THEN_NEW)
        more: Detail = {"warning": found.warning.message} if found.warning else {}
        decided: Detail = {"arc_id": self._target.resource_id, "decision": action.value}
        return decided | {"latency_s": round(found.latency_s, 3)} | more | self._phases.detail()

    def _decide(self) -> tuple[ConnectAction, ConnectedCluster | None]:
        found = agents_found(self._cluster)
        resource = self._arc.get(self._target)
        known = Traces(
            elsewhere=self._is_elsewhere(found),
            unfinished=is_unfinished(resource, self._work),
            earlier=made_by(resource, self._works[1:]),
            marked=found.onboarding in self._works,
        )
        return decide_connect(found.state, found.public_key, resource, known), resource

    def _is_elsewhere(self, found: AgentsFound) -> bool:
        """Whether the agents belong to another resource, and that one exists."""
        home = home_elsewhere(found, self._target)
        return home is not None and self._arc.get(home) is not None

    def _as_new(self, key: Future[str], found: Found, *, clean: bool) -> None:
        attempt = Attempt(self._arc, self._target, self._works, self._home.credentials.text(self._site.name))
        if clean:
            with self._phases.phase("resource"):
                refuse_lost(self._holds, self._target)
                attempt.clean()
        with attempt.undoing(self._cluster, self._holds):
            private_key = key.result()
            attempt.public_key = public_key_of(private_key)
            resource = self._put(attempt.public_key, found, onboarding_tags(self._work))
            with self._phases.phase("agents"):
                refuse_lost(self._holds, self._target)
                attempt.agents_begun = True
                self._install(private_key, resource, found.nodes)
            with self._phases.phase("call_in"):
                self._wait_connected()

    def _put(self, public_key: str, found: Found, tags: Mapping[str, str]) -> ConnectedCluster:
        """A resource that is there already keeps its tags: they say who made it."""
        told = self._phases.tell("Azure makes the connected cluster")
        with self._phases.phase("resource"):
            refuse_lost(self._holds, self._target)
            self._home.ensure_group_of(self._target)
            platform = platform_of(found.nodes)
            return self._arc.put(self._target, public_key, tags, platform=platform, progress=told)

    def _install(self, private_key: str, resource: ConnectedCluster, nodes: Sequence[dict[str, Any]]) -> None:
        block, patience = self._home.subscription, self._home.patience
        archive = self._home.chart(self._target.location)
        values = agent_values(self._target, resource, private_key, platform_of(nodes), cloud_of(block.endpoint))
        mark_agents(self._cluster, self._work)
        install_arc_agents(self._home.credentials.text(self._site.name), archive, values)
        told = self._phases.tell("waiting for the agents to be ready")
        wait_agents_ready(self._cluster, within_s=patience.agents_s, away_s=patience.away_s, progress=told)

    def _wait_connected(self) -> None:
        patience, told = self._home.patience, self._phases.tell("waiting for the agents to call Azure")
        self._arc.wait_connected(
            self._target, within_s=patience.call_in_s, every_s=patience.look_every_s, progress=told
        )

    def _say(self, found: Found) -> None:
        if found.warning is not None:
            run_log().warning("%s: %s", self._site.name, found.warning.message)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        with ExitStack() as held:
            with self._phases.phase("slot"):
                held.enter_context(self._home.slots.slot())
            yield


def _agents_faults(cluster: SiteClient, target: ArcTarget) -> list[str]:
    try:
        found = agents_found(cluster)
        if found.state is AgentsOnCluster.PRESENT and home_elsewhere(found, target) is not None:
            return []
        return [f"{left} is on the cluster" for left in agents_left(cluster)]
    except EdgeError as error:
        return [f"The cluster cannot be read: {error}"]
