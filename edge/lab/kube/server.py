"""One site's API server as an ASGI application: who asks, may they, what for, and the answer on the wire."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from time import perf_counter
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

import orjson

from edge.lab.kube import discovery, openapi, rbac, service_proxy
from edge.lab.kube.call import ANONYMOUS, TROUBLES, Answer, Call, User, answer
from edge.lab.kube.errors import ApiError, bad_request, forbidden, method_not_allowed, no_such_path, unauthorized
from edge.lab.kube.impersonation import Asked, impersonated
from edge.lab.kube.lifecycle import Lifecycle
from edge.lab.kube.routes import target_of, verb_of
from edge.lab.kube.site import Site
from edge.lab.kube.store import ServedRequest, SiteStore, stamp
from edge.lab.kube.watch import Watch
from edge.lab.kube.write_options import check_write_options

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
MOST_BODY = 3 * 1024 * 1024
"""The largest request body a real server takes, in bytes."""
_log = logging.getLogger(__name__)
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_HEALTH = frozenset({"healthz", "livez", "readyz"})


class Clock(Protocol):
    """The lab's clock, as far as a server needs it."""

    def now(self) -> Any:
        """The site's time, an aware datetime."""

    async def sleep(self, lab_seconds: float) -> None:
        """Wait for so many lab seconds."""


