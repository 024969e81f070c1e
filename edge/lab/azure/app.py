"""The pretend Azure: Resource Manager, the managed identity and the Arc data plane, as one ASGI app.

It speaks what the Azure SDKs speak, and nothing is made easier for our own client. What happens on a cluster is looked
up in that cluster; what takes time takes lab time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from edge.lab.azure.clusters import TYPE as CLUSTERS
from edge.lab.azure.clusters import Clusters, finish
from edge.lab.azure.configurations import EXTENSIONS, FLUX, Configurations
from edge.lab.azure.connectivity import contact_changed
from edge.lab.azure.faults import AzureFault, Faults
from edge.lab.azure.flux import carry
from edge.lab.azure.http import MAX_BODY, Answer, ArmFault, Request
from edge.lab.azure.identity import PATH as IDENTITY_PATH
from edge.lab.azure.identity import Identity
from edge.lab.azure.long_running import Operations
from edge.lab.azure.options import AzureOptions, Clock
from edge.lab.azure.providers import Providers
from edge.lab.azure.registry import Registry
from edge.lab.azure.routes import Route, Router, check_version
from edge.lab.azure.store import Store

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Topic(Protocol):
    """A part of Azure that answers at some addresses."""

    def routes(self) -> list[Route]:
        """Those addresses."""
        ...


SAVE_AFTER_S = 0.5
"""Changes are written down this much later, in real seconds, so that a burst is written once."""


class AzureApp:
    """The ASGI app. `state` is the folder it keeps its memory in (None: it forgets); call `close` at the end.

    `kubeconfig_for` gives a site's kubeconfig text (KeyError: no such site).
    """

    def __init__(
        self,
        clock: Clock,
        kubeconfig_for: Callable[[str], str],
        state: Path | None = None,
        options: AzureOptions | None = None,
    ) -> None:
        self.options = options or AzureOptions()
        self.faults = Faults()
        self._store = Store(clock, state / "azure.json" if state else None)
        self._identity = Identity(self._store)
        self._providers = Providers(self._store, self.options)
        clusters = Clusters(self._store, self.options, self._providers, kubeconfig_for)
        self._router = Router(self._routes(clusters))
        self._saving: asyncio.TimerHandle | None = None
        self._store.save()

    def _routes(self, clusters: Clusters) -> list[Route]:
        parts: list[Topic] = [
            self._identity,
            self._providers,
            Operations(self._store, self.options),
            clusters,
            Configurations(EXTENSIONS, self._store, self.options, self._providers),
            Configurations(FLUX, self._store, self.options, self._providers),
            Registry(),
        ]
        admin = [
            Route("GET", "/lab/azure/faults", self._list_faults, open=True),
            Route("POST", "/lab/azure/faults", self._add_fault, open=True),
            Route("DELETE", "/lab/azure/faults", self._clear_faults, open=True),
        ]
        return admin + [route for part in parts for route in part.routes()]

    def facts(self, base_url: str) -> dict[str, Any]:
        """What a caller must know to use this Azure at `base_url`; `env` holds a secret."""
        return {
            "endpoint": base_url,
            "subscription_id": self.options.subscription_id,
            "resource_group": self.options.resource_group,
            "location": self.options.location,
            "env": {"IDENTITY_ENDPOINT": base_url + IDENTITY_PATH, "IDENTITY_HEADER": self._identity.header},
        }

    def contact_changed(self, site: str) -> None:
        """The way from a site's agents to Azure has just changed; to be called with each change of its weather."""
        for resource in self._store.of_type(CLUSTERS, "/subscriptions/"):
            if resource.body["name"] == site:
                contact_changed(self._store, self.options, resource)
                for config in self._store.of_type(FLUX.type, resource.id + "/"):
                    carry(self._store, self.options, resource, config)

    def close(self) -> None:
        """Write down what has not been written yet."""
        if self._saving is not None:
            self._saving.cancel()
        self._store.save()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request. `/lab/azure/*` is open here: whoever mounts this app checks the admin token."""
        try:
            request = Request.of(scope, await _read(receive))
            route, names = self._router.find(request)
            fault = self._admit(route, request, names)
            if fault is not None and fault.kind == "silent":
                if fault.acts:
                    self._run(route, request, names, None)
                await _until_gone(receive)
                return
            answer = self._run(route, request, names, fault)
        except ArmFault as refusal:
            answer = refusal.answer()
        self._save_soon()
        await _send(send, answer, with_body=scope["method"] != "HEAD")

    def _admit(self, route: Route, request: Request, names: dict[str, str]) -> AzureFault | None:
        if route.open:
            return None
        self._identity.check(request)
        self._providers.check_subscription(names)
        check_version(route, request)
        fault = self.faults.take(request.method, request.path)
        if fault is not None and fault.kind == "refuse":
            raise fault.refusal()
        return fault

    def _run(self, route: Route, request: Request, names: dict[str, str], fault: AzureFault | None) -> Answer:
        self._store.settle(finish)
        answer = route.handler(request, names)
        if fault is not None:
            self._store.doom(request.path.rstrip("/"), fault.code, fault.message)
        return answer

    def _save_soon(self) -> None:
        if self._store.dirty and self._saving is None:
            self._saving = asyncio.get_running_loop().call_later(SAVE_AFTER_S, self._save)

    def _save(self) -> None:
        self._saving = None
        self._store.save()

    def _list_faults(self, _request: Request, _names: dict[str, str]) -> Answer:
        return Answer(200, {"faults": [fault.model_dump() for fault in self.faults.all()]})

    def _add_fault(self, request: Request, _names: dict[str, str]) -> Answer:
        try:
            fault = AzureFault.model_validate(request.json())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ArmFault(400, "InvalidFault", f"'{place}': {first['msg']}") from error
        self.faults.add(fault)
        return Answer(201, fault.model_dump())

    def _clear_faults(self, _request: Request, _names: dict[str, str]) -> Answer:
        self.faults.clear()
        return Answer(204)


async def _read(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise ArmFault(413, "RequestEntityTooLarge", f"The request is larger than {MAX_BODY} bytes.")
        if not message.get("more_body"):
            return body


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, answer: Answer, *, with_body: bool) -> None:
    content = answer.encoded()
    headers = {"content-length": str(len(content)), **answer.headers}
    if answer.body is not None:
        headers.setdefault("Content-Type", "application/json; charset=utf-8")
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": content if with_body else b""})
