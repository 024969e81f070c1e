"""PersistentVolumes whose claim is gone."""

from __future__ import annotations

from edge.lab.controllers.home import CLAIMS_TYPE, Home
from edge.lab.kube.resources import builtin
from edge.lab.kube.store import Obj

VOLUMES_TYPE = builtin("persistentvolumes")


def reclaim(home: Home, volume: Obj) -> None:
    """Delete a volume with reclaim policy Delete, or release it, once its claim is gone."""
    claim = volume["spec"].get("claimRef") or {}
    bound = home.store.get(CLAIMS_TYPE, claim.get("namespace", ""), claim.get("name", ""))
    if bound is not None and bound["metadata"]["uid"] == claim.get("uid"):
        return
    if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
        home.store.remove(VOLUMES_TYPE, "", volume["metadata"]["name"])
    else:
        home.set_status(VOLUMES_TYPE, volume, {**(volume.get("status") or {}), "phase": "Released"})
