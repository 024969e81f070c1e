"""What the weather does to a request on the wire: cut, silence, delay, refusal.

A site that is away must look away: a reset connection or silence, never a polite 503.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, Protocol

import orjson

from edge.lab.asgi import App, Message, Receive, Scope, Send, answer
from edge.lab.clock import LabClock
from edge.lab.kube.call import TROUBLES
from edge.lab.protocol import CONNECTION
from edge.lab.weather import (
    ExpiredToken,
    Fault,
    Lossy,
    Offline,
    OfflineMode,
    ServerError,
    ServerTroubles,
    Slow,
    Throttled,
)

_CHUNK = 16_384


class Weathered(Protocol):
    """What this file needs to know of a site."""

    name: str
    faults: tuple[Fault, ...]
    cut: Counter[str]
    second: tuple[int, int]


class WeatherWire:
    """Serves requests of sites with bad weather; chance comes from `seed`."""

    def __init__(self, clock: LabClock, seed: int) -> None:
        self._clock = clock
        self._chance = random.Random(seed)  # noqa: S311 - weather, not a secret

    async def serve(self, site: Weathered, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        """Let every fault of the site have its say, then the site itself."""
        for fault in site.faults:
            if isinstance(fault, Offline):
                site.cut[f"offline-{fault.mode}"] += 1
                return await _away(fault.mode, scope, receive)
            if isinstance(fault, Slow):
                await self._clock.sleep(fault.latency_s + self._chance.uniform(-1, 1) * fault.jitter_s)
                send = self._crawl(fault, send)
        refusal = self._refusal(site)
        if refusal is not None:
            site.cut[str(refusal[0])] += 1
            return await _refuse(refusal, receive, send)
        scope["extensions"][TROUBLES] = ServerTroubles(site.faults)
        return await self._lossy(site, app, scope, receive, send)

    def _refusal(self, site: Weathered) -> tuple[int, str, int] | None:
        """Status, reason and Retry-After of an answer that the site gives without doing anything."""
        for fault in site.faults:
            if isinstance(fault, ExpiredToken):
                return 401, "Unauthorized", 0
            if isinstance(fault, Throttled) and self._over(site, fault.per_second):
                return 429, "TooManyRequests", fault.retry_after_s
            if isinstance(fault, ServerError) and self._chance.random() < fault.share:
                return fault.status, _REASONS.get(fault.status, "InternalError"), 0
        return None

    def _over(self, site: Weathered, per_second: int) -> bool:
        second = int(self._clock.monotonic())
        count = site.second[1] + 1 if site.second[0] == second else 1
        site.second = (second, count)
        return count > per_second

    async def _lossy(self, site: Weathered, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        lossy = next((fault for fault in site.faults if isinstance(fault, Lossy)), None)
        if lossy is None or self._chance.random() >= lossy.share:
            return await app(scope, receive, send)
        site.cut["lost"] += 1
        arrived = self._chance.random() < 0.5 and scope["method"] != "GET"
        if arrived:
            await app(scope, receive, _swallow)
        return await _away(OfflineMode.RESET, scope, receive, heard=arrived)

    def _crawl(self, slow: Slow, send: Send) -> Send:
        if not slow.bytes_per_s:
            return send

        async def crawl(message: Message) -> None:
            body = message.get("body", b"")
            for start in range(0, len(body), _CHUNK):
                part = body[start : start + _CHUNK]
                await self._clock.sleep(len(part) / slow.bytes_per_s)
                last = start + _CHUNK >= len(body)
                more = bool(message.get("more_body")) if last else True
                await send({"type": "http.response.body", "body": part, "more_body": more})
            if not body:
                await send(message)

        return crawl


_REASONS = {503: "ServiceUnavailable", 504: "Timeout"}
_TEXTS = {
    "Unauthorized": "Unauthorized",
    "TooManyRequests": "the server has received too many requests and has asked us to try again later",
    "ServiceUnavailable": "the server is currently unable to handle the request",
    "InternalError": "an error on the server has prevented the request from succeeding",
    "Timeout": "the server was unable to return a response in the time allotted",
}


async def _away(mode: OfflineMode, scope: Scope, receive: Receive, *, heard: bool = False) -> None:
    """Be away; `heard` says that the request's body was read already."""
    if mode is not OfflineMode.SILENT:
        if not heard:  # a client that is cut while it still sends reports a TLS fault instead of a reset
            await _drain(receive)
        scope["extensions"][CONNECTION].reset()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(refusal: tuple[int, str, int], receive: Receive, send: Send) -> None:
    status, reason, retry_after = refusal
    await _drain(receive)
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": _TEXTS[reason],
        "reason": reason,
        "code": status,
    }
    headers = []
    if retry_after:
        headers = [(b"retry-after", str(retry_after).encode())]
        body["details"] = {"retryAfterSeconds": retry_after}
    await answer(send, status, orjson.dumps(body), headers=headers)


async def _drain(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return


async def _swallow(message: Message) -> None:
    del message
