"""Who may send events: those with a bearer token, or with a key that signed the request.

What is signed is the timestamp, a dot, the `ce-` headers if there are any (sorted, one a line, as `name:value`), and
the body. The headers are in it because in the binary mode they are the event's attributes. A repeat within the time a
signature is good for is caught by the event's id.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping

from pydantic import SecretStr

from edge.gateway.refusal import Reason, Refused, refuse
from edge.gateway.settings import GatewaySettings

SIGNATURE = "x-edge-signature"
TIMESTAMP = "x-edge-timestamp"


def is_signed(headers: Mapping[str, str]) -> bool:
    """Whether the request means to prove itself by a signature, which needs its body."""
    return SIGNATURE in headers and "authorization" not in headers


def check_token(headers: Mapping[str, str], query: Mapping[str, str], settings: GatewaySettings) -> None:
    """Raise Refused unless a good token is in `Authorization: Bearer` or in the query as `token`.

    The query is for Event Grid, which can keep a webhook's query secret but sends no header with its handshake.
    """
    scheme, _, given = headers.get("authorization", "").partition(" ")
    token = given.strip() if scheme.lower() == "bearer" else query.get("token", "")
    if not token or not _any_equal(token.encode(), (_bytes(secret) for secret in settings.tokens)):
        raise _unauthorized("No token, or one that is not accepted")


def check_signature(headers: Mapping[str, str], body: bytes, settings: GatewaySettings, *, now: float) -> None:
    """Raise Refused unless one of `X-Edge-Signature` fits `X-Edge-Timestamp`, the `ce-` headers and the body.

    `now` is in seconds since 1970.
    """
    stamp = headers.get(TIMESTAMP, "")
    if not re.fullmatch(r"\d{1,12}", stamp):
        raise _unauthorized(f"The header {TIMESTAMP} must be whole seconds since 1970")
    if abs(now - int(stamp)) > settings.signature_age_s:
        raise _unauthorized(f"The signature's time is more than {settings.signature_age_s} s from now")
    good = {sign(_bytes(key), stamp, headers, body) for key in settings.hmac_keys}
    given = [part.strip() for part in headers.get(SIGNATURE, "").split(",")[:8]]
    # All pairs are compared, whatever the first ones say, so that the time taken tells nothing.
    fits = [_any_equal(part.encode(), (text.encode() for text in good)) for part in given]
    if not any(fits):
        raise _unauthorized("The signature does not fit, or no key that is accepted made it")


def sign(key: bytes, stamp: str, headers: Mapping[str, str], body: bytes) -> str:
    """The value of `X-Edge-Signature`: `sha256=` and the HMAC-SHA256 in hex."""
    attributes = sorted((name.lower(), value) for name, value in headers.items() if name.lower().startswith("ce-"))
    lines = "".join(f"{name}:{value}\n" for name, value in attributes)
    signed = f"{stamp}.{lines}".encode() + body
    return f"sha256={hmac.new(key, signed, 'sha256').hexdigest()}"


def _any_equal(given: bytes, secrets: Iterable[bytes]) -> bool:
    return any([hmac.compare_digest(given, secret) for secret in secrets])


def _bytes(secret: SecretStr) -> bytes:
    return secret.get_secret_value().encode()


def _unauthorized(what: str) -> Refused:
    return refuse(Reason.UNAUTHORIZED, what, remedy="Send a bearer token or sign the request (docs/gateway.md)")
