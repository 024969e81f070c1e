"""The lab's own API under `/lab/`: look at sites, change the weather and the clock, end the lab."""

from __future__ import annotations

import hmac
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qs

import orjson
from pydantic import Field, ValidationError

from edge.errors import EdgeError, InvalidInput, NotFound
from edge.lab.asgi import Receive, Scope, Send, answer, read_body
from edge.lab.complaints import complaint
from edge.lab.flux.install import install
from edge.lab.sites import LabSite
from edge.lab.weather import FAULT, FaultKind, Spell
from edge.lab.world import World
from edge.model.base import Value

Reply = dict[str, Any]


class ClockOrder(Value):
    """A change of the lab's clock: a new rate, some lab seconds that pass at once, or both."""

    rate: float | None = Field(default=None, gt=0, le=100_000)
    advance_s: float = Field(default=0.0, ge=0, le=315_360_000)


class Length(Value):
    """How many lab seconds a fault lasts; None: until it is lifted."""

    for_s: float | None = Field(default=None, gt=0, le=31_536_000)


class AdminApp:
    """ASGI app. Every path but `/lab/health` wants the admin token."""

    def __init__(self, world: World, token: str, *, stop: Callable[[], None], save: Callable[[], int]) -> None:
        self._world = world
        self._token = f"Bearer {token}".encode()
        self._stop = stop
        self._save = save

    def allows(self, scope: Scope) -> bool:
        """Whether the request carries the admin token."""
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(given, self._token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request with JSON."""
        words = [word for word in scope["path"].split("/") if word][1:]
        if words == ["health"]:
            return await _reply(send, 200, self._health())
        if not self.allows(scope):
            return await _reply(send, 401, {"error": "the admin token is missing or wrong"})
        try:
            body = orjson.loads(await read_body(receive) or b"{}")
            status, said = self._route(scope["method"], words, body, _query(scope))
        except (EdgeError, ValueError) as error:
            return await _reply(send, 404 if isinstance(error, NotFound) else 422, _complaint(error))
        return await _reply(send, status, said)

    def _route(self, method: str, words: list[str], body: Any, query: dict[str, str]) -> tuple[int, Reply]:
        match method, words:
            case "GET", ["sites"]:
                return 200, {"sites": [self._line(site) for site in self._world]}
            case _, ["sites", name, *rest]:
                return self._site(method, self._world.site(name), rest, body, query)
            case "GET", ["clock"]:
                return 200, self._clock()
            case "PUT", ["clock"]:
                return self._set_clock(ClockOrder.model_validate(body))
            case "POST", ["save"]:
                return 200, {"written": self._save()}
            case "POST", ["shutdown"]:
                self._stop()
                return 202, {"status": "stopping"}
        raise NotFound("the lab's admin API has no such path", method=method, path="/".join(["", "lab", *words]))

    def _site(self, method: str, site: LabSite, rest: list[str], body: Any, query: dict[str, str]) -> tuple[int, Reply]:
        match method, rest:
            case "GET", []:
                return 200, self._line(site)
            case "GET", ["requests"]:
                return 200, _requests(site, _limit(query))
            case "DELETE", ["requests"]:
                return 200, _forget_requests(site)
            case "PUT", ["flux"]:
                self._world.awake(site)
                return 200, {"site": site.name, "installed": install(site)}
            case _, ["faults", *kinds] if len(kinds) < 2:
                return 200, self._faults(method, site, kinds, body)
        raise NotFound("the lab's admin API has no such path", site=site.name, path="/".join(rest))

    def _faults(self, method: str, site: LabSite, kinds: list[str], body: Any) -> Reply:
        if method == "DELETE":
            self._world.lift(site, _kind(kinds[0]) if kinds else None)
        elif method in ("PUT", "POST") and not kinds:
            self._set_fault(site, body)
        elif method != "GET" or kinds:
            raise NotFound("faults are set with PUT, lifted with DELETE", method=method, site=site.name)
        return _faults(site)

    def _set_fault(self, site: LabSite, body: Any) -> None:
        wish = dict(body) if isinstance(body, dict) else {}
        lasts = Length.model_validate({"for_s": wish.pop("for_s", None)}).for_s
        now = self._world.clock.monotonic()
        spell = Spell(fault=FAULT.validate_python(wish), from_s=now, until_s=None if lasts is None else now + lasts)
        self._world.set_spell(site, spell)

    def _set_clock(self, order: ClockOrder) -> tuple[int, Reply]:
        if order.rate is not None:
            self._world.clock.set_rate(order.rate)
        if order.advance_s:
            self._world.clock.advance(order.advance_s)
        return 200, self._clock()

    def _clock(self) -> Reply:
        clock = self._world.clock
        return {"now": clock.now().isoformat(), "rate": clock.rate, "elapsed_s": clock.monotonic()}

    def _health(self) -> Reply:
        awake = sum(site.store is not None for site in self._world)
        return {"status": "ok", "sites": len(self._world), "awake": awake, "timers": len(self._world.timers)}

    def _line(self, site: LabSite) -> Reply:
        return {
            "name": site.name,
            "region": site.region,
            "device_id": site.device_id,
            "awake": site.store is not None,
            "objects": site.store.count() if site.store else 0,
            "revision": site.store.revision if site.store else 0,
            "served": site.store.served if site.store else 0,
            "cut": dict(site.cut),
            "faults": [fault.model_dump(mode="json") for fault in site.faults],
        }


def _faults(site: LabSite) -> Reply:
    return {
        "site": site.name,
        "faults": [fault.model_dump(mode="json") for fault in site.faults],
        "spells": [spell.model_dump(mode="json") for spell in site.spells],
    }


def _requests(site: LabSite, limit: int) -> Reply:
    log = [asdict(line) for line in site.store.requests] if site.store else []
    counts = Counter(f"{line['method']} {line['status']}" for line in log)
    return {
        "site": site.name,
        "served": site.store.served if site.store else 0,
        "cut": dict(site.cut),
        "counts": dict(counts),
        "requests": log[-limit:] if limit > 0 else [],
    }


def _forget_requests(site: LabSite) -> Reply:
    site.cut.clear()
    if site.store:
        site.store.requests.clear()
    return _requests(site, 0)


def _limit(query: dict[str, str]) -> int:
    text = query.get("limit", "1000")
    if not re.fullmatch("[0-9]{1,9}", text):
        raise InvalidInput("not a number of lines", field="limit", value=text[:40])
    return int(text)


def _kind(word: str) -> FaultKind:
    try:
        return FaultKind(word)
    except ValueError as error:
        known = ", ".join(FaultKind)
        raise InvalidInput("no such kind of fault", value=word, remedy=f"Known kinds: {known}") from error


def _complaint(error: EdgeError | ValueError) -> Reply:
    if isinstance(error, ValidationError):
        what, field, value = complaint(error)
        return {"error": what, "field": field, "value": value}
    return {"error": str(error)}


def _query(scope: Scope) -> dict[str, str]:
    return {key: values[-1] for key, values in parse_qs(scope["query_string"].decode("latin-1")).items()}


async def _reply(send: Send, status: int, body: Reply) -> None:
    await answer(send, status, orjson.dumps(body))
