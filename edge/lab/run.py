"""One lab in this process: builds the world from its state folder, serves it, and keeps it."""

from __future__ import annotations

import contextlib
import fcntl
import re
import resource
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from edge.errors import InvalidInput, NotFound
from edge.lab.admin import AdminApp
from edge.lab.agents_look import AgentsLook
from edge.lab.azure.app import AzureApp
from edge.lab.azure.options import AzureOptions
from edge.lab.ca import Authority, write_secret
from edge.lab.clock import LabClock
from edge.lab.controllers.engine import Engine
from edge.lab.controllers.stages import read_stages
from edge.lab.flux.arc import FluxAgent
from edge.lab.flux.puller import Puller
from edge.lab.flux.registry import Registry
from edge.lab.flux.runtime import FluxHost
from edge.lab.layout import LabConfig, Layout, usable
from edge.lab.persistence import Shelf, put
from edge.lab.scenario import read_scenario
from edge.lab.server import LabApp, LabServer, server_config
from edge.lab.sites import LabSite
from edge.lab.summary import summary, write_kubeconfigs
from edge.lab.timers import Timers
from edge.lab.weather import FaultKind
from edge.lab.world import World
from edge.processes import this_process

_HOST = "127.0.0.1"


class Lab:
    """A lab that is built and can be served once."""

    def __init__(self, config: LabConfig) -> None:
        self.config = config
        self.layout = Layout(config.state)
        self._socket = _bind(config.port, _port_before(self.layout))
        self._door = _unlistened()
        self.url = f"https://{_HOST}:{self._socket.getsockname()[1]}"
        self._away_url = f"https://{_HOST}:{self._door.getsockname()[1]}"
        self._server: LabServer | None = None
        self._build()

    def _build(self) -> None:
        scenario, folder = read_scenario(self.config.scenario)
        clock = LabClock(self.config.clock_rate, _behind(self.layout))
        self._shelf = Shelf(self.layout.objects)
        self._shelf.check()
        engine = Engine(Timers(clock), read_stages(scenario.stages, folder), scenario.seed)
        authority = Authority.open(self.layout.ca, "Edge Lab CA")
        self._tls = authority.server(self.layout.server)
        ca_pem = authority.cert_file.read_text(encoding="ascii")
        secret = _kept_secret(self.layout.secret)
        self.world = World(scenario, engine, self._shelf, secret=secret, ca_pem=ca_pem)
        self.world.populate(self.config.sites)
        self.world.on_weather.append(self._weather_changed)
        self._admin_token = _kept_secret(self.layout.admin_token).decode()
        self._make_devices()
        write_kubeconfigs(self.world, self.layout, self._site_url)
        self._admin = AdminApp(self.world, self._admin_token, stop=self.stop, save=self._save)
        options = AzureOptions(
            agents=AgentsLook(self.world, _HOST),
            flux=FluxAgent(self.world),
            provisioning_s=scenario.azure.provisioning_s,
            deleting_s=scenario.azure.deleting_s,
            # An operation is over sooner when the clock runs fast, so callers are asked to look sooner.
            retry_after_s=min(1.0, max(0.2, 1.0 / self.config.clock_rate)),
        )
        self._azure = AzureApp(clock, self._kubeconfig_for, self.layout.azure, options)
        self.world.on_weather.append(lambda site: self._azure.contact_changed(site.name))
        self._app = LabApp(self.world, self._admin, self._azure, self._shelf)
        self._app.registry = Registry(self.layout.artifacts, _kept_secret(self.layout.registry_password).decode())
        engine.flux = FluxHost(engine, Puller(self._app, self.url))

    def serve(self, on_ready: Callable[[dict[str, Any]], None]) -> None:
        """Serve until told to stop; `on_ready` gets the summary once the port listens."""
        self._server = LabServer(server_config(self._app, *map(str, self._tls)), lambda: self._ready(on_ready))
        for word in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises the signal again when it is done
            signal.signal(word, lambda *_: None)
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._azure.close()
            self._keep_clock()
            for file in (self.layout.pid, self.layout.summary):
                file.unlink(missing_ok=True)

    def stop(self) -> None:
        """End as on SIGTERM."""
        if self._server is not None:
            self._server.should_exit = True

    def _ready(self, on_ready: Callable[[dict[str, Any]], None]) -> None:
        self._keep_clock()
        said = summary(self.world, self.layout, self.url, self._azure.facts(self.url))
        put(self.layout.port, str(self._socket.getsockname()[1]).encode())
        put(self.layout.pid, orjson.dumps(this_process().model_dump()))
        put(self.layout.summary, orjson.dumps(said, option=orjson.OPT_INDENT_2))
        on_ready(said)

    def _make_devices(self) -> None:
        maker = Authority.open(self.layout.manufacturer, "Edge Lab Manufacturer CA")
        for site in self.world:
            maker.device(self.layout.devices, site.device_id, site.serial)
        if not self.layout.revocations.exists():
            maker.revoke(self.layout.revocations, ())
        Authority.open(self.layout.voucher_authority, "Edge Lab Voucher CA")
        Authority.open(self.layout.tpm_authority, "Edge Lab TPM CA")

    def _site_url(self, site: LabSite) -> str:
        return f"{self._away_url if site.away_at_start else self.url}/sites/{site.name}"

    def _kubeconfig_for(self, name: str) -> str:
        if self.world.find(name) is None:
            raise KeyError(name)
        return self.layout.kubeconfig(name).read_text(encoding="utf-8")

    def _weather_changed(self, site: LabSite) -> None:
        if site.away_at_start and not site.suffers(FaultKind.OFFLINE) and self._server is not None:
            self._server.open_door(self._door)

    def _save(self) -> int:
        changed = self._shelf.changed()
        self._shelf.write(changed)
        self._keep_clock()
        return len(changed)

    def _keep_clock(self) -> None:
        put(self.layout.clock, orjson.dumps({"now": self.world.clock.now().isoformat()}))


