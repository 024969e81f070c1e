"""What a site was before a version came: read, kept at the site, and brought back.

One read of all objects (`look`) serves the snapshot, the check that no other stamp owns them, and the fresh diff.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from edge.clients.kubernetes import SiteClient
from edge.errors import (
    CredentialRejected,
    EdgeError,
    FencedOff,
    LedgerMismatch,
    NotFound,
    OperationFailed,
    Permanent,
    Rejected,
    SiteUnfit,
    WriteConflict,
)
from edge.model.kube import KubeObject, ObjectRef
from edge.model.step import Detail
from edge.policy import snapshot
from edge.policy.apply_order import in_order
from edge.policy.fencing import namespace_object
from edge.policy.ownership import check_stamps
from edge.policy.snapshot import Bodies, Managed, Snapshot

PAUSES_S = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Pauses after each of which an object is read anew when somebody wrote it in between.

Controllers write an object's status several times in the second after a change of it.
"""

T = TypeVar("T")


def look(client: SiteClient, refs: Sequence[ObjectRef]) -> Bodies:
    """Each of these objects as it is at the site now; None for those that are not there."""
    found = client.look(refs)
    return {ref: found.get(ref) for ref in dict.fromkeys(refs)}


def take_snapshot(
    client: SiteClient, work: str, refs: Sequence[ObjectRef], *, stamp: str, live: Bodies | None = None
) -> Detail:
    """Keep what these objects are at the site, before the first write of `work`; what it covers.

    `live` is what `look` found a moment ago. Raises OwnershipConflict when another stamp owns one of them. The same
    work's snapshot is never taken twice: a second one would hold what the first try has changed. A site that cannot
    keep it (full disk, quota) raises SiteUnfit or Rejected, and nothing was changed.
    """
    head = _head(client, stamp)
    if head is not None and snapshot.about(head)[0] == work:
        return _detail(_read(client, stamp, head))
    bodies = look(client, refs) if live is None else live
    check_stamps(bodies, stamp, client.site)
    packed = snapshot.pack(bodies)
    secrets = snapshot.secrets_for(stamp, work, packed)
    _keep(client, secrets)
    _drop_rest(client, stamp, len(secrets), head)
    return _detail(Snapshot(work, snapshot.digest_of(packed), bodies))


def restore_snapshot(client: SiteClient, work: str, *, stamp: str, digest: str = "") -> Detail:
    """Bring the site back to what it was before `work`: what was done with each object.

    Objects that were not there are deleted, those that were get back what `work` changed, and those that it deleted are
    made anew. What others changed since stays, and so does a namespace or definition that others use. May be repeated
    after it was cut off. `digest` is what `take_snapshot` said. Raises NotFound without a snapshot of this work, and
    OperationFailed with the objects that the site would not take back, after all others were brought back. An
    error that cuts this off has in `left` the objects that are `back` and those that are `not_back`.
    """
    head = _head(client, stamp)
    if head is None or snapshot.about(head)[0] != work:
        raise NotFound("The site has no snapshot of this work", site=client.site or None, work=work, stamp=stamp)
    kept = _read(client, stamp, head)
    if digest and kept.digest != digest:
        raise LedgerMismatch("The site's snapshot is not the one on record", site=client.site or None, digest=digest)
    restoring = _Restoring(client, stamp, kept.bodies)
    try:
        return restoring.run()
    except EdgeError as error:
        error.left = restoring.left()
        raise


