"""Delete what an old version brought and the new one has no more."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from edge.clients.kubernetes import SiteClient
from edge.model.kube import ObjectRef
from edge.model.step import Detail
from edge.policy.pruning import left_over, why_kept
from edge.policy.snapshot import Managed
from tasks.snapshot import until_quiet


def prune(
    client: SiteClient,
    stamp: str,
    old: Sequence[ObjectRef],
    new: Sequence[ObjectRef],
    *,
    gone: list[str] | None = None,
) -> Detail:
    """Delete the objects of `old` that `new` has not, each after a fresh look at it: which went, which stay and why.

    Deleted is only what still carries the stamp's labels and has fields of ours; never what holds data, unless the
    object itself allows it. May be repeated. `gone` fills with what went, so that it is known after an error as well.
    """
    done: dict[str, list[str]] = {"pruned": [] if gone is None else gone, "left": []}
    for ref in left_over(old, new):
        word, text = until_quiet(partial(_prune_one, client, stamp), ref)
        if word:
            done[word].append(text)
    return {word: objects for word, objects in done.items() if objects}


def _prune_one(client: SiteClient, stamp: str, ref: ObjectRef) -> tuple[str, str]:
    live = client.look([ref]).get(ref)
    if live is None:
        return "", ""
    why = why_kept(live, stamp)
    if why and why != Managed.LEAVING:
        return "left", f"{ref}: {why}"
    if not why:
        client.delete(ref, uid=live["metadata"]["uid"], resource_version=live["metadata"]["resourceVersion"])
    return "pruned", str(ref)
