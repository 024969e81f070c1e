"""The managed-identity endpoint, and the tokens it gives: the one way into the pretend Azure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time

from edge.lab.azure.http import Answer, ArmFault, Request
from edge.lab.azure.routes import Route
from edge.lab.azure.store import Store

PATH = "/azure/identity"
LIFETIME_S = 24 * 3600
"""Tokens last this long in real seconds: it is the caller's clock that decides when to ask for the next."""


class Identity:
    """Gives bearer tokens to whoever knows the identity header, and recognises them."""

    def __init__(self, store: Store) -> None:
        for name in ("identity_header", "token_key"):
            if name not in store.secrets:
                store.secrets[name] = secrets.token_urlsafe(32)
                store.dirty = True
        self._store = store

    @property
    def header(self) -> str:
        """The secret for the environment variable IDENTITY_HEADER."""
        return self._store.secrets["identity_header"]

    def routes(self) -> list[Route]:
        """The endpoint, as App Service has it."""
        return [Route("GET", PATH, self._token, frozenset({"2019-08-01"}), open=True)]

    def _token(self, request: Request, _names: dict[str, str]) -> Answer:
        given = request.headers.get("x-identity-header", "")
        if not hmac.compare_digest(given.encode(), self.header.encode()):
            return Answer(401, {"statusCode": 401, "message": "The identity header is missing or wrong."})
        expires = int(time.time()) + LIFETIME_S
        return Answer(
            200,
            {
                "access_token": self._signed(expires),
                "expires_on": str(expires),
                "resource": request.query.get("resource", ""),
                "token_type": "Bearer",
                "client_id": "00000000-0000-4000-8000-00000000c11e",
            },
        )

    def _signed(self, expires: int) -> str:
        mark = hmac.new(self._store.secrets["token_key"].encode(), str(expires).encode(), hashlib.sha256).digest()
        return f"{expires}.{base64.urlsafe_b64encode(mark).decode().rstrip('=')}"

    def check(self, request: Request) -> None:
        """Let a request with a good bearer token pass.

        Raises:
            ArmFault: 401 as Resource Manager says it.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorised("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
        expires = token.partition(".")[0]
        if not expires.isdigit() or not hmac.compare_digest(token.encode(), self._signed(int(expires)).encode()):
            raise _unauthorised("InvalidAuthenticationToken", "The access token is invalid.")
        if int(expires) < time.time():
            raise _unauthorised("ExpiredAuthenticationToken", "The access token expiry UTC time is in the past.")


def _unauthorised(code: str, message: str) -> ArmFault:
    return ArmFault(401, code, message, {"WWW-Authenticate": 'Bearer authorization_uri="https://login.windows.net/"'})
