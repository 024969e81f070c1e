"""The engine that lets stages happen: it listens to stores and plans, per object and lane, the one stage that is next.

Nothing runs for an object that does not change, and there is no task per object: planned stages are timers in one heap.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from edge.lab.controllers.calls import CALLS
from edge.lab.controllers.home import PODS_TYPE, Home, merge_conditions
from edge.lab.controllers.kinds import Kind
from edge.lab.controllers.stages import ReadyStage, StageBook
from edge.lab.controllers.template import Context
from edge.lab.kube.deletion import delete
from edge.lab.kube.resources import PODS, ResourceType
from edge.lab.kube.store import Event, Obj, SiteStore
from edge.lab.sites import LabSite
from edge.lab.timers import Timers

if TYPE_CHECKING:
    from edge.lab.flux.runtime import FluxHost

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


class Engine:
    """Runs the stages of a book over all awake sites of a lab. Everything happens on the server's event loop."""

    def __init__(self, timers: Timers, book: StageBook, seed: int) -> None:
        self.timers = timers
        self._book = book
        self._chance = random.Random(seed)  # noqa: S311 - jitter, not a secret
        self._homes: dict[str, Home] = {}
        self.flux: FluxHost | None = None
        """What the Flux controllers of all sites share."""

    def attach(self, site: LabSite, store: SiteStore) -> None:
        """Follow a site that woke up, beginning with what it holds."""
        home = self._homes[site.name] = Home(site, store, self.flux)
        store.subscribe(partial(self._on_event, home))
        for kind in self._book.lanes:
            self._consider_all(home, kind)

    def recheck(self, site: LabSite) -> None:
        """Look again at what could not be done: the weather changed."""
        home = self._homes.get(site.name)
        if home is not None:
            self._retry_unscheduled(home)

    def look(self, home: Home, resource: ResourceType, obj: Obj) -> None:
        """Look at one object, as if it had changed."""
        if (resource.group, resource.kind) in self._book.lanes:
            self._consider(home, resource, obj)

    def _on_event(self, home: Home, event: Event) -> None:
        resource, obj = event.resource, event.obj
        kind = (resource.group, resource.kind)
        if kind in self._book.lanes:
            if event.type == "DELETED":
                self._forget(home, kind, obj)
            else:
                self._consider(home, resource, obj)
        self._consider_owners(home, obj, far=event.type == "DELETED")
        for watcher in self._book.watched.get(kind, ()):
            self._consider_all(home, watcher, obj["metadata"].get("namespace", ""))
        if resource.key == PODS and home.unscheduled and _frees_room(event):
            self._retry_unscheduled(home)

    def _consider(self, home: Home, resource: ResourceType, obj: Obj) -> None:
        kind, meta = (resource.group, resource.kind), obj["metadata"]
        for lane, stages in self._book.lanes[kind].items():
            place = (kind, meta.get("namespace", ""), meta["name"], lane)
            stage = next((one for one in stages if one.test(obj)), None)
            planned = home.pending.get(place)
            if planned is not None:
                if planned[0] is stage:
                    continue
                planned[1].cancel()
                del home.pending[place]
            if stage is not None and not stage.then.nothing:
                happen = partial(self._happen, home, resource, stage, place)
                home.pending[place] = (stage, self.timers.after(self._delay(stage, obj), happen))

    def _consider_owners(self, home: Home, obj: Obj, *, far: bool) -> None:
        """Look at the controller of an object, and at that one's (`far`): it may wait for the last pod to be gone."""
        for owner in obj["metadata"].get("ownerReferences") or ():
            if owner.get("controller") and (owner["apiVersion"].rpartition("/")[0], owner["kind"]) in self._book.lanes:
                found = home.store.by_uid(owner["uid"])
                if found is not None:
                    self._consider(home, *found)
                    if far:
                        self._consider_owners(home, found[1], far=far)

    def _consider_all(self, home: Home, kind: Kind, namespace: str = "") -> None:
        resource = _resource(home.store, kind)
        if resource is not None:
            for obj in home.store.select(resource, namespace if resource.namespaced else ""):
                self._consider(home, resource, obj)

    def _retry_unscheduled(self, home: Home) -> None:
        waiting, home.unscheduled = home.unscheduled, set()
        for namespace, name in sorted(waiting):
            pod = home.store.get(PODS_TYPE, namespace, name)
            if pod is not None:
                self._consider(home, PODS_TYPE, pod)

    def _forget(self, home: Home, kind: Kind, obj: Obj) -> None:
        meta = obj["metadata"]
        for lane in self._book.lanes[kind]:
            planned = home.pending.pop((kind, meta.get("namespace", ""), meta["name"], lane), None)
            if planned is not None:
                planned[1].cancel()

    def _delay(self, stage: ReadyStage, obj: Obj) -> float:
        delay = stage.delay
        asked = stage.read_delay(obj) if stage.read_delay else None
        seconds = delay.seconds if asked is None else duration(str(asked), delay.seconds)
        return max(0.0, seconds + self._chance.uniform(-delay.jitter, delay.jitter)) if delay.jitter else seconds

    def _happen(self, home: Home, resource: ResourceType, stage: ReadyStage, place: tuple[Kind, str, str, str]) -> None:
        home.pending.pop(place, None)
        obj = home.store.get(resource, place[1], place[2])
        if obj is None or not stage.test(obj):
            return
        if stage.then.call:
            again_s = CALLS[stage.then.call](home, obj)
            if again_s is not None and place not in home.pending:
                again = partial(self._happen, home, resource, stage, place)
                home.pending[place] = (object(), self.timers.after(again_s, again))
        else:
            _effect(home, resource, stage, obj)


