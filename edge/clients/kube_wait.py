"""Waiting until objects are healthy: look, judge, look again. The loop is its own retry."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from edge.errors import EdgeError, NotYet, OperationFailed, Transient
from edge.model.kube import Health, KubeObject, ObjectHealth, ObjectRef

Judge = Callable[[KubeObject], ObjectHealth]
Look = Callable[[Sequence[ObjectRef]], dict[ObjectRef, dict[str, Any]]]
"""Fetches those objects that are there; all references of one call share kind and namespace."""
Progress = Callable[[Sequence[ObjectHealth]], None]

_NAMED = 10


class Poll(NamedTuple):
    """How long and how often, in seconds, and whose name errors carry."""

    within_s: float
    every_s: float
    site: str


def first_look(what: Sequence[ObjectRef | KubeObject], judge: Judge) -> dict[ObjectRef, ObjectHealth]:
    """What is known before anything is fetched. Only an object with a uid comes from a site and can be judged."""
    known: dict[ObjectRef, ObjectHealth] = {}
    for one in what:
        ref = one if isinstance(one, ObjectRef) else ObjectRef.of(one)
        if not isinstance(one, ObjectRef) and one["metadata"].get("uid"):
            known[ref] = judge(one)
        else:
            known[ref] = ObjectHealth(ref=ref, health=Health.NOT_FOUND, message="It was not looked at yet")
    return known


def wait_until_current(
    known: dict[ObjectRef, ObjectHealth], judge: Judge, look: Look, poll: Poll, on_progress: Progress | None
) -> tuple[ObjectHealth, ...]:
    """The health of all once all are Current; see `SiteClient.wait_for`. `known` is updated.

    A group of one kind and namespace in which all are Current is not fetched again.
    """
    deadline = time.monotonic() + poll.within_s
    while True:
        trouble = _one_look(known, judge, look)
        healths = tuple(known.values())
        if on_progress:
            on_progress(healths)
        _raise_if_failed(healths, poll)
        if all(one.health is Health.CURRENT for one in healths):
            return healths
        left = deadline - time.monotonic()
        if left <= 0:
            raise trouble or _not_yet(healths, poll)
        time.sleep(min(poll.every_s, left))


def _one_look(known: dict[ObjectRef, ObjectHealth], judge: Judge, look: Look) -> Transient | None:
    """Update what is known of every group that has something to wait for; the last transient trouble, if any."""
    trouble = None
    for group in _groups(known):
        if all(known[ref].health is Health.CURRENT for ref in group):
            continue
        try:
            found = look(group)
        except Transient as error:
            trouble = error
            continue
        for ref in group:
            known[ref] = judge(found[ref]) if ref in found else ObjectHealth(ref=ref, health=Health.NOT_FOUND)
    return trouble


def _groups(refs: dict[ObjectRef, ObjectHealth]) -> list[list[ObjectRef]]:
    def place(ref: ObjectRef) -> tuple[str, str, str]:
        return ref.api_version, ref.kind, ref.namespace

    return [list(group) for _, group in itertools.groupby(sorted(refs, key=place), key=place)]


def _raise_if_failed(healths: Sequence[ObjectHealth], poll: Poll) -> None:
    failed = [one for one in healths if one.health is Health.FAILED]
    if failed:
        raise OperationFailed(_sentence(failed), site=poll.site or None, objects=_names(failed))


def _not_yet(healths: Sequence[ObjectHealth], poll: Poll) -> EdgeError:
    waiting = [one for one in healths if one.health is not Health.CURRENT]
    return NotYet(f"After {poll.within_s:g} s {_sentence(waiting)}", site=poll.site or None, objects=_names(waiting))


def _sentence(healths: Sequence[ObjectHealth]) -> str:
    first = healths[0]
    why = f": {first.message}" if first.message else ""
    return f"{len(healths)} of the objects are not healthy, first {first.ref} is {first.health}{why}".rstrip(".")


def _names(healths: Sequence[ObjectHealth]) -> str:
    more = f" and {len(healths) - _NAMED} more" if len(healths) > _NAMED else ""
    return ", ".join(f"{one.ref} {one.health}" for one in healths[:_NAMED]) + more
