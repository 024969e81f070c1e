"""What is said over MQTT: the topics, and the answer to each message. It knows no connection."""

from __future__ import annotations

import logging
import re
from enum import StrEnum
from typing import Any

import orjson

from edge.errors import EdgeError
from edge.gateway.desk import Desk
from edge.gateway.refusal import Reason, Refused, refusal_body, refuse
from edge.gateway.wire import STRUCTURED, parsed, read_events
from edge.model.base import Value

log = logging.getLogger("edge.gateway.mqtt")


class Kind(StrEnum):
    """The last word of a topic that devices publish on."""

    CHALLENGE = "challenge"
    REGISTER = "register"


ROOT = "edge/v1"
FILTERS = tuple(f"{ROOT}/+/{kind}" for kind in Kind)
"""What the bridge subscribes to."""
_TOPIC = re.compile(rf"{ROOT}/([^/]+)/({'|'.join(Kind)})")
_TAKEN = "taken"
_ANSWER = {Kind.CHALLENGE: "answer", Kind.REGISTER: "receipt"}


class Reply(Value):
    """What is published in answer."""

    topic: str
    payload: bytes


def answer(desk: Desk, topic: str, payload: bytes) -> Reply | None:
    """Deal with one message and answer what is to be published; None for a topic that is none of ours.

    A refusal is an answer too: with the message acknowledged, it does not come again for ever. Only when the ledger is
    away Refused is raised (`busy`): then nothing was done, and the message is to be tried again.
    """
    match = _TOPIC.fullmatch(topic)
    if match is None:
        return None
    device_id, kind = match[1], Kind(match[2])
    said: dict[str, Any] = {}
    outcome = _TAKEN
    try:
        if len(payload) > desk.settings.max_body:
            raise refuse(Reason.TOO_LARGE, f"The message has more than {desk.settings.max_body} bytes", field="body")
        if kind is Kind.CHALLENGE:
            said.update(desk.challenge(parsed(payload or b"{}"), device_id=device_id))
        else:
            _register(desk, device_id, payload, said)
    except Refused as refused:
        if refused.reason is Reason.BUSY:
            raise
        outcome = refused.reason.value
        said.update(refusal_body(refused))
        log.info("Refused a message of %r: %s, field %r", device_id, outcome, refused.error.where.get("field", "-"))
    except Exception:
        # A message that we fail over must not come for ever; the device is told, and may try again.
        log.exception("A message of %r could not be dealt with", device_id)
        outcome = Reason.FAULT.value
        said.update(refusal_body(Refused(Reason.FAULT, EdgeError("The gateway has a fault"))))
    if outcome != _TAKEN:
        desk.metrics.rejected.labels(outcome).inc()
    desk.metrics.messages.labels(kind, outcome).inc()
    return Reply(topic=f"{topic}/{_ANSWER[kind]}", payload=orjson.dumps(said))


def _register(desk: Desk, device_id: str, payload: bytes, said: dict[str, Any]) -> None:
    """`said` gets the event's id as soon as it is known, so that the device can tell what a refusal is about."""
    events = read_events({"content-type": STRUCTURED}, payload, received_at=desk.now())
    said.update({"id": events[0].id, "source": events[0].source})
    said.update(desk.take(events, device_id=device_id).told())
