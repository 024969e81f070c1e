"""The kustomize-controller's writes at a site: server-side apply by its own name, and pruning what it applied before.

They go through the same doors as a request: admission, validation and ownership of fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import orjson

from edge.lab.controllers.home import Home
from edge.lab.flux.building import NAME_LABEL, NAMESPACE_LABEL
from edge.lab.kube.bodies import APPLY
from edge.lab.kube.call import AUTHENTICATED, MASTERS, Call, Target, User
from edge.lab.kube.deletion import delete
from edge.lab.kube.errors import ApiError
from edge.lab.kube.resources import ResourceType
from edge.lab.kube.server import SiteServer
from edge.lab.kube.store import Obj
from edge.lab.kube.verbs.write import patch
from edge.lab.sites import LabSite

MANAGER = "kustomize-controller"
_USER = User(f"system:serviceaccount:flux-system:{MANAGER}", (MASTERS, AUTHENTICATED))
_FIRST = ("Namespace", "CustomResourceDefinition")
Entry = dict[str, str]
"""One line of an inventory: `id` is namespace_name_group_kind, `v` the version."""


class ApplyFailed(Exception):
    """The site refuses an object; the message names it."""


def apply_all(home: Home, objects: Sequence[Obj]) -> list[Obj]:
    """Apply namespaces and definitions, then the rest; each part is tried in full before any of it is kept.

    The objects as they are at the site. Raises ApplyFailed.
    """
    applied: list[Obj] = []
    first = [one for one in objects if one["kind"] in _FIRST]
    rest = [one for one in objects if one["kind"] not in _FIRST]
    for part in (first, rest):
        for obj in part:
            send(home.site, obj, MANAGER, dry_run=True)
        applied += [send(home.site, obj, MANAGER) for obj in part]
    return applied


def send(site: LabSite, obj: Obj, manager: str, *, dry_run: bool = False) -> Obj:
    """One server-side apply at an awake site, taking fields over from others. Raises ApplyFailed."""
    assert site.store is not None
    meta = obj["metadata"]
    words = "/".join(filter(None, (str(obj["kind"]), meta.get("namespace"), str(meta["name"]))))
    resource = site.store.types.of_kind(str(obj["apiVersion"]), str(obj["kind"]))
    if resource is None:
        why = f'no matches for kind "{obj["kind"]}" in version "{obj["apiVersion"]}"'
        raise ApplyFailed(f"{words} dry-run failed: {why}")
    if resource.namespaced and not meta.get("namespace"):
        raise ApplyFailed(f"{words} namespace not specified: the server could not find the requested resource")
    query = {"fieldManager": manager, "force": "true", **({"dryRun": "All"} if dry_run else {})}
    call = Call("PATCH", "", query, {"content-type": APPLY}, orjson.dumps(obj, default=str), user=_USER)
    target = Target(resource, meta.get("namespace", "") if resource.namespaced else "", str(meta["name"]))
    try:
        stored: Obj = orjson.loads(patch(cast(SiteServer, site.app).site, call, target).body)
    except ApiError as refused:
        raise ApplyFailed(f"{words} dry-run failed: {refused.status()['message']}") from refused
    return stored


def entries(objects: Iterable[Obj]) -> list[Entry]:
    """The inventory of these objects."""
    return [named_entry({**obj["metadata"], "apiVersion": obj["apiVersion"], "kind": obj["kind"]}) for obj in objects]


def named_entry(named: Mapping[str, str]) -> Entry:
    """The line for an object that is named by apiVersion, kind, namespace and name."""
    group, _, version = named["apiVersion"].rpartition("/")
    return {"id": f"{named.get('namespace', '')}_{named['name']}_{group}_{named['kind']}", "v": version}


def prune(home: Home, gone: Iterable[Entry], owner: tuple[str, str]) -> None:
    """Delete what the inventory has no more, unless it carries another Kustomization's labels by now.

    `owner` is the Kustomization's namespace and name.
    """
    for entry in reversed(list(gone)):
        found = find(home, entry)
        if found is None:
            continue
        labels = found[1]["metadata"].get("labels") or {}
        mine = (labels.get(NAMESPACE_LABEL), labels.get(NAME_LABEL)) == owner
        if mine and not found[1]["metadata"].get("deletionTimestamp"):
            delete(home.store, *found)


def find(home: Home, entry: Entry) -> tuple[ResourceType, Obj] | None:
    """The object that a line of an inventory names."""
    namespace, name, group, kind = entry["id"].split("_")
    resource = home.store.types.of_kind(f"{group}/{entry['v']}" if group else entry["v"], kind)
    obj = home.store.get(resource, namespace, name) if resource is not None else None
    return (resource, obj) if resource is not None and obj is not None else None
