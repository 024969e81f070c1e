"""Watching a kind: list, stream the changes, resume when the stream breaks, list again when its position is lost."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import orjson

from edge.clients import kube_errors
from edge.clients.kube_discovery import Resource
from edge.clients.kube_errors import Gone
from edge.clients.kube_page import read_page
from edge.clients.kube_transport import Call, Transport
from edge.errors import ServerFault, Transient

_STREAM_S = 60
"""How long one stream lasts. Short, since a dead connection shows only when the stream should have ended."""
_GRACE_S = 15
_FRUITLESS = 4


class Change(StrEnum):
    """What happened to an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class WatchEvent(NamedTuple):
    """A change, with the object as it is now (DELETED: as it was last, maybe only its metadata)."""

    change: Change
    obj: dict[str, Any]


class Watching:
    """One watch. Keeps the uid and resourceVersion of what it has seen, to say after a gap what changed in it."""

    def __init__(self, transport: Transport, resource: Resource, namespace: str, labels: str) -> None:
        self._transport = transport
        self._resource = resource
        self._path = resource.path(namespace)
        self._query = {"labelSelector": labels} if labels else {}
        self._seen: dict[str, dict[str, Any]] = {}
        self._position = ""

    def events(self, within_s: float | None) -> Generator[WatchEvent]:
        """See `SiteClient.watch`. Raises after several broken streams in a row without an event."""
        end = time.monotonic() + within_s if within_s is not None else None
        fruitless = 0
        while True:
            try:
                for event in self._round(end):
                    fruitless = 0
                    yield event
            except Gone:
                self._position = ""
            except Transient:
                fruitless += 1
                if fruitless >= _FRUITLESS:
                    raise
            if end is not None and time.monotonic() >= end:
                return

    def _round(self, end: float | None) -> Iterator[WatchEvent]:
        if not self._position:
            yield from self._compare(self._list())
        yield from self._stream(end)

    def _list(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        token = ""
        while True:
            answer = self._transport.send(self._call({"limit": "500", "continue": token})).json
            page = read_page(answer, self._resource, self._transport.site)
            items.extend(page.items)
            token = page.token
            if not token:
                self._position = page.version
                return items

    def _compare(self, items: list[dict[str, Any]]) -> Iterator[WatchEvent]:
        """What is new, changed or gone against what was seen before."""
        before, self._seen = self._seen, {}
        for item in items:
            meta = item["metadata"]
            known = before.pop(meta["uid"], None)
            self._note(item)
            if known is None:
                yield WatchEvent(Change.ADDED, self._typed(item))
            elif known["resourceVersion"] != meta["resourceVersion"]:
                yield WatchEvent(Change.MODIFIED, self._typed(item))
        for gone in before.values():
            yield WatchEvent(Change.DELETED, self._typed({"metadata": gone}))

    def _stream(self, end: float | None) -> Iterator[WatchEvent]:
        lasts = _STREAM_S if end is None else min(_STREAM_S, max(1, round(end - time.monotonic())))
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._position,
            "timeoutSeconds": str(lasts),
        }
        with self._transport.stream(self._call(query), silence_s=lasts + _GRACE_S) as lines:
            for line in lines:
                event = self._event(line)
                if event is not None:
                    yield event
                if end is not None and time.monotonic() >= end:
                    return

    def _event(self, line: bytes) -> WatchEvent | None:
        where = {"site": self._transport.site, "object": self._resource.kind}
        try:
            raw = orjson.loads(line)
            if raw["type"] == "ERROR":
                raise kube_errors.from_answer(raw["object"]["code"], orjson.dumps(raw["object"]), {}, where)
            return self._change(raw["type"], raw["object"])
        except (ValueError, KeyError, TypeError, AttributeError) as theirs:
            raise ServerFault("A line of the watch is not an event", **where) from theirs

    def _change(self, kind: str, obj: dict[str, Any]) -> WatchEvent | None:
        position = obj["metadata"]["resourceVersion"]
        if kind == "BOOKMARK":
            self._position = position
            return None
        event = WatchEvent(Change(kind), self._typed(obj))
        self._note(obj, gone=event.change is Change.DELETED)
        self._position = position
        return event

    def _note(self, obj: dict[str, Any], *, gone: bool = False) -> None:
        meta = obj["metadata"]
        if gone:
            self._seen.pop(meta["uid"], None)
            return
        kept = ("name", "namespace", "uid", "resourceVersion")
        self._seen[meta["uid"]] = {word: meta[word] for word in kept if word in meta}

    def _typed(self, obj: dict[str, Any]) -> dict[str, Any]:
        obj.setdefault("apiVersion", self._resource.api_version)
        obj.setdefault("kind", self._resource.kind)
        return obj

    def _call(self, query: dict[str, str]) -> Call:
        asked = {word: value for word, value in {**self._query, **query}.items() if value}
        path = f"{self._path}?{urlencode(asked, quote_via=quote)}"
        return Call("GET", path, about=self._resource.kind)
