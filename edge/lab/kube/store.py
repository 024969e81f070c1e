"""One site's objects: what etcd is to a real API server, with its revision counter and its watch history.

Stored objects are read-only by convention: a writer makes a new dict and stores that, so a list, a watch event and a
page of a paged list may share them without copying. Nothing here checks a schema or a right; that is the API server's
work, and the lab's controllers write through this door directly.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from edge.lab.kube.errors import already_exists, not_found
from edge.lab.kube.resources import Key, ResourceType
from edge.lab.kube.selectors import Predicate, both, field_selector, label_selector
from edge.lab.kube.types import SiteTypes

Obj = dict[str, Any]
Objects = list[Obj]
Typed = list[tuple[ResourceType, Obj]]
Verdict = Literal["ADDED", "MODIFIED", "DELETED"]
HISTORY = 2_000
"""How many past events a site can replay to a watch; an older resourceVersion is answered with 410."""
REQUESTS = 1_000
"""How many served requests a site remembers."""


@dataclass(frozen=True, slots=True)
class Event:
    """One committed change. `obj` is the object after it (for DELETED: its last state), `old` the one before."""

    type: Verdict
    resource: ResourceType
    obj: Obj
    old: Obj | None
    revision: int


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """One line of a site's request log; `seconds` is wall-clock time inside the server."""

    time: str
    method: str
    path: str
    status: int
    user_agent: str
    field_manager: str
    seconds: float
    dry_run: bool
    fence: str
    """The token that the platform's write carried; empty: none."""


