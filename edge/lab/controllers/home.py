"""What a controller works with: one site's objects and clock, and writes that change something or do not happen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edge.lab.controllers.kinds import Kind
from edge.lab.kube import pod_security, quota
from edge.lab.kube.deletion import delete
from edge.lab.kube.limits import apply_limits
from edge.lab.kube.resources import PODS, ResourceType, builtin
from edge.lab.kube.store import Obj, SiteStore, stamp
from edge.lab.sites import LabSite
from edge.lab.timers import Timer
from edge.lab.weather import FaultKind, way_out

if TYPE_CHECKING:
    from edge.lab.flux.runtime import FluxHost

PODS_TYPE = builtin("pods")
NODES_TYPE = builtin("nodes")
REPLICASETS_TYPE = builtin("replicasets", "apps")
CLAIMS_TYPE = builtin("persistentvolumeclaims")

_ENDPOINTS = "EDGE_ENDPOINTS"
_WORDS = {None: "open", FaultKind.NO_DNS: "no-dns", FaultKind.EGRESS_BLOCKED: "blocked"}

Place = tuple[Kind, str, str, str]
"""Kind, namespace, name and lane: where at most one stage is pending."""


class Home:
    """One awake site, as the engine and the controllers see it."""

    def __init__(self, site: LabSite, store: SiteStore, flux: FluxHost | None = None) -> None:
        self.site = site
        self.flux = flux
        """What Flux's controllers work with; None in a lab that serves no source."""
        self.store = store
        self.pending: dict[Place, tuple[object, Timer]] = {}
        self.unscheduled: set[tuple[str, str]] = set()
        """Pods (namespace, name) that found no node."""
        self._addresses = store.revision

    def now_text(self) -> str:
        """The site's time, RFC 3339."""
        return stamp(self.site.clock.now())

    def fresh_ip(self) -> str:
        """An address from the pods' network; it comes again after some 64,000 others."""
        self._addresses += 1
        return f"10.244.{self._addresses >> 8 & 255}.{self._addresses & 255}"

    def host_ip(self, obj: Mapping[str, Any]) -> str:
        """The address of the node a pod is bound to; "" when there is no such node."""
        node = self.store.get(NODES_TYPE, "", (obj.get("spec") or {}).get("nodeName") or "")
        addresses = (node or {}).get("status", {}).get("addresses") or ()
        return next((one["address"] for one in addresses if one["type"] == "InternalIP"), "")

    def egress(self, container: Mapping[str, Any]) -> str:
        """A line for each endpoint in a container's EDGE_ENDPOINTS: `open`, or what the weather does to it."""
        given = next((one.get("value", "") for one in container.get("env") or () if one["name"] == _ENDPOINTS), "")
        return "".join(f"{one} {_WORDS[way_out(self.site.faults, one.rpartition(':')[0])]}\n" for one in given.split())

    def current(self, resource: ResourceType, obj: Mapping[str, Any]) -> Obj | None:
        """The object as it is now; None when it is gone, or another one has its name."""
        meta = obj["metadata"]
        found = self.store.get(resource, meta.get("namespace", ""), meta["name"])
        return found if found and found["metadata"]["uid"] == meta["uid"] else None

    def create(self, resource: ResourceType, obj: Obj) -> Obj:
        """Create an object on behalf of a controller. Raises ApiError, for instance when a quota forbids it."""
        if resource.key == PODS:
            apply_limits(self.store, resource, obj)
            pod_security.check(self.store, resource, obj, None)
            quota.check(self.store, resource, obj, None)
        return self.store.create(resource, obj)

    def update(self, resource: ResourceType, before: Obj, after: Obj) -> Obj:
        """Store what differs; nothing happens when nothing does."""
        return before if before == after else self.store.replace(resource, after)

    def set_status(self, resource: ResourceType, obj: Obj, status: Mapping[str, Any]) -> Obj:
        """Give an object this status. Times of conditions are filled in; None and no conditions leave a field out."""
        fresh = {key: value for key, value in status.items() if value is not None}
        before = (obj.get("status") or {}).get("conditions") or []
        if fresh.get("conditions"):
            fresh["conditions"] = carry_times(before, fresh["conditions"], self.now_text())
        return self.update(resource, obj, {**obj, "status": fresh})

    def delete_pod(self, pod: Obj) -> None:
        """Delete a pod as a controller does: with its grace period."""
        if not pod["metadata"].get("deletionTimestamp"):
            delete(self.store, PODS_TYPE, pod)


def carry_times(before: list[Any], fresh: list[Any], now: str) -> list[Any]:
    """The fresh conditions, each with its time of transition: it moves only when the status does."""
    known = {one["type"]: one for one in before}
    return [{"lastTransitionTime": _since(known.get(one["type"]), one, now), **one} for one in fresh]


def merge_conditions(before: list[Any], fresh: list[Any], now: str) -> list[Any]:
    """As `carry_times`, with the conditions of other types left as they were."""
    merged = {one["type"]: one for one in before}
    merged.update({one["type"]: one for one in carry_times(before, fresh, now)})
    return list(merged.values())


def _since(old: Any, fresh: Any, now: str) -> Any:
    if old is None or old.get("status") != fresh.get("status"):
        return now
    return old.get("lastTransitionTime", now)
