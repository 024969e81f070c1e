"""What a site's objects were before a version came, how that is kept at the site, and what going back makes of them."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from edge.errors import InvalidInput
from edge.model.kube import KubeObject, ObjectRef
from edge.policy.blend import MISSING, Claims, blend
from edge.policy.fencing import NAMESPACE
from edge.policy.owned_fields import (
    MANAGER,
    Entry,
    FieldSet,
    difference,
    entries_of,
    fields_of,
    intersection,
    is_ours,
    union,
    within,
)
from edge.policy.render import MANAGED_BY, MANAGED_BY_LABEL, STAMP_LABEL

SECRET_TYPE: Final = "edge-platform.io/snapshot"  # noqa: S105 - the type of an object, not a secret
WORK: Final = "edge-platform.io/work"
DIGEST: Final = "edge-platform.io/digest"
CHUNKS: Final = "edge-platform.io/chunks"
CHUNK_BYTES: Final = 900_000
"""A Secret may hold 1 MiB, and a request to etcd 1.5 MiB, in which it stands in base64."""

SERVER_META: Final = frozenset(
    (
        *("uid", "resourceVersion", "managedFields", "generation", "creationTimestamp", "selfLink"),
        *("deletionTimestamp", "deletionGracePeriodSeconds"),
    )
)

CLUSTER_NOTES: Final = ("deployment.kubernetes.io/", "pv.kubernetes.io/", "deprecated.daemonset.template.generation")
"""How annotations begin that a cluster's own controllers write, whether or not it records who did."""
_ALLOTTED: Final = (("Service", "clusterIP"), ("Service", "clusterIPs"), ("PersistentVolumeClaim", "volumeName"))
"""What a cluster fills into a spec once, and does not let anybody change."""

Bodies = Mapping[ObjectRef, KubeObject | None]
"""Each object as it was; None: it was not there."""


class Snapshot(NamedTuple):
    """One work's record of what was there before it."""

    work: str
    digest: str
    bodies: Bodies


class Managed(StrEnum):
    """What keeps an object from being deleted, or nothing."""

    YES = ""
    NOT_OURS = "it does not carry this stamp's labels"
    NOT_APPLIED = "the platform owns none of its fields"
    LEAVING = "it is being deleted already"


def pack(bodies: Bodies) -> bytes:
    """The bodies, compressed. A status is the server's, and is not kept."""
    rows = [
        {"ref": ref.model_dump(), "body": body if body is None else _less(body, ("status",))}
        for ref, body in bodies.items()
    ]
    return zlib.compress(json.dumps(rows, separators=(",", ":"), sort_keys=True).encode(), 6)


def unpack(packed: bytes) -> Bodies:
    """The bodies of `pack`. InvalidInput when these are not such bytes."""
    try:
        rows = json.loads(zlib.decompress(packed))
        return {ObjectRef(**row["ref"]): row["body"] for row in rows}
    except (zlib.error, ValueError, KeyError, TypeError) as theirs:
        raise InvalidInput("The snapshot at the site is damaged", remedy="Put the site right by hand") from theirs


def secret_ref(stamp: str, chunk: int = 0) -> ObjectRef:
    """Where a chunk of a stamp's snapshot is kept; chunk 0 says what it is of and how many there are."""
    return ObjectRef(api_version="v1", kind="Secret", name=f"snapshot.{stamp}.{chunk}", namespace=NAMESPACE)


def secrets_for(stamp: str, work: str, packed: bytes) -> tuple[dict[str, Any], ...]:
    """The Secrets that keep a snapshot, chunk 0 last: the others count only when it is there."""
    chunks = [packed[at : at + CHUNK_BYTES] for at in range(0, len(packed), CHUNK_BYTES)]
    about = {WORK: work, DIGEST: digest_of(packed), CHUNKS: str(len(chunks))}
    return tuple(_secret(stamp, number, chunks[number], about) for number in range(len(chunks) - 1, -1, -1))


