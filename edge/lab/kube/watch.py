"""A watch: the changes of a set of objects as a stream of JSON lines that lasts until somebody ends it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any

import orjson

from edge.lab.kube.call import Call, Target
from edge.lab.kube.convert import shown
from edge.lab.kube.errors import expired
from edge.lab.kube.selectors import Predicate
from edge.lab.kube.store import Event, Obj, SiteStore
from edge.lab.kube.table import shape_one

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
BOOKMARK_EVERY = 60.0
"""Seconds between bookmarks, as long as the caller allows them."""
LONGEST = 3_600.0
"""Seconds after which the server ends a watch that asked for no time-out, so that clients reconnect now and then."""
_DONE = {"type": "http.response.body", "body": b"", "more_body": False}


class Watch:
    """One open watch. It listens from the moment it is made, so no change is lost before `run`."""

    status = 200

    def __init__(self, store: SiteStore, call: Call, target: Target, wanted: Predicate | None) -> None:
        self.store = store
        self.call = call
        self.target = target
        self.wanted = wanted
        self.bookmarks = call.flag("allowWatchBookmarks")
        self.seconds = float(call.number("timeoutSeconds") or LONGEST)
        self._waiting: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._columns_sent = False
        self._first = list(self._beginning())
        self._end = store.subscribe(self._note)

    def _note(self, event: Event) -> None:
        if event.resource.key == self.target.resource.key and self._in_namespace(event.obj):
            self._waiting.append(event)
            self._wake.set()

    def _in_namespace(self, obj: Obj) -> bool:
        return not self.target.namespace or obj["metadata"].get("namespace", "") == self.target.namespace

    # What is sent

    def _beginning(self) -> Iterator[bytes]:
        """What comes first: the present state, or what happened since the revision asked for, or that it is too old."""
        revision = self.call.revision
        initial = self.call.query.get("sendInitialEvents", "")
        if initial == "true" or (not revision and initial != "false"):
            for obj in self.store.select(self.target.resource, self.target.namespace, self.wanted):
                yield self._line("ADDED", obj)
            if initial == "true" and self.bookmarks:
                yield self._bookmark({"k8s.io/initial-events-end": "true"})
        elif revision:
            yield from self._replay(revision)

    def _replay(self, revision: int) -> Iterator[bytes]:
        if revision < self.store.oldest or revision > self.store.revision:
            status = expired(f"too old resource version: {revision} ({self.store.oldest})").status()
            self.seconds = 0.0
            yield orjson.dumps({"type": "ERROR", "object": status}) + b"\n"
            return
        for event in self.store.since(revision):
            if event.resource.key == self.target.resource.key and self._in_namespace(event.obj):
                yield from self._lines(event)

    def _lines(self, event: Event) -> Iterator[bytes]:
        """An event as this watcher sees it: what comes into its selection is added, what leaves it is deleted."""
        now = event.type != "DELETED" and self._selects(event.obj)
        before = event.old is not None and self._selects(event.old)
        if now:
            yield self._line("MODIFIED" if before else "ADDED", event.obj)
        elif before:
            yield self._line("DELETED", event.obj)

    def _selects(self, obj: Obj) -> bool:
        return self.wanted is None or self.wanted(obj)

    def _line(self, verdict: str, obj: Obj) -> bytes:
        resource = self.target.resource
        view = shape_one(self.call, resource, self.store.now())(shown(resource, obj))
        if view.get("kind") == "Table":
            if self._columns_sent:
                view["columnDefinitions"] = None
            self._columns_sent = True
        return orjson.dumps({"type": verdict, "object": view}) + b"\n"

    def _bookmark(self, annotations: dict[str, str] | None = None) -> bytes:
        resource = self.target.resource
        meta: dict[str, Any] = {"resourceVersion": str(self.store.revision)}
        if annotations:
            meta["annotations"] = annotations
        view: Obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
        if self.call.wants("Table"):
            view = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "columnDefinitions": None}
            view["rows"] = [{"cells": [], "object": {"kind": "PartialObjectMetadata", "metadata": meta}}]
        return orjson.dumps({"type": "BOOKMARK", "object": view}) + b"\n"

    # Sending it

    async def run(self, receive: Receive, send: Send) -> None:
        """Stream until the time is over, the caller leaves, or the server stops."""
        gone = asyncio.create_task(_left(receive))
        gone.add_done_callback(lambda _task: self._wake.set())
        try:
            head = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            await send({"type": "http.response.body", "body": b"".join(self._first), "more_body": True})
            await self._stream(send, gone)
            if not gone.done():
                await send(_DONE)
        finally:
            self._end()
            gone.cancel()

    async def _stream(self, send: Send, gone: asyncio.Task[None]) -> None:
        end = monotonic() + self.seconds
        bookmark = monotonic() + BOOKMARK_EVERY
        while not gone.done() and monotonic() < end:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0.0, min(end, bookmark) - monotonic()))
            self._wake.clear()
            lines = [line for event in self._taken() for line in self._lines(event)]
            if monotonic() >= bookmark:
                bookmark = monotonic() + BOOKMARK_EVERY
                lines += [self._bookmark()] if self.bookmarks else []
            if lines and not gone.done():
                await send({"type": "http.response.body", "body": b"".join(lines), "more_body": True})

    def _taken(self) -> Iterator[Event]:
        while self._waiting:
            yield self._waiting.popleft()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
