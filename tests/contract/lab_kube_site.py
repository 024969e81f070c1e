"""One lab site's API server on a loopback port, with the ways tests speak to it: the official client and plain HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import uvicorn
from kubernetes import client

from edge.lab.clock import LabClock
from edge.lab.kube.call import admin_user, viewer_user
from edge.lab.kube.seeds import seed
from edge.lab.kube.server import SiteServer
from edge.lab.kube.store import SiteStore

ADMIN, VIEWER = "admin-token", "viewer-token"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
T = TypeVar("T")


@dataclass
class Reply:
    """An answer: status code, JSON body, headers."""

    code: int
    body: Any
    headers: httpx.Headers

    @property
    def causes(self) -> list[tuple[str, str]]:
        """(field, reason) of each cause in a Status."""
        return [(one.get("field", ""), one["reason"]) for one in self.body["details"].get("causes", [])]


@dataclass
class Site:
    """A running site."""

    url: str
    store: SiteStore
    clock: LabClock
    loop: asyncio.AbstractEventLoop
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        # No TLS here; without `verify=False` httpx reads the system's certificates for each client, which takes 0.1 s.
        head = {"authorization": f"Bearer {ADMIN}"}
        self.http = httpx.Client(base_url=self.url, headers=head, timeout=20, verify=False)

    def api(self, token: str = ADMIN) -> client.ApiClient:
        """The official client, as it comes."""
        settings = client.Configuration(host=self.url)
        made = client.ApiClient(settings)
        made.set_default_header("authorization", f"Bearer {token}")
        return made

    def call(self, method: str, path: str, body: Any = None, *, token: str = ADMIN, **headers: str) -> Reply:
        """One plain request; words of `headers` are written with `_` for `-`. A text body goes as it is."""
        head = {word.replace("_", "-"): value for word, value in headers.items()}
        head["authorization"] = f"Bearer {token}"
        content = body if isinstance(body, str | bytes) or body is None else json.dumps(body)
        if content is not None:
            head.setdefault("content-type", "application/json")
        answer = self.http.request(method, path, content=content, headers=head)
        plain = answer.headers["content-type"].startswith("text/")
        return Reply(answer.status_code, answer.text if plain else answer.json(), answer.headers)

    def make(self, path: str, body: Any) -> Any:
        """Create an object that must be accepted."""
        reply = self.call("POST", path, body)
        assert reply.code == 201, reply.body
        return reply.body

    def get(self, path: str) -> Any:
        """Read an object that must be there."""
        reply = self.call("GET", path)
        assert reply.code == 200, reply.body
        return reply.body

    def apply(self, path: str, body: Any, manager: str = "one", query: str = "") -> Reply:
        """Server-side apply."""
        return self.call("PATCH", f"{path}?fieldManager={manager}{query}", body, content_type=APPLY)

    def merge(self, path: str, body: Any) -> Reply:
        """JSON merge patch."""
        return self.call("PATCH", path, body, content_type=MERGE)

    def on_loop(self, act: Callable[[], T]) -> T:
        """Run something on the server's event loop, where the store lives."""

        async def run() -> T:
            return act()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(20)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self.ready = ready
        self.loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()


class Host:
    """A server on a loopback port that any number of sites are mounted on, each below a path of its own."""

    def __init__(self, port: int, loop: asyncio.AbstractEventLoop, apps: dict[str, SiteServer]) -> None:
        self.port = port
        self.loop = loop
        self._apps = apps

    @contextmanager
    def fresh_site(self) -> Iterator[Site]:
        """A site that holds what every site begins with."""
        name = f"site-{len(self._apps):04}"
        clock = LabClock()
        store = SiteStore(name, clock.now)
        app = SiteServer(store, clock, {ADMIN: admin_user(), VIEWER: viewer_user()})
        seed(store, "a certificate")
        self._apps[name] = app
        site = Site(f"http://127.0.0.1:{self.port}/sites/{name}", store, clock, self.loop)
        try:
            yield site
        finally:
            site.http.close()


@contextmanager
def running_host() -> Iterator[Host]:
    """A host that ends when it is left."""
    apps: dict[str, SiteServer] = {}

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        name = scope["path"].split("/")[2]
        await apps[name]({**scope, "root_path": f"/sites/{name}"}, receive, send)

    # The protocol must be named: asyncio switches Nagle off (40 ms an answer) only for sockets that say they are TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    settings = uvicorn.Config(mounted, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1)
    ready = threading.Event()
    server = _Server(settings, ready)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        assert ready.wait(20)
        assert server.loop is not None
        yield Host(listener.getsockname()[1], server.loop, apps)
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


CM = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/edge.example.com/v1/namespaces/default/widgets"


def config_map(name: str, **data: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    """A Pod with one container."""
    body = {"containers": [{"name": "main", "image": "app:1"}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": body}


def deployment(name: str, replicas: int = 1) -> dict[str, Any]:
    """A Deployment with one container."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "app:1"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def widget_crd() -> dict[str, Any]:
    """A CRD with defaults, bounds, a printer column, status and scale."""
    spec = {
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 9},
            "colour": {"type": "string", "default": "blue", "enum": ["blue", "red"]},
            "replicas": {"type": "integer"},
        },
    }
    status = {"type": "object", "properties": {"replicas": {"type": "integer"}, "phase": {"type": "string"}}}
    schema = {"type": "object", "properties": {"spec": spec, "status": status}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
        },
        "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
    }
    names = {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.edge.example.com"},
        "spec": {"group": "edge.example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def widget(name: str, **spec: Any) -> dict[str, Any]:
    """A custom resource of `widget_crd`."""
    return {"apiVersion": "edge.example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}