def digest_of(packed: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(packed).hexdigest()


def about(head: KubeObject) -> tuple[str, str, int]:
    """Work, digest and number of chunks, as a snapshot's chunk 0 says. InvalidInput when it is not one."""
    notes = head["metadata"].get("annotations") or {}
    try:
        return notes[WORK], notes[DIGEST], int(notes[CHUNKS])
    except (KeyError, ValueError) as theirs:
        raise InvalidInput("The snapshot at the site is damaged", object=head["metadata"]["name"]) from theirs


def joined(chunks: Sequence[KubeObject]) -> Snapshot:
    """The snapshot in these Secrets, chunk 0 first. InvalidInput when they do not belong together."""
    work, digest, count = about(chunks[0])
    packed = b"".join(base64.b64decode((chunk.get("data") or {}).get("chunk", "")) for chunk in chunks)
    if count != len(chunks) or digest_of(packed) != digest:
        raise InvalidInput("The snapshot at the site is damaged", remedy="Put the site right by hand", digest=digest)
    return Snapshot(work, digest, unpack(packed))


def plain(obj: KubeObject) -> dict[str, Any]:
    """The object without what a cluster sets: identity, versions, times, owners of fields, status, notes of its own."""
    meta = {key: value for key, value in obj["metadata"].items() if key not in SERVER_META}
    notes = meta.get("annotations") or {}
    if _of_cluster(notes):
        kept = {key: value for key, value in notes.items() if not key.startswith(CLUSTER_NOTES)}
        meta = {**_less(meta, ("annotations",)), **({"annotations": kept} if kept else {})}
    return {**_less(obj, ("status",)), "metadata": meta}


def gone_back(was: KubeObject, live: KubeObject) -> dict[str, Any]:
    """`live` with everything as it was, but for what others did since. Server-set fields are `live`'s."""
    claims = Claims(
        fields_of(live, ours=False), fields_of(live, ours=True), fields_of(was, ours=False), fields_of(was, ours=True)
    )
    before, after = plain(was), plain(live)
    found = {
        key: blend(before.get(key, MISSING), after.get(key, MISSING), claims.at(f"f:{key}"))
        for key in dict.fromkeys((*before, *after))
        if key not in ("apiVersion", "kind")
    }
    kept = {key: value for key, value in found.items() if value is not MISSING}
    return _with_clusters_own(kept, live)


def _with_clusters_own(found: Mapping[str, Any], live: KubeObject) -> dict[str, Any]:
    """The object with what is the cluster's to set, as it is now."""
    meta = {key: value for key, value in live["metadata"].items() if key in SERVER_META}
    notes = _of_cluster(live["metadata"].get("annotations") or {})
    if notes:
        meta["annotations"] = {**(found["metadata"].get("annotations") or {}), **notes}
    whole = {"apiVersion": live["apiVersion"], "kind": live["kind"], **found, "metadata": {**found["metadata"], **meta}}
    allotted = {word: live["spec"][word] for kind, word in _ALLOTTED if kind == live["kind"] and word in live["spec"]}
    if allotted:
        whole["spec"] = {**whole["spec"], **allotted}
    return {**whole, "status": live["status"]} if "status" in live else whole


def _of_cluster(notes: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in notes.items() if key.startswith(CLUSTER_NOTES)}


def managers_back(was: KubeObject, live: KubeObject) -> list[Entry] | None:
    """Who owns which field once `gone_back` is there; None when that is what `live` says already.

    Ours is what it was, less what others took since. What we took from others, or removed of theirs, is theirs again.
    """
    ours, others, wanted = fields_of(live, ours=True), fields_of(live, ours=False), gone_back(was, live)
    live_entries = list(((live.get("metadata") or {}).get("managedFields")) or ())
    kept = [entry for entry in live_entries if entry.get("subresource") or not is_ours(entry)]
    for entry in entries_of(was):
        if is_ours(entry):
            taken_since = difference(others, fields_of(was, ours=False))
            _add(kept, entry, difference(entry.get("fieldsV1"), taken_since))
        else:
            fields = entry.get("fieldsV1")
            came_back = difference(within(fields, wanted), within(fields, live))
            _add(kept, entry, difference(union(intersection(fields, ours), came_back), others))
    return None if _same_entries(kept, live_entries) else kept


def new_owners(was: KubeObject) -> list[Entry]:
    """Who owned which field of an object that is made anew."""
    return list(entries_of(was))


def managed(live: KubeObject, stamp: str) -> Managed:
    """Whether an object is this stamp's and ours, by what it says itself."""
    meta = live["metadata"]
    labels = meta.get("labels") or {}
    if meta.get("deletionTimestamp"):
        return Managed.LEAVING
    if labels.get(STAMP_LABEL) != stamp or labels.get(MANAGED_BY_LABEL) != MANAGED_BY:
        return Managed.NOT_OURS
    return Managed.YES if fields_of(live, ours=True) is not None else Managed.NOT_APPLIED


def foreign(objects: Iterable[KubeObject]) -> tuple[ObjectRef, ...]:
    """Those objects of a namespace that would go with it: not leaving yet, without an owner, not the cluster's own."""
    return tuple(ref for ref in (_foreign(obj) for obj in objects) if ref is not None)


def _foreign(obj: KubeObject) -> ObjectRef | None:
    ref, meta = ObjectRef.of(obj), obj["metadata"]
    by_itself = ref.kind in _BY_ITSELF or (ref.kind, ref.name) in _MADE_FOR_ALL
    return None if meta.get("ownerReferences") or meta.get("deletionTimestamp") or by_itself else ref


_BY_ITSELF: Final = frozenset(("Event", "Endpoints", "EndpointSlice", "PodMetrics", "ControllerRevision"))
_MADE_FOR_ALL: Final = frozenset((("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")))


def _add(entries: list[Entry], like: Entry, fields: FieldSet | None) -> None:
    """Give these fields to the manager of `like`."""
    if fields is None:
        return
    for at, entry in enumerate(entries):
        if _identity(entry) == _identity(like):
            entries[at] = {**entry, "fieldsV1": union(entry.get("fieldsV1"), fields)}
            return
    entries.append({**like, "fieldsV1": fields})


def _identity(entry: Entry) -> tuple[str, ...]:
    return tuple(str(entry.get(word, "")) for word in ("manager", "operation", "apiVersion", "subresource"))


def _same_entries(left: Iterable[Entry], right: Iterable[Entry]) -> bool:
    def shape(entries: Iterable[Entry]) -> list[tuple[tuple[str, ...], str]]:
        return sorted((_identity(entry), json.dumps(entry.get("fieldsV1"), sort_keys=True)) for entry in entries)

    return shape(left) == shape(right)


def _less(obj: KubeObject, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in obj.items() if key not in keys}


def _secret(stamp: str, number: int, chunk: bytes, notes: Mapping[str, str]) -> dict[str, Any]:
    labels = {MANAGED_BY_LABEL: MANAGER, "edge-platform.io/snapshot": stamp}
    ref = secret_ref(stamp, number)
    return {
        "apiVersion": ref.api_version,
        "kind": ref.kind,
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            "labels": labels,
            "annotations": dict(notes),
        },
        "type": SECRET_TYPE,
        "data": {"chunk": base64.b64encode(chunk).decode()},
    }
