"""Reads from a site what a stamp asks of it, in as few requests as the stamp's needs allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge.clients.kubernetes import SiteClient
from edge.errors import CredentialRejected, InvalidInput, NotFound
from edge.model.kube import KubeObject, ObjectRef
from edge.model.stamp import Stamp
from edge.policy.fitness import SiteFacts
from edge.policy.health import health_of
from edge.policy.pod_shapes import shape_of
from edge.policy.render import STAMP_LABEL

Live = Mapping[ObjectRef, KubeObject | None]


def read_facts(client: SiteClient, stamp: Stamp, objects: Sequence[KubeObject], live: Live) -> SiteFacts:
    """What the site has of what the stamp needs. Nodes and pods are not read where the credential may not."""
    asked = stamp.requires
    has_pods = any(shape_of(obj) for obj in objects)
    clock_off = client.clock_off()
    nodes = _listed(client, "Node") if has_pods or asked.architectures else ()
    return SiteFacts(
        clock_off_s=clock_off.total_seconds() if clock_off is not None else None,
        version=str(client.version().get("gitVersion", "")) if asked.kubernetes else "",
        nodes=nodes,
        pods=_listed(client, "Pod") if has_pods and nodes else (),
        kinds=_kinds(client) if asked.kinds else None,
        controllers=_controllers(client, asked.controllers) if asked.controllers else None,
        owners=_owners(client, stamp, live),
    )


def _listed(client: SiteClient, kind: str) -> tuple[dict[str, object], ...]:
    try:
        return tuple(client.list("v1", kind))
    except CredentialRejected:
        return ()


def _kinds(client: SiteClient) -> frozenset[str]:
    found: set[str] = set()
    for resource in client.discovery(refresh=True):
        group = resource.api_version.rpartition("/")[0]
        found |= {resource.kind, f"{resource.kind}.{group}"}
    return frozenset(found)


def _controllers(client: SiteClient, names: Sequence[str]) -> dict[str, bool]:
    """Those that are there, and whether they work."""
    found: dict[str, bool] = {}
    for said in names:
        namespace, slash, name = said.partition("/")
        if not (slash and namespace and name):
            raise InvalidInput("A controller is namespace/name", field="requires.controllers", value=said)
        try:
            obj = client.get(ObjectRef(api_version="apps/v1", kind="Deployment", name=name, namespace=namespace))
        except NotFound:
            continue
        found[said] = health_of(obj).health.value == "Current"
    return found


def namespace_ref(name: str) -> ObjectRef:
    """The reference of a namespace."""
    return ObjectRef(api_version="v1", kind="Namespace", name=name)


def _owners(client: SiteClient, stamp: Stamp, live: Live) -> dict[str, str]:
    """Which stamp each of the stamp's namespaces belongs to, of those that are there."""
    refs = [namespace_ref(name) for name in stamp.namespaces]
    unknown = [ref for ref in refs if ref not in live]
    found: dict[ObjectRef, KubeObject | None] = {**{ref: live[ref] for ref in refs if ref in live}}
    found.update(client.look(unknown) if unknown else {})
    labels = {ref.name: (obj["metadata"].get("labels") or {}) for ref, obj in found.items() if obj is not None}
    return {name: str(said.get(STAMP_LABEL, "")) for name, said in labels.items()}