def stamp(moment: datetime) -> str:
    """A time as Kubernetes writes it: RFC 3339 in UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class SiteStore:
    """The objects of one site. Not thread-safe: everything of one site happens on the server's event loop.

    `now` gives the site's time. An empty store costs about 2 KiB, so a thousand idle sites are cheap.
    """

    def __init__(self, name: str, now: Callable[[], datetime]) -> None:
        self.name = name
        self.now = now
        self.revision = 1
        self.oldest = 1
        """Changes after this revision can still be replayed."""
        self.types = SiteTypes()
        self.history: deque[Event] = deque(maxlen=HISTORY)
        self.requests: deque[ServedRequest] = deque(maxlen=REQUESTS)
        self.served = 0
        self.key = uuid.uuid4().hex
        """Secret from which service-account tokens are signed; part of the snapshot."""
        self._objects: dict[Key, dict[tuple[str, str], Obj]] = {}
        self._by_uid: dict[str, tuple[Key, str, str]] = {}
        self._dependents: dict[str, set[str]] = {}
        self._subscribers: list[Callable[[Event], None]] = []
        self._undelivered: deque[Event] = deque()
        self._delivering = False

    # Reading

    def get(self, resource: ResourceType, namespace: str, name: str) -> Obj | None:
        """The stored object (do not change it), or None."""
        objects = self._objects.get(resource.key)
        return None if objects is None else objects.get((namespace if resource.namespaced else "", name))

    def list(self, resource: ResourceType, namespace: str = "", selector: str = "", fields: str = "") -> Objects:
        """Objects ordered by namespace and name. `namespace` "" means all; selectors are texts as in a query."""
        wanted = both(label_selector(selector), field_selector(fields, resource.kind))
        return self.select(resource, namespace, wanted)

    def select(self, resource: ResourceType, namespace: str = "", wanted: Predicate | None = None) -> Objects:
        """As `list`, with a compiled predicate."""
        objects = self._objects.get(resource.key)
        if not objects:
            return []
        keys = sorted(key for key in objects if not namespace or key[0] == namespace)
        if wanted is None:
            return [objects[key] for key in keys]
        return [obj for key in keys if wanted(obj := objects[key])]

    def by_uid(self, uid: str) -> tuple[ResourceType, Obj] | None:
        """The object with this uid and its type."""
        place = self._by_uid.get(uid)
        resource = place and self.types.of_key(place[0])
        if not place or resource is None:
            return None
        return resource, self._objects[place[0]][place[1], place[2]]

    def dependents(self, uid: str) -> Typed:
        """Objects that name this uid in their ownerReferences."""
        found = (self.by_uid(one) for one in tuple(self._dependents.get(uid, ())))
        return [one for one in found if one is not None]

    def in_namespace(self, namespace: str) -> Iterator[tuple[ResourceType, Obj]]:
        """Everything inside a namespace."""
        for key, objects in tuple(self._objects.items()):
            resource = self.types.of_key(key)
            for place, obj in tuple(objects.items()) if resource else ():
                if resource and place[0] == namespace:
                    yield resource, obj

    def count(self) -> int:
        """How many objects the site holds."""
        return sum(len(objects) for objects in self._objects.values())

    # Writing

    def create(self, resource: ResourceType, obj: Obj) -> Obj:
        """Store a new object; fills name (from generateName), uid, creationTimestamp, resourceVersion, generation.

        Raises ApiError 409 when the name is taken.
        """
        meta = dict(obj["metadata"])
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"][:58] + uuid.uuid4().hex[:5]
        namespace = meta.get("namespace", "") if resource.namespaced else ""
        objects = self._objects.setdefault(resource.key, {})
        if (namespace, meta["name"]) in objects:
            raise already_exists(resource, meta["name"])
        meta.setdefault("uid", str(uuid.uuid4()))
        meta.setdefault("creationTimestamp", stamp(self.now()))
        if resource.counts_generation:
            meta["generation"] = 1
        return self._commit("ADDED", resource, {**obj, "metadata": meta}, None)

    def replace(self, resource: ResourceType, obj: Obj) -> Obj:
        """Store a new version of an existing object: new resourceVersion, generation + 1 when its spec changed.

        An object that is being deleted and has lost its last finalizer goes. Raises ApiError 404 when it is not there.
        """
        meta = dict(obj["metadata"])
        old = self.get(resource, meta.get("namespace", ""), meta["name"])
        if old is None:
            raise not_found(resource, meta["name"])
        if resource.counts_generation:
            meta["generation"] = old["metadata"].get("generation", 1) + asks_otherwise(resource, old, obj)
        stored = self._commit("MODIFIED", resource, {**obj, "metadata": meta}, old)
        if _may_go(stored):
            return self.remove(resource, meta.get("namespace", ""), meta["name"])
        return stored

    def remove(self, resource: ResourceType, namespace: str, name: str) -> Obj:
        """Take an object out, whatever its finalizers say; the last state is returned. ApiError 404 when absent."""
        old = self.get(resource, namespace, name)
        if old is None:
            raise not_found(resource, name)
        return self._commit("DELETED", resource, {**old, "metadata": dict(old["metadata"])}, old)

    def _commit(self, verdict: Verdict, resource: ResourceType, obj: Obj, old: Obj | None) -> Obj:
        self.revision += 1
        meta = obj["metadata"]
        meta["resourceVersion"] = str(self.revision)
        place = (meta.get("namespace", "") if resource.namespaced else "", meta["name"])
        self._index(verdict, resource.key, place, obj, old)
        if len(self.history) == HISTORY:
            self.oldest = self.history[0].revision
        event = Event(verdict, resource, obj, old, self.revision)
        self.history.append(event)
        self.types.observe(verdict, resource, obj)
        self._undelivered.append(event)
        self._deliver()
        return obj

    def _deliver(self) -> None:
        """Tell everybody, in order of commits: what a subscriber commits is told after what made it do so."""
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._undelivered:
                event = self._undelivered.popleft()
                for callback in tuple(self._subscribers):
                    callback(event)
        finally:
            self._delivering = False

    def _index(self, verdict: Verdict, key: Key, place: tuple[str, str], obj: Obj, old: Obj | None) -> None:
        uid = obj["metadata"]["uid"]
        for owner in _owners(old) if old else ():
            self._disown(owner, uid)
        if verdict == "DELETED":
            self._objects[key].pop(place, None)
            self._by_uid.pop(uid, None)
            return
        self._objects.setdefault(key, {})[place] = obj
        self._by_uid[uid] = (key, *place)
        for owner in _owners(obj):
            self._dependents.setdefault(owner, set()).add(uid)

    def _disown(self, owner: str, uid: str) -> None:
        family = self._dependents.get(owner, set())
        family.discard(uid)
        if not family:
            self._dependents.pop(owner, None)

    # Watching

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call back after each commit, before the outermost writer returns. The result ends the subscription."""
        self._subscribers.append(callback)

        def end() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return end

    def since(self, revision: int) -> tuple[Event, ...]:
        """Events after `revision`, oldest first; ask `oldest` first whether they are all still known."""
        return tuple(event for event in self.history if event.revision > revision)

    def compact(self) -> None:
        """Forget the history, as etcd does now and then: watches that resume from before get 410."""
        self.oldest = self.revision
        self.history.clear()

    # Keeping

    def snapshot(self) -> dict[str, Any]:
        """All there is to keep, as JSON-able data."""
        objects = [[*key, list(of_kind.values())] for key, of_kind in self._objects.items() if of_kind]
        return {"name": self.name, "revision": self.revision, "key": self.key, "objects": objects}

    @classmethod
    def restore(cls, data: dict[str, Any], now: Callable[[], datetime]) -> SiteStore:
        """The store a snapshot was taken of. Its history is gone: watches from before get 410 and list again."""
        store = cls(data["name"], now)
        store.revision = store.oldest = data["revision"]
        store.key = data["key"]
        for group, plural, objects in data["objects"]:
            for obj in objects:
                meta = obj["metadata"]
                store._index("ADDED", (group, plural), (meta.get("namespace", ""), meta["name"]), obj, None)
                store.types.observe_key((group, plural), obj)
        return store


def asks_otherwise(resource: ResourceType, old: Obj, new: Obj) -> bool:
    """Whether something other than metadata and (where it is a subresource) status differs."""
    ignored = {"metadata", "status"} if resource.has_status else {"metadata"}
    return any(old.get(word) != new.get(word) for word in (old.keys() | new.keys()) - ignored)


def _owners(obj: Obj) -> list[str]:
    return [owner["uid"] for owner in obj["metadata"].get("ownerReferences") or ()]


def _may_go(obj: Obj) -> bool:
    meta = obj["metadata"]
    if not meta.get("deletionTimestamp") or meta.get("finalizers") or (obj.get("spec") or {}).get("finalizers"):
        return False
    return not meta.get("deletionGracePeriodSeconds")
