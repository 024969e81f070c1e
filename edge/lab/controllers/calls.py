"""Controllers that stage files may call by name, because arithmetic over many objects does not fit into data.

Each gets one object and moves it one step on; it returns in how many lab seconds it wants to see the object again even
if nothing changes, or None. It must not write when there is nothing to change.
"""

from __future__ import annotations

from collections.abc import Callable

from edge.lab.controllers.budget import budget
from edge.lab.controllers.daemonset import daemonset
from edge.lab.controllers.deployment import deployment
from edge.lab.controllers.endpoints import endpoints
from edge.lab.controllers.home import Home
from edge.lab.controllers.job import job
from edge.lab.controllers.mounts import mounts
from edge.lab.controllers.reclaim import reclaim
from edge.lab.controllers.replicaset import replicaset
from edge.lab.controllers.schedule import schedule
from edge.lab.controllers.statefulset import statefulset
from edge.lab.flux.kustomizations import kustomization
from edge.lab.flux.sources import oci_repository
from edge.lab.kube.store import Obj

Call = Callable[[Home, Obj], float | None]

CALLS: dict[str, Call] = {
    "budget": budget,
    "daemonset": daemonset,
    "deployment": deployment,
    "endpoints": endpoints,
    "flux-kustomization": kustomization,
    "flux-oci-repository": oci_repository,
    "job": job,
    "mounts": mounts,
    "reclaim": reclaim,
    "replicaset": replicaset,
    "schedule": schedule,
    "statefulset": statefulset,
}
