"""Discovery: which groups, versions and resources there are, in the plain and in the aggregated form.

Documents are bytes kept per set of types, so all sites without CRDs share one copy.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import orjson

from edge.lab.kube.resources import Catalogue, ResourceType, builtin_catalogue
from edge.lab.kube.types import SiteTypes

VERSION = {
    "major": "1",
    "minor": "37",
    "gitVersion": "v1.37.0+edge-lab",
    "gitCommit": "0" * 40,
    "gitTreeState": "clean",
    "buildDate": "2026-08-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

# What a subresource is asked and answered with, when that is not the resource's own kind.
_SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "eviction": ("policy", "v1", "Eviction"),
    "binding": ("", "v1", "Binding"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "proxy": ("", "v1", "ServiceProxyOptions"),
}
_SUBRESOURCE_VERBS = {
    "scale": ["get", "patch", "update"],
    "status": ["get", "patch", "update"],
    "approval": ["get", "patch", "update"],
    "finalize": ["update"],
    "log": ["get"],
    "proxy": ["create", "delete", "get", "patch", "update"],
}


def document(types: SiteTypes, path: tuple[str, ...], aggregated: bool) -> bytes | None:
    """The discovery document at `/api`, `/apis`, `/api/v1`, `/apis/<group>[/<version>]`; None when there is none."""
    return _document(_catalogue(types), path, aggregated)


def _catalogue(types: SiteTypes) -> Catalogue:
    return _merged(types.custom) if types.custom else builtin_catalogue()


@lru_cache(maxsize=64)
def _merged(custom: Catalogue) -> Catalogue:
    return Catalogue((*builtin_catalogue(), *custom))


@lru_cache(maxsize=1024)
def _document(catalogue: Catalogue, path: tuple[str, ...], aggregated: bool) -> bytes | None:
    groups = catalogue.groups()
    match path:
        case ("api",):
            value = _aggregate(catalogue, [""]) if aggregated else _core_versions()
        case ("apis",):
            named = [group for group in groups if group]
            value = _aggregate(catalogue, named) if aggregated else _group_list(groups, named)
        case ("apis", group) if group in groups:
            value = {"kind": "APIGroup", "apiVersion": "v1", **_group(groups, group)}
        case ("api", "v1"):
            value = _resource_list(catalogue, "", "v1")
        case ("apis", group, version) if version in groups.get(group, ()):
            value = _resource_list(catalogue, group, version)
        case _:
            return None
    return orjson.dumps(value)


def _core_versions() -> dict[str, Any]:
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def _group_list(groups: dict[str, list[str]], named: Iterable[str]) -> dict[str, Any]:
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(groups, group) for group in named]}


def _group(groups: dict[str, list[str]], group: str) -> dict[str, Any]:
    versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in groups[group]]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _resource_list(catalogue: Catalogue, group: str, version: str) -> dict[str, Any]:
    entries: list[dict[str, Any]] = []
    for one in catalogue:
        if (one.group, one.version) == (group, version):
            entries += [_plain(one), *(_plain_subresource(one, sub) for sub in one.subresources)]
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": entries}


def _plain(one: ResourceType) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": one.plural,
        "singularName": one.singular,
        "namespaced": one.namespaced,
        "kind": one.kind,
        "verbs": list(one.verbs),
    }
    if one.short_names:
        entry["shortNames"] = list(one.short_names)
    if one.categories:
        entry["categories"] = list(one.categories)
    return entry


def _plain_subresource(one: ResourceType, sub: str) -> dict[str, Any]:
    group, version, kind = subresource_kind(one, sub)
    entry: dict[str, Any] = {
        "name": f"{one.plural}/{sub}",
        "singularName": "",
        "namespaced": one.namespaced,
        "kind": kind,
        "verbs": _SUBRESOURCE_VERBS.get(sub, ["create"]),
    }
    if (group, version) != (one.group, one.version):
        entry |= {"group": group, "version": version}
    return entry


def subresource_kind(one: ResourceType, sub: str) -> tuple[str, str, str]:
    """(group, version, kind) that a subresource speaks."""
    return _SUBRESOURCE_KINDS.get(sub, (one.group, one.version, one.kind))


def _aggregate(catalogue: Catalogue, groups: Iterable[str]) -> dict[str, Any]:
    items = []
    for group in groups:
        versions = [
            {
                "version": version,
                "freshness": "Current",
                "resources": [_rich(one) for one in catalogue if (one.group, one.version) == (group, version)],
            }
            for version in catalogue.groups()[group]
        ]
        items.append({"metadata": {"name": group, "creationTimestamp": None}, "versions": versions})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _rich(one: ResourceType) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": one.plural,
        "responseKind": {"group": one.group, "version": one.version, "kind": one.kind},
        "scope": "Namespaced" if one.namespaced else "Cluster",
        "singularResource": one.singular,
        "verbs": list(one.verbs),
    }
    if one.short_names:
        entry["shortNames"] = list(one.short_names)
    if one.categories:
        entry["categories"] = list(one.categories)
    if one.subresources:
        entry["subresources"] = [_rich_subresource(one, sub) for sub in one.subresources]
    return entry


def _rich_subresource(one: ResourceType, sub: str) -> dict[str, Any]:
    group, version, kind = subresource_kind(one, sub)
    return {
        "subresource": sub,
        "responseKind": {"group": group, "version": version, "kind": kind},
        "verbs": _SUBRESOURCE_VERBS.get(sub, ["create"]),
    }
