"""Where events and requests for challenges are dealt with, whichever way they came: over HTTP or MQTT."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from edge.errors import EdgeError
from edge.gateway.challenges import Challenges, read_request
from edge.gateway.intake import Receipt, take_in, understand_all
from edge.gateway.metrics import GatewayMetrics
from edge.gateway.refusal import Reason, refuse, refused_by_ledger
from edge.gateway.returns import Returns
from edge.gateway.settings import IntakeSettings
from edge.ledger import Ledger
from edge.model.device import Origin
from edge.model.event import IncomingEvent

_OTHER = "The event is about another device than the topic it came on"

log = logging.getLogger("edge.gateway")


class Desk:
    """One for each way in. `now` gives aware UTC times.

    `notify` is told how many registrations wait to be passed on, `returned` which sites are back that have something
    to catch up with.
    """

    def __init__(
        self,
        settings: IntakeSettings,
        ledger: Ledger,
        metrics: GatewayMetrics,
        *,
        via: Origin,
        now: Callable[[], datetime],
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.now = now
        self.notify: Callable[[int], None] = lambda _: None
        self.returned: Callable[[Sequence[str]], None] = lambda _: None
        self._returns = Returns(ledger)
        self._ledger = ledger
        self._via = via
        self._challenges = Challenges(ledger, settings)

    def take(self, events: Sequence[IncomingEvent], *, device_id: str | None = None) -> Receipt:
        """Store events and do what they say; with `device_id` they must all be about that device.

        Raises Refused; then nothing of them is stored.
        """
        at = self.now()
        arrivals = understand_all(events, at=at, via=self._via)
        if others := [arrival.device_id for arrival in arrivals if device_id not in {None, arrival.device_id}]:
            raise refuse(Reason.UNUSABLE, _OTHER, field="data.device_id", value=others[0])
        try:
            receipt = take_in(self._ledger, arrivals, at=at, via=self._via, trust=self.settings.trust)
        except EdgeError as error:
            log.warning("Nothing was stored: %s", error)
            raise refused_by_ledger(error) from error
        self.metrics.count(arrivals, duplicate=receipt.duplicate, superseded=receipt.superseded)
        self.notify(receipt.fresh)
        if back := self._returns.heard(arrivals, at=at):
            self.returned(back)
        return receipt

    def challenge(self, body: object, *, device_id: str | None = None) -> dict[str, Any]:
        """Give a device a challenge; `device_id` when the way it came says who asks. Raises Refused."""
        request = read_request(body, device_id=device_id)
        try:
            told = self._challenges.give(request, at=self.now())
        except EdgeError as error:
            log.warning("No challenge was given: %s", error)
            raise refused_by_ledger(error) from error
        self.metrics.challenges.labels(self._via).inc()
        return told
