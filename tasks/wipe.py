"""Taking from a cluster everything that the platform put there, found by looking at every kind that it serves."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from edge.clients.kube_discovery import Resource
from edge.clients.kubernetes import SiteClient
from edge.errors import NotFound, NotYet
from edge.model.decommission import Footprint, Mark
from edge.policy.decommission import NOT_KEPT, ONLY_MADE, access_faults, footprint, released, removal_order

GONE_WITHIN_S = 180.0
"""How long each group of objects may take until it is gone."""
LOOK_EVERY_S = 0.5
_RBAC = "rbac.authorization.k8s.io/v1"


def footprints(client: SiteClient) -> tuple[tuple[Footprint, ...], int]:
    """Every object with the platform's mark, and how many kinds were looked at.

    Raises what the site answers: a kind that may not be listed proves nothing.
    """
    kinds = tuple(_kinds(client))
    found = [mark for kind in kinds for mark in _marked(client, kind)]
    return tuple(found), len(kinds)


def remove(client: SiteClient, found: Sequence[Footprint]) -> None:
    """Delete what is ours, group by group, and give up what we set in what is not."""
    for mark in found:
        if mark.mark is Mark.TOUCHED:
            client.apply(released(mark.ref))
    for group in removal_order(found):
        for mark in group:
            client.delete(mark.ref, uid=mark.uid)
        _wait_gone(client, group)


def left_access(client: SiteClient, namespace: str) -> list[str]:
    """Accounts of a tenant's namespace, and what gives them rights, one sentence each."""
    objects = [
        *client.list("v1", "ServiceAccount", namespace=namespace),
        *client.list(_RBAC, "RoleBinding"),
        *client.list(_RBAC, "ClusterRoleBinding"),
    ]
    return access_faults(objects, namespace)


def _kinds(client: SiteClient) -> Iterator[Resource]:
    """Each kind that is stored, once, whatever versions it is served in."""
    seen: set[tuple[str, str]] = set()
    for kind in client.discovery(refresh=True):
        group = kind.api_version.rpartition("/")[0]
        if group in NOT_KEPT or kind.kind in ONLY_MADE or (group, kind.kind) in seen:
            continue
        seen.add((group, kind.kind))
        yield kind


def _marked(client: SiteClient, kind: Resource) -> Iterator[Footprint]:
    try:
        for obj in client.list(kind.api_version, kind.kind):
            mark = footprint(obj)
            if mark is not None:
                yield mark
    except NotFound:  # its definition was deleted meanwhile, and its objects with it
        return


def _wait_gone(client: SiteClient, group: Sequence[Footprint]) -> None:
    until = time.monotonic() + GONE_WITHIN_S
    left = list(group)
    while left := [mark for mark in left if _is_there(client, mark)]:
        if time.monotonic() > until:
            names = ", ".join(str(mark.ref) for mark in left[:5])
            raise NotYet(f"{len(left)} objects are not gone", within_s=GONE_WITHIN_S, objects=names)
        time.sleep(LOOK_EVERY_S)


def _is_there(client: SiteClient, mark: Footprint) -> bool:
    """The very object: one that was made anew under its name is another."""
    try:
        found = client.get(mark.ref)
    except NotFound:
        return False
    return not mark.uid or found["metadata"].get("uid") == mark.uid
