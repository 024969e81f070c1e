"""How Azure Event Grid and CloudEvents senders ask whether their events are wanted.

Neither makes the gateway call an address that a stranger names: the ways that need that are not offered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.responses import JSONResponse, Response

from edge.gateway.refusal import Reason, refuse
from edge.gateway.settings import GatewaySettings
from edge.model.event import IncomingEvent
from edge.policy.event import GRID_VALIDATION


def answer_options(headers: Mapping[str, str], settings: GatewaySettings) -> Response:
    """The CloudEvents webhook handshake: name the origin and the rate that are allowed. Raises Refused."""
    origin = headers.get("webhook-request-origin", "")
    if origin not in settings.allowed_origins:
        what = "This origin may not send events here"
        raise refuse(Reason.ORIGIN, what, field="webhook-request-origin", value=origin[:200])
    answer = {"Allow": "POST", "WebHook-Allowed-Origin": origin}
    if "webhook-request-rate" in headers:
        answer["WebHook-Allowed-Rate"] = str(settings.allowed_rate)
    return Response(status_code=200, headers=answer)


def answer_validation(events: Sequence[IncomingEvent]) -> Response | None:
    """Event Grid's own handshake: give back the code. None when the request holds ordinary events. Raises Refused."""
    if not any(event.type == GRID_VALIDATION for event in events):
        return None
    code = events[0].data.get("validationCode")
    if len(events) != 1 or not isinstance(code, str) or not 0 < len(code) <= 256:
        what = "A subscription validation stands alone and has a code"
        raise refuse(Reason.MALFORMED, what, field="data.validationCode", value=str(code)[:200])
    return JSONResponse({"validationResponse": code})
