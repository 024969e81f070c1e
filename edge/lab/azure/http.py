"""Requests, answers and errors of the pretend Azure, in the form that Azure Resource Manager gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

MAX_BODY = 4 * 1024 * 1024
"""Resource Manager refuses larger requests."""


class ArmFault(Exception):
    """An answer that is an error: status, Azure's error code and a sentence."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})

    def answer(self) -> Answer:
        """The answer on the wire."""
        return Answer(self.status, {"error": error_body(self.code, str(self))}, self.headers)


def error_body(code: str, message: str) -> dict[str, Any]:
    """What stands under `error`, in answers and in operations."""
    return {"code": code, "message": message}


@dataclass(frozen=True)
class Request:
    """One request. Header names and query names are lower case; `base_url` is what the caller used to get here."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    base_url: str

    @classmethod
    def of(cls, scope: Mapping[str, Any], body: bytes) -> Request:
        """The request that an ASGI scope describes."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        return cls(
            method=scope["method"],
            path=scope["path"],
            query={name.lower(): value for name, value in query},
            headers=headers,
            body=body,
            base_url=f"{scope.get('scheme', 'https')}://{headers.get('host', 'localhost')}",
        )

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            ArmFault: 400, when it is not one.
        """
        try:
            data = orjson.loads(self.body or b"{}")
        except orjson.JSONDecodeError as error:
            raise ArmFault(400, "InvalidRequestContent", f"The request content was invalid: {error}") from error
        if not isinstance(data, dict):
            raise ArmFault(400, "InvalidRequestContent", "The request content must be a JSON object.")
        return data

    def link(self, path: str, **query: str) -> str:
        """An absolute address on this server, with the caller's api-version."""
        version = self.query.get("api-version", "")
        return f"{self.base_url}{path}?{urlencode({'api-version': version, **query})}"


@dataclass(frozen=True)
class Answer:
    """One answer. `body` is JSON-able, bytes as they are, or None for no content."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """The bytes of the body."""
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else orjson.dumps(self.body)


def page(request: Request, items: list[dict[str, Any]], size: int) -> Answer:
    """One page of a list, with `nextLink` when there is more. The place to go on stands in `$skiptoken`."""
    token = request.query.get("$skiptoken", "0")
    if not token.isdigit():
        raise ArmFault(400, "InvalidSkipToken", f"The skip token '{token}' is not one of ours.")
    start = int(token)
    body: dict[str, Any] = {"value": items[start : start + size]}
    if start + size < len(items):
        body["nextLink"] = request.link(request.path, **{"$skiptoken": str(start + size)})
    return Answer(200, body)
