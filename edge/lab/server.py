"""The lab's one TLS port: sites under `/sites/<name>`, the lab's own API under `/lab/`, Azure for everything else."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

import uvicorn

from edge.lab.admin import AdminApp
from edge.lab.asgi import App, Message, Receive, Scope, Send, answer
from edge.lab.persistence import Shelf
from edge.lab.protocol import CONNECTION, LabProtocol
from edge.lab.sites import LabSite
from edge.lab.weather_wire import WeatherWire
from edge.lab.world import World

_log = logging.getLogger(__name__)
_SITES = "/sites/"
_CHARTS = "/v2/azurearck8s/"
_GRACE_S = 1
_KEEP_ALIVE_S = 120
_BACKLOG = 2048
_SILENCE_STEP_S = 0.2


class LabApp:
    """The ASGI app that finds out whom a request is for."""

    def __init__(self, world: World, admin: AdminApp, azure: App, shelf: Shelf) -> None:
        self._world = world
        self._admin = admin
        self._azure = azure
        self._shelf = shelf
        self.registry = azure
        """The lab's own registry, for everything under `/v2/` but the agents' chart; Azure's until one is set."""
        self._wire = WeatherWire(world.clock, world.scenario.seed)
        self._saving: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the server's own start and end."""
        if scope["type"] == "lifespan":
            return await self._live(receive, send)
        path: str = scope["path"]
        if path.startswith(_SITES):
            return await self._site(path, scope, receive, send)
        send = _dated(self._world.clock.now, send)
        if path.startswith("/lab/azure/") and not self._admin.allows(scope):
            return await answer(send, 401, b'{"error":"the admin token is missing or wrong"}')
        if path.startswith("/lab/") and not path.startswith("/lab/azure/"):
            return await self._admin(scope, receive, send)
        if path.startswith("/v2/") and not path.startswith(_CHARTS):
            return await self.registry(scope, receive, send)
        return await self._azure(scope, receive, send)

    async def _site(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        name = path[len(_SITES) :].partition("/")[0]
        site = self._world.find(name)
        if site is None:
            return await answer(send, 404, b'{"error":"the lab has no such site"}')
        scope["root_path"] = _SITES + name
        send = _dated(site.clock.now, send)
        if site.faults:
            return await self._wire.serve(site, functools.partial(self._cluster, site), scope, receive, send)
        return await self._cluster(site, scope, receive, send)

    async def _cluster(self, site: LabSite, scope: Scope, receive: Receive, send: Send) -> None:
        self._world.awake(site)
        assert site.app is not None
        connection = scope["extensions"][CONNECTION]
        site.open.add(connection)
        try:
            await site.app(scope, receive, self._heard(site, send))
        finally:
            site.open.discard(connection)

    def _heard(self, site: LabSite, send: Send) -> Send:
        """What a site says while it is silent arrives when the line is back, as TCP has it."""

        async def heard(message: Message) -> None:
            while site.faults and site.silent:
                await self._world.clock.sleep(_SILENCE_STEP_S)
            await send(message)

        return heard

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._world.start()
        self._saving = asyncio.create_task(self._shelf.run())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._saving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._saving
        self._shelf.write(self._shelf.changed())
        await send({"type": "lifespan.shutdown.complete"})


class LabServer(uvicorn.Server):
    """uvicorn, with word when it listens, and with the door of the sites that are away from the start."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._door: socket.socket | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self._on_ready()

    def open_door(self, door: socket.socket) -> None:
        """Listen on a port that refused until now."""
        if self._door is None and self.started:
            self._door = door
            asyncio.get_running_loop().create_task(self._listen(door))

    async def _listen(self, door: socket.socket) -> None:
        protocol = functools.partial(
            LabProtocol, config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        loop = asyncio.get_running_loop()
        self.servers.append(
            await loop.create_server(protocol, sock=door, ssl=self.config.ssl, backlog=self.config.backlog)
        )


def server_config(app: App, cert_file: str, key_file: str) -> uvicorn.Config:
    """How the lab serves: TLS, plain ASGI, no access log, and watches do not hold up the end."""
    return uvicorn.Config(
        app,
        http=LabProtocol,
        ws="none",
        proxy_headers=False,
        loop="asyncio",
        lifespan="on",
        ssl_certfile=cert_file,
        ssl_keyfile=key_file,
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )


def _dated(now: Callable[[], datetime], send: Send) -> Send:
    async def dated(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"date", _date(int(now().timestamp())))]
        await send(message)

    return dated


@functools.lru_cache(maxsize=64)
def _date(second: int) -> bytes:
    return format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True).encode()
