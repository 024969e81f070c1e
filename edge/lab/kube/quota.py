"""ResourceQuota: what a namespace uses, and whether one more object fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from edge.lab.kube.errors import forbidden
from edge.lab.kube.resources import PODS, ResourceType, builtin
from edge.lab.kube.store import Event, Obj, SiteStore
from edge.policy import quantity

Usage = dict[str, Decimal]
QUOTAS = ("", "resourcequotas")
_COMPUTE = frozenset({"cpu", "memory", "ephemeral-storage"})
_COUNTED = frozenset(
    {
        "configmaps",
        "persistentvolumeclaims",
        "pods",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
    }
)


def check(store: SiteStore, resource: ResourceType, obj: Obj, old: Obj | None) -> None:
    """Refuse (403) an object that does not fit the quotas of its namespace."""
    namespace = obj["metadata"].get("namespace", "")
    for one in store.list(builtin("resourcequotas"), namespace) if namespace else ():
        hard = _hard(one)
        if old is None:
            _must_specify(resource, obj, one["metadata"]["name"], hard)
        before = charge(resource, old) if old else {}
        delta = {name: amount - before.get(name, Decimal(0)) for name, amount in charge(resource, obj).items()}
        wanted = {name: amount for name, amount in delta.items() if name in hard and amount > 0}
        if wanted:
            _compare(store, resource, obj, one, wanted)


def _compare(store: SiteStore, resource: ResourceType, obj: Obj, one: Obj, wanted: Usage) -> None:
    hard = _hard(one)
    used = usage(store, one["metadata"]["namespace"], wanted)
    over = sorted(name for name in wanted if used[name] + wanted[name] > quantity.parse(hard[name]))
    if over:
        requested = ",".join(f"{name}={quantity.text(wanted[name], hard[name])}" for name in over)
        present = ",".join(f"{name}={quantity.text(used[name], hard[name])}" for name in over)
        limit = ",".join(f"{name}={hard[name]}" for name in over)
        why = f"exceeded quota: {one['metadata']['name']}, requested: {requested}, used: {present}, limited: {limit}"
        raise forbidden(resource, obj["metadata"].get("name", ""), why)


def _hard(one: Obj) -> dict[str, str]:
    """A quota's limits; a null is a limit of nothing, as on a real server."""
    return {name: amount or "0" for name, amount in ((one.get("spec") or {}).get("hard") or {}).items()}


def _must_specify(resource: ResourceType, obj: Obj, quota: str, hard: Mapping[str, str]) -> None:
    if resource.key != PODS:
        return
    asked = {_plain(name): name for name in hard if _plain(name).partition(".")[2] in _COMPUTE}
    for container in obj["spec"].get("containers") or ():
        resources = container.get("resources") or {}
        missing = []
        for plain, name in asked.items():
            kind, _, what = plain.partition(".")
            if what not in (resources.get(kind) or {}):
                missing.append(name)
        if missing:
            why = f"failed quota: {quota}: must specify {','.join(sorted(missing))} for: {container['name']}"
            raise forbidden(resource, obj["metadata"].get("name", ""), why)


def _plain(name: str) -> str:
    return f"requests.{name}" if name in _COMPUTE else name


def usage(store: SiteStore, namespace: str, names: Iterable[str]) -> Usage:
    """What the namespace uses of each named resource now."""
    total = {name: Decimal(0) for name in names}
    for resource, obj in store.in_namespace(namespace):
        for name, amount in charge(resource, obj).items():
            if name in total:
                total[name] += amount
    return total


def charge(resource: ResourceType, obj: Obj) -> Usage:
    """What one object costs, by every name a quota may use for it."""
    cost: Usage = {f"count/{resource.qualified}": Decimal(1)}
    if not resource.group and resource.plural in _COUNTED:
        cost[resource.plural] = Decimal(1)
    special = _SPECIAL.get(resource.key)
    if special:
        special(obj, cost)
    return cost


def _charge_pod(obj: Obj, cost: Usage) -> None:
    if (obj.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
        cost.pop("pods", None)
        return
    for container in (obj.get("spec") or {}).get("containers") or ():
        for kind in ("requests", "limits"):
            for name, amount in ((container.get("resources") or {}).get(kind) or {}).items():
                value = quantity.parse(amount or 0)
                cost[f"{kind}.{name}"] = cost.get(f"{kind}.{name}", Decimal(0)) + value
                if kind == "requests":
                    cost[name] = cost.get(name, Decimal(0)) + value


def _charge_service(obj: Obj, cost: Usage) -> None:
    kind = (obj.get("spec") or {}).get("type", "ClusterIP")
    if kind == "LoadBalancer":
        cost["services.loadbalancers"] = Decimal(1)
    if kind in {"LoadBalancer", "NodePort"}:
        cost["services.nodeports"] = Decimal(len(obj["spec"].get("ports") or ()))


def _charge_claim(obj: Obj, cost: Usage) -> None:
    wanted = ((obj.get("spec") or {}).get("resources") or {}).get("requests") or {}
    if "storage" in wanted:
        cost["requests.storage"] = quantity.parse(wanted["storage"] or 0)


_SPECIAL = {PODS: _charge_pod, ("", "services"): _charge_service, ("", "persistentvolumeclaims"): _charge_claim}


def refresh(store: SiteStore, event: Event) -> None:
    """Keep the `status.used` of the namespace's quotas up to date after a change."""
    namespace = event.obj["metadata"].get("namespace", "")
    if not namespace or not _costs_otherwise(event):
        return
    resource = builtin("resourcequotas")
    for one in store.list(resource, namespace):
        status = _status(store, one)
        if one.get("status") != status:
            store.replace(resource, {**one, "status": status})


def _costs_otherwise(event: Event) -> bool:
    """Whether an event can change a usage figure: most changes of a status do not."""
    if event.type != "MODIFIED" or event.old is None:
        return True
    if event.resource.key == QUOTAS:
        return bool(event.old.get("spec") != event.obj.get("spec"))
    return event.resource.key in _SPECIAL and charge(event.resource, event.old) != charge(event.resource, event.obj)


def _status(store: SiteStore, one: Obj) -> dict[str, Any]:
    hard = _hard(one)
    used = usage(store, one["metadata"]["namespace"], hard)
    return {"hard": hard, "used": {name: quantity.text(amount, hard[name]) for name, amount in used.items()}}
