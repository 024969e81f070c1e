"""What the API server itself decides about a Service: cluster addresses, node ports, target ports."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from edge.lab.kube.errors import cause, invalid
from edge.lab.kube.resources import builtin
from edge.lab.kube.store import Obj, SiteStore

NETWORK = IPv4Network("10.96.0.0/16")
NODE_PORTS = range(30_000, 32_768)


def complete(store: SiteStore, obj: Obj, old: Obj | None) -> None:
    """Fill a Service in place. Raises ApiError 422 when its address is taken or its ports are wrong."""
    spec = obj["spec"]
    spec.setdefault("type", "ClusterIP")
    if old:
        _inherit(spec, old["spec"])
    if spec["type"] == "ExternalName":
        return
    spec.setdefault("sessionAffinity", "None")
    spec.setdefault("internalTrafficPolicy", "Cluster")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    _addresses(store, obj, old)
    if spec["type"] in {"NodePort", "LoadBalancer"}:
        spec.setdefault("externalTrafficPolicy", "Cluster")
        _node_ports(store, spec)
    _check_names(obj)


def _inherit(spec: dict[str, Any], old: dict[str, Any]) -> None:
    """An update that leaves the addresses out keeps them."""
    if old.get("type") == "ExternalName" or spec["type"] == "ExternalName":
        return
    for word in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if not spec.get(word) and word in old:
            spec[word] = old[word]
    numbers = {(port.get("protocol", "TCP"), port["port"]): port.get("nodePort") for port in old.get("ports") or ()}
    for port in spec.get("ports") or ():
        kept = numbers.get((port.get("protocol", "TCP"), port.get("port")))
        if kept and spec["type"] != "ClusterIP":
            port.setdefault("nodePort", kept)


def _addresses(store: SiteStore, obj: Obj, old: Obj | None) -> None:
    spec = obj["spec"]
    before = (old or {}).get("spec", {}).get("clusterIP")
    if before and spec.get("clusterIP") != before:
        raise _bad(obj, "spec.clusterIPs[0]", f'Invalid value: ["{spec.get("clusterIP")}"]: may not change once set')
    if not before:
        taken = {one["spec"].get("clusterIP") for one in store.list(builtin("services"))}
        wished = spec.get("clusterIP") or _free_address(taken)
        if wished != "None" and wished in taken:
            text = f'Invalid value: ["{wished}"]: failed to allocate IP {wished}: provided IP is already allocated'
            raise _bad(obj, "spec.clusterIPs", text)
        spec["clusterIP"] = wished
    spec["clusterIPs"] = [spec["clusterIP"]]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def _free_address(taken: Iterable[str | None]) -> str:
    used = set(taken)
    first = int(NETWORK.network_address) + 10
    return next(text for number in range(first, first + 65_000) if (text := str(IPv4Address(number))) not in used)


def _node_ports(store: SiteStore, spec: dict[str, Any]) -> None:
    used = {port.get("nodePort") for one in store.list(builtin("services")) for port in one["spec"].get("ports") or ()}
    for port in spec.get("ports") or ():
        if not port.get("nodePort"):
            port["nodePort"] = next(number for number in NODE_PORTS if number not in used)
        used.add(port["nodePort"])


def _check_names(obj: Obj) -> None:
    ports = obj["spec"].get("ports") or []
    if not ports and obj["spec"].get("clusterIP") != "None":
        raise _bad(obj, "spec.ports", "Required value", "FieldValueRequired")
    for index, port in enumerate(ports):
        if len(ports) > 1 and not port.get("name"):
            raise _bad(obj, f"spec.ports[{index}].name", "Required value", "FieldValueRequired")


def _bad(obj: Obj, field: str, text: str, reason: str = "FieldValueInvalid") -> Exception:
    return invalid("Service", "", obj["metadata"].get("name", ""), [cause(field, reason, text)])
