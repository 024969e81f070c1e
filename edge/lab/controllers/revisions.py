"""ControllerRevisions: pod templates a DaemonSet or StatefulSet has had; `kubectl rollout undo` goes back to them."""

from __future__ import annotations

from edge.lab.controllers.home import PODS_TYPE, Home
from edge.lab.controllers.pods import REVISION_LABEL, owned, owner_reference
from edge.lab.kube.resources import builtin
from edge.lab.kube.store import Obj

REVISIONS_TYPE = builtin("controllerrevisions", "apps")


def note_revision(home: Home, owner: Obj, template_hash: str) -> None:
    """Make sure that the newest revision of `owner` is that of its present template, and forget the oldest ones."""
    kept = owned(home, REVISIONS_TYPE, owner)
    name = f"{owner['metadata']['name']}-{template_hash}"
    present = next((one for one in kept if one["metadata"]["name"] == name), None)
    highest = max((one["revision"] for one in kept), default=0)
    if present is None:
        kept.append(home.create(REVISIONS_TYPE, _revision(owner, name, template_hash, highest + 1)))
    elif present["revision"] < highest:  # an earlier template is wanted again
        kept.remove(present)
        kept.append(home.update(REVISIONS_TYPE, present, {**present, "revision": highest + 1}))
    _forget_oldest(home, owner, kept)


def _revision(owner: Obj, name: str, template_hash: str, number: int) -> Obj:
    template = owner["spec"]["template"]
    labels = (template.get("metadata") or {}).get("labels") or {}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": owner["metadata"]["namespace"],
            "labels": {**labels, REVISION_LABEL: template_hash},
            "ownerReferences": [owner_reference(owner)],
        },
        "data": {"spec": {"template": {**template, "$patch": "replace"}}},
        "revision": number,
    }


def _forget_oldest(home: Home, owner: Obj, kept: list[Obj]) -> None:
    """Keep the present one, those that pods still have, and as many others as the owner's history may hold."""
    most = owner["spec"].get("revisionHistoryLimit", 10)
    if len(kept) <= most + 1:
        return
    in_use = {_hash_of(pod) for pod in owned(home, PODS_TYPE, owner)}
    older = sorted(kept, key=lambda one: int(one["revision"]), reverse=True)[1:]
    idle = [one for one in older if not in_use & {_hash_of(one), one["metadata"]["name"]}]
    for one in idle[most:]:
        home.store.remove(REVISIONS_TYPE, one["metadata"]["namespace"], one["metadata"]["name"])


def _hash_of(obj: Obj) -> str:
    return str((obj["metadata"].get("labels") or {}).get(REVISION_LABEL, ""))