@contextlib.contextmanager
def claimed(layout: Layout) -> Iterator[None]:
    """Hold the state folder for this process alone; the lock goes when the process does.

    Raises InvalidInput when the folder belongs to something else or to a lab that runs.
    """
    _check_folder(layout)
    with usable(layout):
        layout.state.mkdir(parents=True, exist_ok=True)
        opened = layout.lock.open("w")
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            remedy = "`edge lab down` ends it; another --state starts a second one"
            raise InvalidInput("a lab already runs in this folder", state=layout.state, remedy=remedy) from error
        yield


def raise_file_limit() -> None:
    """One connection per site and client needs more than the usual 1,024 open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _check_folder(layout: Layout) -> None:
    if not layout.state.exists():
        return
    if not layout.state.is_dir():
        raise InvalidInput("the state folder is no folder", state=layout.state)
    if not layout.lock.exists() and any(layout.state.iterdir()):
        remedy = "Give an empty folder, or one that a lab made"
        raise InvalidInput("this folder is not empty and was not made by a lab", state=layout.state, remedy=remedy)


def _bind(port: int, before: int) -> socket.socket:
    for wanted in [port] if port else [before, 0]:
        bound = _tcp_socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((_HOST, wanted))
        except OSError as error:
            bound.close()
            if port:
                raise InvalidInput(
                    "the port cannot be used",
                    port=port,
                    reason=error.strerror,
                    remedy="Without --port a free one is found",
                ) from error
            continue
        return bound
    raise NotFound("no free port on this machine", host=_HOST)


def _unlistened() -> socket.socket:
    """A port that is taken, so that nobody else gets it, and where connections are refused until somebody listens."""
    door = _tcp_socket()
    door.bind((_HOST, 0))
    return door


def _tcp_socket() -> socket.socket:
    """With its protocol named, or asyncio does not switch Nagle's algorithm off and every answer takes 44 ms."""
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)


def _port_before(layout: Layout) -> int:
    try:
        return int(layout.port.read_text())
    except (OSError, ValueError):
        return 0


def _behind(layout: Layout) -> float:
    """How far the machine's clock is behind the lab time reached before, in seconds: lab time never goes back."""
    try:
        kept = datetime.fromisoformat(orjson.loads(layout.clock.read_bytes())["now"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
    return max(0.0, (kept - datetime.now(UTC)).total_seconds())


def _kept_secret(file: Path) -> bytes:
    if not file.exists():
        write_secret(file, secrets.token_hex(32).encode())
    kept = file.read_bytes().strip()
    if not re.fullmatch(b"[0-9a-f]{64}", kept):
        raise InvalidInput("this file is no secret of a lab", file=file, remedy="Remove it, and a new one is made")
    return kept
