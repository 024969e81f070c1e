"""Taking away what a failed connect left, so that the next try is not refused because of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial

from edge.clients.arc import ArcClient
from edge.clients.helm import uninstall_arc_agents
from edge.errors import EdgeError
from edge.model.arc import ArcTarget
from edge.policy.arc import made_by
from tasks.arc_progress import run_log


class Attempt:
    """One try at connecting a cluster as new: how far it came, and how it is undone.

    What is undone is what this try may have begun, and of the resource only one that carries the tag of one of `works`:
    when another cluster took the name a moment before us, its resource stays.
    """

    def __init__(self, arc: ArcClient, target: ArcTarget, works: Collection[str], kubeconfig: str) -> None:
        self._arc = arc
        self._target = target
        self._works = works
        self._kubeconfig = kubeconfig
        self.agents_begun = False

    @contextmanager
    def undoing(self) -> Iterator[None]:
        """Undo the try when it fails. What could not be undone is named in the error, as `left_behind`."""
        try:
            yield
        except EdgeError as error:
            left = self._undo()
            if left:
                error.where["left_behind"] = "; ".join(left)
            raise

    def _undo(self) -> list[str]:
        """Resource first: agents without one are a case that the next try mends, the other way round is refused."""
        acts = {f"connected cluster {self._target.name}": self.remove_resource}
        if self.agents_begun:
            acts["agents on the cluster"] = partial(uninstall_arc_agents, self._kubeconfig)
        return [f"{what} ({error.code})" for what, act in acts.items() if (error := _attempt(what, act)) is not None]

    def clean(self) -> None:
        """Remove what an earlier try or an earlier life left. Raises when it cannot."""
        self.remove_resource()
        uninstall_arc_agents(self._kubeconfig)

    def remove_resource(self) -> None:
        """Delete the connected cluster if it is ours."""
        if made_by(self._arc.get(self._target), self._works):
            self._arc.delete(self._target)


def _attempt(what: str, act: Callable[[], None]) -> EdgeError | None:
    try:
        act()
    except EdgeError as error:
        run_log().error("Not cleaned up after a failed connect, the next try does it: %s: %s", what, error)
        return error
    return None