class _Restoring:
    """One site's way back."""

    def __init__(self, client: SiteClient, stamp: str, bodies: Bodies) -> None:
        self._client, self._stamp, self._bodies = client, stamp, bodies
        self._back: set[ObjectRef] = set()
        self._done: dict[str, list[str]] = {
            word: [] for word in ("deleted", "restored", "made_anew", "unchanged", "left", "differs", "failed")
        }

    def run(self) -> Detail:
        """New objects go first, last applied first: a new webhook must not stand in the way of the old objects."""
        existed = in_order([_ordered(ref) for ref, body in self._bodies.items() if body is not None])
        new = in_order([_ordered(ref) for ref, body in self._bodies.items() if body is None])
        for row in reversed(new):
            self._each(row["ref"], self._delete)
        for row in existed:
            self._each(row["ref"], self._bring_back)
        if self._done["failed"]:
            raise OperationFailed(
                "The site does not take back all of its former objects",
                remedy="Put these right by hand, or try again",
                site=self._client.site or None,
                objects="; ".join(self._done["failed"])[:1000],
            )
        return {word: objects for word, objects in self._done.items() if objects}

    def left(self) -> dict[str, list[str]]:
        """Which objects are as they were, and which are not, or not yet."""
        back = [str(ref) for ref in self._bodies if ref in self._back]
        left = {"back": back, "not_back": [str(ref) for ref in self._bodies if ref not in self._back]}
        return {word: objects for word, objects in left.items() if objects}

    def _each(self, ref: ObjectRef, act: Callable[[ObjectRef], str]) -> None:
        """One object's refusal does not keep the others from coming back; a lost site or token does."""
        try:
            word = until_quiet(act, ref)
            if word:
                self._done[word].append(str(ref))
            self._back.add(ref)
        except (FencedOff, CredentialRejected):
            raise
        except Permanent as error:
            self._done["failed"].append(f"{ref}: {error.what}")

    def _delete(self, ref: ObjectRef) -> str:
        live = self._client.look([ref]).get(ref)
        if live is None:
            return "unchanged"
        why = str(snapshot.managed(live, self._stamp)) or self._used_by_others(ref, live)
        if why and why != Managed.LEAVING:
            self._done["left"].append(f"{ref}: {why}")
            return ""
        if not why:
            meta = live["metadata"]
            self._client.delete(ref, uid=meta["uid"], resource_version=meta["resourceVersion"])
        return "deleted"

    def _used_by_others(self, ref: ObjectRef, live: KubeObject) -> str:
        """Whose objects would go with it; "" when nobody's."""
        found = [str(one) for one in snapshot.foreign(_inside(self._client, ref, live))]
        return f"it holds {', '.join(found[:5])}{' and others' if len(found) > 5 else ''}" if found else ""

    def _bring_back(self, ref: ObjectRef) -> str:
        was = self._bodies[ref] or {}
        live = self._client.look([ref]).get(ref)
        if live is None:
            made = self._client.create(snapshot.plain(was))
            self._client.set_managers(made, snapshot.new_owners(was))
            return "made_anew"
        if live["metadata"].get("deletionTimestamp"):
            raise WriteConflict("The object is still being deleted", site=self._client.site or None, object=ref)
        return self._change(ref, was, live)

    def _change(self, ref: ObjectRef, was: KubeObject, live: KubeObject) -> str:
        wanted = snapshot.gone_back(was, live)
        owners = snapshot.managers_back(was, live)
        if wanted == live and owners is None:
            return "unchanged"
        now = live if wanted == live else self._client.replace(wanted)
        if owners is not None or now is not live:
            now = self._client.set_managers(now, snapshot.managers_back(was, live) or _owners(live))
        if snapshot.plain(now) != snapshot.plain(wanted):
            self._done["differs"].append(str(ref))
        return "restored"


def _owners(live: KubeObject) -> list[KubeObject]:
    return list(live["metadata"].get("managedFields") or ())


def until_quiet(act: Callable[[ObjectRef], T], ref: ObjectRef) -> T:
    """Do what reads, judges and writes an object; again, from the read on, when somebody wrote it in between."""
    for pause_s in PAUSES_S:
        try:
            return act(ref)
        except WriteConflict:
            time.sleep(pause_s)
    return act(ref)


def _inside(client: SiteClient, ref: ObjectRef, live: KubeObject) -> Iterator[KubeObject]:
    """What would go with a namespace or a definition."""
    if ref.kind == "CustomResourceDefinition":
        spec = live["spec"]
        served = [version["name"] for version in spec["versions"] if version.get("served")]
        yield from client.list(f"{spec['group']}/{served[0]}", spec["names"]["kind"]) if served else ()
    if ref.kind == "Namespace" and ref.api_version == "v1":
        for resource in client.discovery(refresh=True):
            if resource.namespaced:
                yield from _listed(client, resource.api_version, resource.kind, ref.name)


def _listed(client: SiteClient, api_version: str, kind: str, namespace: str) -> Iterator[KubeObject]:
    """Some kinds cannot be listed, such as reviews; what we may not see is not taken for absent."""
    try:
        yield from client.list(api_version, kind, namespace=namespace)
    except (NotFound, Rejected):
        return


def _ordered(ref: ObjectRef) -> dict[str, Any]:
    return {"kind": ref.kind, "ref": ref}


def _head(client: SiteClient, stamp: str) -> KubeObject | None:
    ref = snapshot.secret_ref(stamp)
    return client.look([ref]).get(ref)


def _read(client: SiteClient, stamp: str, head: KubeObject) -> Snapshot:
    count = snapshot.about(head)[2]
    return snapshot.joined([head, *(client.get(snapshot.secret_ref(stamp, chunk)) for chunk in range(1, count))])


def _keep(client: SiteClient, secrets: Sequence[KubeObject]) -> None:
    """Write all chunks, or say why the site cannot keep them."""
    try:
        for secret in secrets:
            try:
                client.apply(secret, force=True)
            except NotFound:
                client.apply(namespace_object())
                client.apply(secret, force=True)
    except Rejected as error:
        raise Rejected(
            f"The site does not keep a snapshot; nothing was changed. {error.what}",
            remedy="Make room in the quota of the namespace edge-platform, or let Secrets of the snapshot's type pass",
            **error.where,
        ) from error
    except SiteUnfit as full:
        what = "The site has no room for a snapshot; nothing was changed"
        raise SiteUnfit(what, remedy=full.remedy, **full.where) from full


def _drop_rest(client: SiteClient, stamp: str, count: int, former: KubeObject | None) -> None:
    """Chunks of a larger snapshot before this one."""
    for chunk in range(count, snapshot.about(former)[2] if former else 0):
        client.delete(snapshot.secret_ref(stamp, chunk))


def _detail(kept: Snapshot) -> Detail:
    absent = sum(body is None for body in kept.bodies.values())
    return {"digest": kept.digest, "objects": len(kept.bodies), "absent": absent}
