"""Everything that may stand in the way of a connect, looked at before anything is changed and told at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any, NamedTuple

from blocks.arc import ArcSubscription
from edge.clients.arc import ArcClient
from edge.clients.kubernetes import SiteClient
from edge.errors import CredentialRejected, Rejected, SiteSilent, SiteUnreachable
from edge.model.arc import ArcTarget
from edge.model.outcome import Cause
from edge.policy.arc_capacity import capacity_causes
from edge.policy.arc_egress import Looked
from edge.policy.arc_precheck import clock_causes, fitting_nodes, latency_causes, precheck
from tasks.arc_egress import look_out

LOOKS = 3
"""So many small answers are timed, and the quickest counts: the first one pays for the connection."""


class Found(NamedTuple):
    """The cluster's nodes, the quickest answer of its API server in seconds, and what is only a warning."""

    nodes: Sequence[dict[str, Any]]
    latency_s: float
    warning: Cause | None = None


class Precheck:
    """The prechecks of one cluster for one target."""

    def __init__(self, arc: ArcClient, subscription: ArcSubscription, target: ArcTarget, cluster: SiteClient) -> None:
        self._arc = arc
        self._subscription = subscription
        self._target = target
        self._cluster = cluster

    def run(self, *, agents_to_come: bool) -> Found:
        """What was found, when nothing stands in the way. Raises Rejected with every cause, codes and remedies.

        Room and the way out are looked at only when there are `agents_to_come`: agents that run already have both, and
        use the room. A cluster that cannot be reached raises what its client raises, with the time-outs in it.
        """
        latency_s = self._latency()
        nodes = list(self._cluster.list("v1", "Node"))
        causes = [*self._standing(nodes, latency_s)]
        fitting = fitting_nodes(nodes)
        looked = Looked()
        if agents_to_come and fitting:
            causes += capacity_causes(fitting, self._cluster.list("v1", "Pod"))
            looked = self._look_out()
            causes += looked.causes
        if causes:
            raise _rejected(causes, self._target)
        return Found(nodes, latency_s, looked.warning)

    def _standing(self, nodes: Sequence[dict[str, Any]], latency_s: float) -> list[Cause]:
        version = str(self._cluster.version()["gitVersion"])
        return [
            *precheck(nodes, version, may_bind_roles=_may_bind_roles(self._cluster)),
            *latency_causes(latency_s, self._cluster.timeouts.read_s),
            *clock_causes(self._cluster.clock(), self._arc.clock() or datetime.now(UTC)),
        ]

    def _look_out(self) -> Looked:
        block = self._subscription
        endpoints = self._arc.endpoints(self._target.location)
        return look_out(self._cluster, endpoints, block.diagnostics_image, block.precheck_egress)

    def _latency(self) -> float:
        try:
            return min(_seconds(self._cluster.version) for _ in range(LOOKS))
        except (SiteUnreachable, SiteSilent) as error:
            within = self._cluster.timeouts
            error.remedy = error.remedy or (
                f"Look at the link to the site: it had {within.connect_s:g} s to take a connection and "
                f"{within.read_s:g} s for each answer"
            )
            raise


def _seconds(work: Callable[[], object]) -> float:
    began = monotonic()
    work()
    return monotonic() - began


def _rejected(causes: Sequence[Cause], target: ArcTarget) -> Rejected:
    return Rejected(
        "; ".join(cause.message for cause in causes),
        remedy="; ".join(dict.fromkeys(cause.remedy for cause in causes)),
        resource=target.resource_id,
        codes=", ".join(cause.code for cause in causes),
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
