"""The act of pulling images to a site's nodes before they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge.clients.kubernetes import SiteClient
from edge.errors import EdgeError, NotFound, NotYet
from edge.model.kube import KubeObject, ObjectRef
from edge.model.step import Detail
from edge.policy.fencing import NAMESPACE, namespace_object
from edge.policy.health import health_of
from edge.policy.precache import (
    RUNNER_IMAGE,
    Pulling,
    images_of,
    not_pulled,
    pods_of,
    precache_object,
    pull_secrets_of,
)

WITHIN_S = 1800.0
"""How long pulling may take, in seconds: a gigabyte over a thin link takes half an hour."""


def precache_objects(
    client: SiteClient, objects: Iterable[KubeObject], within_s: float = WITHIN_S, *, runner: str = RUNNER_IMAGE
) -> Detail:
    """Pull the images that these rendered objects name to every node that a DaemonSet reaches, and leave nothing
    behind but the images.

    Images that need a Secret are pulled in its own namespace, where that exists already: at a first installation they
    are pulled by the rollout itself. Raises NotYet after `within_s` seconds, naming the images that some node has
    trouble with.
    """
    places: dict[str, list[KubeObject]] = {}
    for obj in objects:
        places.setdefault(str(obj["metadata"].get("namespace") or ""), []).append(obj)
    count, nodes, left_out = 0, 0, list[str]()
    for namespace, mine in places.items():
        images, secrets = images_of(mine), pull_secrets_of(mine)
        if not images:
            continue
        if secrets and not _is_there(client, namespace):
            left_out += images
            continue
        pulling = Pulling(namespace if secrets else NAMESPACE, secrets, runner)
        nodes = max(nodes, _pull(client, images, within_s, pulling))
        count += len(images)
    return {"images": count, "nodes": nodes, "left_out": left_out}


def _pull(client: SiteClient, images: Sequence[str], within_s: float, pulling: Pulling) -> int:
    """The number of nodes that have the images."""
    if pulling.namespace == NAMESPACE:
        client.apply(namespace_object())
    wanted = precache_object(images, pulling)
    try:
        client.wait_for([client.apply(wanted)], health_of, within_s=within_s)
        status = client.get(ObjectRef.of(wanted)).get("status") or {}
    except NotYet as late:
        raise _named(client, wanted, within_s) from late
    finally:
        client.delete(ObjectRef.of(wanted))
    return int(status.get("numberReady") or 0)


def _named(client: SiteClient, wanted: KubeObject, within_s: float) -> EdgeError:
    pods = client.list("v1", "Pod", namespace=wanted["metadata"]["namespace"], labels=pods_of(wanted))
    trouble = not_pulled(pods)
    what = f"After {within_s:g} s the images are not on every node"
    return NotYet(what, site=client.site or None, images=", ".join(trouble) or "still being pulled")


def _is_there(client: SiteClient, namespace: str) -> bool:
    try:
        client.get(ObjectRef(api_version="v1", kind="Namespace", name=namespace))
    except NotFound:
        return False
    return True
