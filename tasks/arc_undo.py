"""Taking away what a failed connect left, so that the next try is not refused because of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from edge.clients.arc import ArcClient
from edge.clients.helm import agents_found, uninstall_arc_agents
from edge.clients.kubernetes import SiteClient
from edge.errors import EdgeError, WriteConflict
from edge.model.arc import AgentsFound, ArcTarget
from edge.policy.arc import made_by, made_with
from tasks.arc_progress import run_log

Holds = Callable[[], bool]
"""Whether the device is still this run's."""


class Attempt:
    """One try at connecting a cluster as new: how far it came, and how it is undone.

    What is undone is what this very try made: the resource that has its key, and agents that do. Another run of the
    same onboarding, which took over from one that stood still for long, has the same tag and another key. And once the
    device is another run's, nothing is undone at all: that one may have taken the resource over, key and all.
    """

    def __init__(self, arc: ArcClient, target: ArcTarget, works: Collection[str], kubeconfig: str) -> None:
        self._arc = arc
        self._target = target
        self._works = works
        self._kubeconfig = kubeconfig
        self.public_key = ""
        """The key that this try registers; empty: it has registered none."""
        self.agents_begun = False

    @contextmanager
    def undoing(self, cluster: SiteClient, holds: Holds) -> Iterator[None]:
        """Undo the try when it fails. What could not be undone is named in the error, as `left_behind`."""
        try:
            yield
        except EdgeError as error:
            left = self._undo(cluster, holds)
            if left:
                error.where["left_behind"] = "; ".join(left)
            raise

    def _undo(self, cluster: SiteClient, holds: Holds) -> list[str]:
        """Resource first: agents without one are a case that the next try mends, the other way round is refused."""
        acts: dict[str, Callable[[], None]] = {f"connected cluster {self._target.name}": self._remove_own_resource}
        if self.agents_begun:
            acts["agents on the cluster"] = lambda: self._remove_own_agents(cluster)
        return left_of(acts, holds)

    def clean(self) -> None:
        """Remove what an earlier try or an earlier life left. Raises when it cannot."""
        if made_by(self._arc.get(self._target), self._works):
            self._arc.delete(self._target)
        uninstall_arc_agents(self._kubeconfig)

    def _remove_own_resource(self) -> None:
        resource = self._arc.get(self._target)
        if made_by(resource, self._works) and made_with(resource, self.public_key):
            self._arc.delete(self._target)

    def _remove_own_agents(self, cluster: SiteClient) -> None:
        if self._has_own_agents(agents_found(cluster)):
            uninstall_arc_agents(self._kubeconfig)

    def _has_own_agents(self, found: AgentsFound) -> bool:
        """By their key; those that have none yet are this try's, unless the resource is another's by now."""
        if found.public_key is not None:
            return found.public_key == self.public_key
        resource = self._arc.get(self._target)
        return found.onboarding in self._works and (resource is None or made_with(resource, self.public_key))


def refuse_lost(holds: Holds, target: ArcTarget) -> None:
    """Stop before an effect when the device is another run's by now. Raises WriteConflict."""
    if not holds():
        raise WriteConflict("The device is no longer this run's to connect", resource=target.resource_id)


def left_of(acts: dict[str, Callable[[], None]], holds: Holds) -> list[str]:
    """Do each while the device is this run's; answers what could not be done, with the error's code."""
    return [f"{what} ({error.code})" for what, act in acts.items() if holds() and (error := _attempt(what, act))]


def _attempt(what: str, act: Callable[[], None]) -> EdgeError | None:
    try:
        act()
    except EdgeError as error:
        run_log().error("Not cleaned up after a failed connect, the next try does it: %s: %s", what, error)
        return error
    return None