def _effect(home: Home, resource: ResourceType, stage: ReadyStage, obj: Obj) -> None:
    context = Context(obj, home)
    for template in stage.create:
        _create(home, template(context))
    fresh = obj
    if stage.patch is not None:
        fresh = merge(fresh, stage.patch(context), home.now_text())
    if stage.status is not None:
        fresh = merge(fresh, {"status": stage.status(context)}, home.now_text())
    home.update(resource, obj, fresh)
    if stage.then.delete:
        _remove(home, resource, fresh)


def _create(home: Home, obj: Obj) -> None:
    resource = home.store.types.of_kind(obj["apiVersion"], obj["kind"])
    meta = obj["metadata"]
    if resource is not None and home.store.get(resource, meta.get("namespace", ""), meta["name"]) is None:
        home.create(resource, obj)


def _remove(home: Home, resource: ResourceType, obj: Obj) -> None:
    meta = obj["metadata"]
    if meta.get("deletionTimestamp") and not meta.get("finalizers"):
        home.store.remove(resource, meta.get("namespace", ""), meta["name"])
    elif not meta.get("deletionTimestamp"):
        delete(home.store, resource, obj)


def merge(before: Mapping[str, Any], patch: Mapping[str, Any], now: str) -> dict[str, Any]:
    """A merge patch (null removes) in which lists named `conditions` are merged by type."""
    merged = dict(before)
    for key, value in patch.items():
        old = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = merge(old if isinstance(old, dict) else {}, value, now)
        elif key == "conditions":
            merged[key] = merge_conditions(old or [], value, now)
        else:
            merged[key] = value
    return merged


def duration(text: str, otherwise: float) -> float:
    """Seconds from `300ms`, `5s`, `2m`, `1h` or a bare number; anything else is `otherwise`."""
    found = _DURATION.fullmatch(text.strip())
    return float(found["number"]) * _UNITS[found["unit"]] if found else otherwise


def _frees_room(event: Event) -> bool:
    if event.type == "DELETED":
        return True
    return (event.obj.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _resource(store: SiteStore, kind: Kind) -> ResourceType | None:
    group, name = kind
    return next((one for one in store.types if one.kind == name and one.group == group), None)
