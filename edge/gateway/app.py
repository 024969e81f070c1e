"""The gateway's HTTP side: an ASGI app that takes events in and says how it is doing."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from edge.errors import EdgeError
from edge.gateway.desk import Desk
from edge.gateway.dispatcher import Dispatcher
from edge.gateway.handshake import answer_options, answer_validation
from edge.gateway.metrics import GatewayMetrics
from edge.gateway.prefect_events import PrefectEvents
from edge.gateway.refusal import Refused, answer_refusal
from edge.gateway.senders import check_signature, check_token, is_signed
from edge.gateway.settings import GatewaySettings
from edge.gateway.wire import FORMS, JSON, form_of, parsed, read_body, read_events
from edge.ledger import Ledger
from edge.model.device import Origin
from edge.model.event import EventState, IncomingEvent

log = logging.getLogger("edge.gateway")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Gateway:
    """The handlers, with what they share. `now` gives aware UTC times."""

    def __init__(self, settings: GatewaySettings, ledger: Ledger, *, now: Callable[[], datetime] = _utc_now) -> None:
        self.settings = settings
        self.ledger = ledger
        self.now = now
        self.metrics = GatewayMetrics()
        self.dispatcher = Dispatcher(settings, ledger, PrefectEvents(settings.name), self.metrics)
        self.desk = Desk(settings, ledger, self.metrics, via=Origin.EVENT, now=now)
        self.desk.notify = self.dispatcher.notify
        self.desk.returned = self.dispatcher.returned

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Pass events on while the app runs."""
        if self.settings.dispatch:
            self.dispatcher.start()
        try:
            yield
        finally:
            await run_in_threadpool(self.dispatcher.stop)

    async def events(self, request: Request) -> Response:
        """POST /events: 202 once everything is stored, else 4xx or 503 and nothing is."""
        return await self._answered(self._take, request)

    async def challenges(self, request: Request) -> Response:
        """POST /challenges: 201 with a nonce for one device to sign."""
        return await self._answered(self._challenge, request)

    async def _answered(self, act: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        started = time.perf_counter()
        try:
            return await act(request)
        except Refused as refused:
            self.metrics.rejected.labels(refused.reason).inc()
            field = refused.error.where.get("field", "-")
            log.info("Refused a request: %s, field %r", refused.reason, field)
            return answer_refusal(refused)
        finally:
            self.metrics.seconds.observe(time.perf_counter() - started)

    async def options(self, request: Request) -> Response:
        """OPTIONS /events: the CloudEvents webhook handshake."""
        try:
            return answer_options(request.headers, self.settings)
        except Refused as refused:
            self.metrics.rejected.labels(refused.reason).inc()
            return answer_refusal(refused)

    async def health(self, _request: Request) -> Response:
        """GET /healthz: the process answers."""
        return PlainTextResponse("ok\n")

    async def ready(self, _request: Request) -> Response:
        """GET /readyz: 200 when the ledger can be used and events are passed on, else 503; the body says which not."""
        parts = {"ledger": await run_in_threadpool(self._ledger_state), "dispatcher": self._dispatcher_state()}
        good = parts["ledger"] == "ok" and parts["dispatcher"] != "stopped"
        return JSONResponse(parts, status_code=200 if good else 503)

    async def show_metrics(self, _request: Request) -> Response:
        """GET /metrics in Prometheus' text format."""
        await run_in_threadpool(self._ledger_state)
        return PlainTextResponse(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def _take(self, request: Request) -> Response:
        headers = dict(request.headers.items())
        events = await self._read(request, headers)
        if answer := answer_validation(events):
            return answer
        receipt = await run_in_threadpool(self.desk.take, events)
        return JSONResponse(receipt.told(), status_code=202)

    async def _challenge(self, request: Request) -> Response:
        body = await self._body(request, dict(request.headers.items()), kinds=(JSON,))
        told = await run_in_threadpool(self.desk.challenge, parsed(body))
        return JSONResponse(told, status_code=201, headers={"Cache-Control": "no-store"})

    async def _read(self, request: Request, headers: dict[str, str]) -> list[IncomingEvent]:
        body = await self._body(request, headers, kinds=FORMS)
        return read_events(headers, body, received_at=self.now())

    async def _body(self, request: Request, headers: dict[str, str], *, kinds: Sequence[str]) -> bytes:
        """Who sends is checked as early as possible: a token before the body is read, a signature right after."""
        signed = is_signed(headers)
        if not signed:
            check_token(headers, request.query_params, self.settings)
        form_of(headers, kinds)
        body = await read_body(request, limit=self.settings.max_body, timeout_s=self.settings.body_timeout_s)
        if signed:
            check_signature(headers, body, self.settings, now=self.now().timestamp())
        return body

    def _ledger_state(self) -> str:
        try:
            self.metrics.pending.set(self.ledger.inbox.counts().get(EventState.STORED, 0))
        except EdgeError as error:
            log.warning("The ledger cannot be read: %s", error)
            return error.code
        return "ok"

    def _dispatcher_state(self) -> str:
        if not self.settings.dispatch:
            return "off"
        return "running" if self.dispatcher.is_alive else "stopped"


def create_app(settings: GatewaySettings, ledger: Ledger, *, now: Callable[[], datetime] = _utc_now) -> Starlette:
    """The gateway as an ASGI app. It uses the ledger and does not close it; `now` gives aware UTC times."""
    gateway = Gateway(settings, ledger, now=now)
    return Starlette(
        routes=[
            Route("/events", gateway.events, methods=["POST"]),
            Route("/events", gateway.options, methods=["OPTIONS"]),
            Route("/challenges", gateway.challenges, methods=["POST"]),
            Route("/healthz", gateway.health),
            Route("/readyz", gateway.ready),
            Route("/metrics", gateway.show_metrics),
        ],
        lifespan=gateway.lifespan,
    )
