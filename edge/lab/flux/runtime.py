"""What the Flux controllers of all sites share: where they fetch from, and what each is in the middle of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.lab.controllers.home import Home
from edge.lab.flux.puller import Puller
from edge.lab.kube.resources import ResourceType, builtin
from edge.lab.kube.store import Obj

if TYPE_CHECKING:
    from edge.lab.controllers.engine import Engine

NAMESPACE = "flux-system"
ASLEEP_S = 1.0
"""How soon a controller that does not run is looked for again, in lab seconds."""
REQUESTED = "reconcile.fluxcd.io/requestedAt"
_log = logging.getLogger(__name__)


@dataclass
class Progress:
    """Where the reconciliation of one object is. Times are lab seconds; `wish` is what it was last begun for."""

    wish: tuple[object, ...] = ()
    due: float = 0.0
    busy: bool = False
    checking: bool = False
    began: float = 0.0


class FluxHost:
    """The controllers' own memory, which a restart of the lab empties as that of the controllers would be."""

    def __init__(self, engine: Engine, puller: Puller) -> None:
        self.puller = puller
        self._engine = engine
        self._progress: dict[str, Progress] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self) -> float:
        """Lab seconds since the lab started."""
        return self._engine.timers.clock.monotonic()

    def progress(self, obj: Mapping[str, Any]) -> Progress:
        """Where the work on this object is."""
        return self._progress.setdefault(obj["metadata"]["uid"], Progress())

    def forget(self, obj: Mapping[str, Any]) -> None:
        """The object is gone, or is to be begun anew."""
        self._progress.pop(obj["metadata"]["uid"], None)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something that takes a request go on in the background."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def look(self, home: Home, resource: ResourceType, obj: Obj) -> None:
        """Have an object looked at again soon."""
        fresh = home.current(resource, obj)
        if fresh is not None:
            self._engine.look(home, resource, fresh)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a Flux controller failed", exc_info=task.exception())


def runs(home: Home, controller: str) -> bool:
    """Whether this controller's Deployment is available at the site."""
    found = home.store.get(builtin("deployments", "apps"), NAMESPACE, controller)
    conditions = ((found or {}).get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Available" and one["status"] == "True" for one in conditions)


def requested(obj: Mapping[str, Any]) -> str:
    """The token with which somebody asked for a reconciliation now."""
    return str((obj["metadata"].get("annotations") or {}).get(REQUESTED, ""))