class SiteServer:
    """Serves one store. Mount it anywhere: it reads the path below `root_path`.

    `tokens` maps bearer tokens to users and may change while the server runs. Service-account tokens it issues itself
    are accepted too.
    """

    def __init__(self, store: SiteStore, clock: Clock, tokens: Mapping[str, User]) -> None:
        self.store = store
        self.clock = clock
        self.site = Site(store, tokens)
        self.lifecycle = Lifecycle(store)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        begun = perf_counter()
        call = _call(scope)
        reply: Answer | Watch
        try:
            if call.method in _WITH_BODY:
                call.body = await _body(receive)
            reply = self._reply(call)
        except ApiError as refusal:
            reply = Answer(refusal.code, orjson.dumps(refusal.status()), headers=refusal.headers)
        except Exception:  # noqa: BLE001 - a fault of the lab has to reach the caller as a fault of the server
            _log.exception("%s %s failed", call.method, call.path)
            fault = ApiError(500, "InternalError", "Internal error occurred: the lab has a fault; see its log")
            reply = Answer(500, orjson.dumps(fault.status()))
        self._remember(call, reply, perf_counter() - begun)
        if isinstance(reply, Watch):
            await reply.run(receive, send)
            return
        wait = max(call.delay_s, reply.delay_s)
        if wait:
            await self.clock.sleep(wait)
        await _send(send, call, reply)

    def _reply(self, call: Call) -> Answer | Watch:
        call.user = self._authenticate(call)
        parts = [unquote(part) for part in call.path.split("/") if part]
        asked = service_proxy.Asked.by(parts) if "proxy" in parts else None
        if asked is not None:
            self._authorise(call, service_proxy.verb_of(call), asked.target)
            return service_proxy.proxied(self.site, call, asked)
        if len(parts) > 2 and (parts[0] == "api" or (parts[0] == "apis" and len(parts) > 3)):
            target = target_of(self.store.types, parts)
            word, verb = verb_of(call, target)
            self._authorise(call, word, target)
            check_write_options(call)
            return verb(self.site, call, target)
        self._authorise_path(call)
        if call.method not in {"GET", "HEAD"}:
            raise method_not_allowed()
        return self._document(call, tuple(parts))

    # Who and whether

    def _authenticate(self, call: Call) -> User:
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if not scheme:
            return ANONYMOUS
        user = self.site.user_of(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise unauthorized()
        return self._impersonated(call, user)

    def _impersonated(self, call: Call, user: User) -> User:
        """Who a request is made as. The one who makes it needs the right to be that user, and each of the groups."""
        asked = Asked.by(call)
        if asked is None:
            return user
        made = impersonated(asked)
        for wish in made.wishes:
            if not rbac.allows(self.store, user, wish):
                why = rbac.refusal(user, wish)
                raise ApiError(
                    403, "Forbidden", f'{wish.resource} "{wish.name}" is forbidden: {why}', made.details(wish)
                )
        return made.user

    def _authorise(self, call: Call, word: str, target: Any) -> None:
        resource = target.resource
        wish = rbac.Attributes(word, resource.group, resource.plural, target.subresource, target.namespace, target.name)
        if resource.plural == "namespaces" and not resource.group:
            wish = rbac.Attributes(word, "", "namespaces", target.subresource, target.name, target.name)
        if not rbac.allows(self.store, call.user, wish):
            raise forbidden(resource, target.name, rbac.refusal(call.user, wish))

    def _authorise_path(self, call: Call) -> None:
        wish = rbac.Attributes(call.method.lower(), path=call.path)
        if not rbac.allows(self.store, call.user, wish):
            raise ApiError(403, "Forbidden", rbac.refusal(call.user, wish), {})

    # What is not a resource

    def _document(self, call: Call, parts: tuple[str, ...]) -> Answer:
        found: bytes | None = None
        kind = "application/json"
        if not parts:
            found = _PATHS
        elif parts[0] in _HEALTH:
            return Answer(200, b"ok", "text/plain; charset=utf-8")
        elif parts == ("version",):
            found = orjson.dumps(discovery.VERSION)
        elif parts[0] in {"api", "apis"}:
            aggregated = len(parts) == 1 and call.wants("APIGroupDiscoveryList")
            found = discovery.document(self.store.types, parts, aggregated)
            kind = discovery.AGGREGATED if aggregated else kind
        elif parts == ("openapi", "v2"):
            protobuf = "spec.v2" in call.headers.get("accept", "")
            found = openapi.second(protobuf)
            kind = openapi.V2_PROTOBUF if protobuf else kind
        elif parts[:2] == ("openapi", "v3"):
            found = self._openapi(parts[2:])
        if found is None:
            raise no_such_path()
        return Answer(200, found, kind)

    def _openapi(self, parts: tuple[str, ...]) -> bytes | None:
        match parts:
            case ():
                return openapi.index(self.store.types)
            case ("api", version):
                return openapi.document(self.store.types, "", version)
            case ("apis", group, version):
                return openapi.document(self.store.types, group, version)
        return None

    def _remember(self, call: Call, reply: Answer | Watch, seconds: float) -> None:
        self.store.served += 1
        self.store.requests.append(
            ServedRequest(
                stamp(self.store.now()),
                call.method,
                call.path,
                reply.status,
                call.headers.get("user-agent", ""),
                call.query.get("fieldManager", ""),
                seconds,
                call.dry_run,
                call.headers.get("impersonate-extra-edge-fence", ""),
            )
        )


_PATHS = answer(
    {"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]}
).body


def _call(scope: Scope) -> Call:
    path: str = scope["path"]
    root = scope.get("root_path", "")
    if root and path.startswith(root):
        path = path[len(root) :] or "/"
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    call = Call(scope["method"], path, _query(scope.get("query_string", b"")), headers, raw_headers=scope["headers"])
    call.troubles = (scope.get("extensions") or {}).get(TROUBLES)
    return call


@lru_cache(maxsize=2048)
def _query(raw: bytes) -> Mapping[str, str]:
    return dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True)) if raw else {}


async def _body(receive: Receive) -> bytes:
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":  # half a YAML document may be one too
            raise bad_request("the client went away before the body was complete")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > MOST_BODY:
            raise ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {MOST_BODY}", {})
        chunks.append(chunk)
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _send(send: Send, call: Call, reply: Answer) -> None:
    headers = [
        (b"content-type", reply.content_type.encode("latin-1")),
        (b"content-length", str(len(reply.body)).encode()),
    ]
    headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    for warning in call.warnings:
        text = warning.replace("\\", "\\\\").replace('"', '\\"')
        headers.append((b"warning", f'299 - "{text}"'.encode("latin-1", "replace")))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if call.method == "HEAD" else reply.body})
