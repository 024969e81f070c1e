"""From an HTTP request to events: body limits, content types, and the four forms events come in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import orjson
from cloudevents.core.bindings.http import HTTPMessage, from_binary
from cloudevents.core.exceptions import BaseCloudEventException
from cloudevents.core.formats.json import JSONFormat
from starlette.requests import ClientDisconnect, Request

from edge.errors import InvalidInput
from edge.gateway.refusal import Reason, Refused, refuse
from edge.model.event import IncomingEvent
from edge.policy.event import read_cloud_event, read_grid_event

JSON = "application/json"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
FORMS = (STRUCTURED, BATCH, JSON)


async def read_body(request: Request, *, limit: int, timeout_s: float) -> bytes:
    """The body, of at most `limit` bytes and within `timeout_s` seconds. Raises Refused."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    left = limit
    try:
        async with asyncio.timeout(timeout_s):
            async for part in request.stream():
                left -= len(part)
                if left < 0:
                    raise _too_large(limit)
                parts.append(part)
    except TimeoutError as error:
        raise refuse(Reason.TOO_SLOW, f"The body did not arrive within {timeout_s:g} s") from error
    except ClientDisconnect as error:
        raise refuse(Reason.TOO_SLOW, "The sender hung up before the body was there") from error
    return b"".join(parts)


def form_of(headers: Mapping[str, str], kinds: Sequence[str] = FORMS) -> str:
    """The content type without its parameters, if it is one of those that are taken. Raises Refused."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in kinds:
        remedy = f"Send {', '.join(kinds)}"
        raise refuse(
            Reason.CONTENT_TYPE, "This type is not taken here", field="content-type", value=kind, remedy=remedy
        )
    if headers.get("content-encoding", "identity").lower() != "identity":
        value = headers["content-encoding"]
        raise refuse(Reason.CONTENT_TYPE, "Bodies are not unpacked", field="content-encoding", value=value)
    return kind


def read_events(headers: Mapping[str, str], body: bytes, *, received_at: datetime) -> list[IncomingEvent]:
    """All events in a request: CloudEvents structured, batch or binary, or Event Grid's schema (one or a list).

    Raises Refused when one of them is no event; then none is taken.
    """
    form = form_of(headers)
    try:
        if form == JSON and "ce-specversion" in headers:
            return [_read_binary(headers, body, received_at)]
        return _read_json(form, _parsed(body), received_at)
    except InvalidInput as error:
        raise Refused(Reason.MALFORMED, error) from error


def _read_json(form: str, found: Any, received_at: datetime) -> list[IncomingEvent]:
    read = read_grid_event if form == JSON else read_cloud_event
    if form == STRUCTURED or (form == JSON and isinstance(found, dict)):
        return [read(_mapping(found, ""), received_at=received_at)]
    if not isinstance(found, list) or not found:
        raise InvalidInput("A batch must be a list with at least one event", field="body")
    return [
        read(_mapping(one, f"[{index}]"), received_at=received_at, place=f"[{index}].")
        for index, one in enumerate(found)
    ]


def _read_binary(headers: Mapping[str, str], body: bytes, received_at: datetime) -> IncomingEvent:
    """The package decodes the headers; it would invent an id that is missing, so what was sent is checked first."""
    sent = {name.removeprefix("ce-"): value for name, value in headers.items() if name.startswith("ce-")}
    for name in ("id", "source", "type", "specversion", "time"):
        if name not in sent:
            raise InvalidInput("A CloudEvent lacks an attribute", field=f"ce-{name}")
    plain = {name: value for name, value in headers.items() if name.startswith("ce-") and name != "ce-time"}
    try:
        event = from_binary(HTTPMessage(headers=plain, body=b""), JSONFormat())
    except (BaseCloudEventException, ValueError) as error:
        raise InvalidInput(f"The headers are no CloudEvent: {error}", field="ce-*") from error
    attributes = {**event.get_attributes(), "time": unquote(sent["time"]), "data": _parsed(body) if body else None}
    return read_cloud_event(attributes, received_at=received_at, place="ce-")


def parsed(body: bytes) -> Any:
    """The JSON of a request. Raises Refused."""
    try:
        return _parsed(body)
    except InvalidInput as error:
        raise Refused(Reason.MALFORMED, error) from error


def _parsed(body: bytes) -> Any:
    if b"\\u0000" in body:
        raise InvalidInput("The body holds the character NUL, which no database keeps", field="body")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(
            f"The body is no JSON: {error.msg}", field="body", line=error.lineno, column=error.colno
        ) from error


def _mapping(found: object, place: str) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise InvalidInput("An event must be a JSON object", field=place or "body", value=str(found)[:200])
    return found


def _too_large(limit: int) -> Refused:
    return refuse(Reason.TOO_LARGE, f"The body has more than {limit} bytes", field="body", limit=limit)
