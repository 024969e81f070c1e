"""The gateway's MQTT side as a whole: a bridge, its desk, and a dispatcher of its own where that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from edge.gateway.desk import Desk
from edge.gateway.dispatcher import Dispatcher
from edge.gateway.metrics import GatewayMetrics
from edge.gateway.mqtt_bridge import Bridge
from edge.gateway.mqtt_settings import MqttSettings
from edge.gateway.prefect_events import PrefectEvents
from edge.gateway.settings import IntakeSettings
from edge.ledger import Ledger
from edge.model.device import Origin


def _utc_now() -> datetime:
    return datetime.now(UTC)


class MqttGateway:
    """Runs within `with`. It uses the ledger and does not close it; `now` gives aware UTC times."""

    def __init__(
        self, told: MqttSettings, settings: IntakeSettings, ledger: Ledger, *, now: Callable[[], datetime] = _utc_now
    ) -> None:
        self.metrics = GatewayMetrics()
        desk = Desk(settings, ledger, self.metrics, via=Origin.MQTT, now=now)
        self._dispatcher = None
        if settings.dispatch:
            self._dispatcher = Dispatcher(settings, ledger, PrefectEvents(settings.name), self.metrics)
            desk.notify = self._dispatcher.notify
            desk.returned = self._dispatcher.returned
        self.bridge = Bridge(told, desk)

    def __enter__(self) -> Self:
        if self._dispatcher:
            self._dispatcher.start()
        self.bridge.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bridge.stop()
        if self._dispatcher:
            self._dispatcher.stop()
