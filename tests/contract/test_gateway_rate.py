"""At a set rate the gateway passes registrations on in groups, forgets none, and goes on after a restart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from edge.gateway.dispatcher import Dispatcher
from edge.gateway.intake import take_in
from edge.gateway.metrics import GatewayMetrics
from edge.gateway.prefect_events import PrefectEvents
from edge.gateway.settings import GatewaySettings
from edge.ledger import Ledger
from edge.model.device import DeviceFacts, Registration
from edge.model.event import EventState, IncomingEvent
from edge.policy.event import EventType, understand
from tests.pretend_prefect import PretendPrefect

DEVICES = 60
TOKEN = SecretStr("a-token-of-the-test")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        take_in(opened, [understand(registered(f"dev-{number}")) for number in range(DEVICES)], at=datetime.now(UTC))
        yield opened


@pytest.fixture
def prefect() -> Iterator[PretendPrefect]:
    pretend = PretendPrefect()
    try:
        yield pretend
    finally:
        pretend.close()


def registered(device: str) -> IncomingEvent:
    told = Registration(device_id=device, certificate="c", facts=DeviceFacts(serial=device))
    return IncomingEvent(
        id=device, source="/f", type=EventType.REGISTERED, time=datetime.now(UTC), data=told.model_dump()
    )


def dispatcher(ledger: Ledger, **settings: Any) -> Dispatcher:
    told = GatewaySettings(tokens=(TOKEN,), window_s=0.0, poll_s=0.02, **settings)
    return Dispatcher(told, ledger, PrefectEvents("rate"), GatewayMetrics())


def run_until_sent(ledger: Ledger, prefect: PretendPrefect, count: int, **settings: Any) -> None:
    with temporary_settings({PREFECT_API_URL: prefect.url}):
        one = dispatcher(ledger, **settings)
        one.start()
        try:
            while ledger.inbox.counts()[EventState.SENT] < count:
                time.sleep(0.01)
        finally:
            one.stop()


def test_a_burst_goes_on_in_groups_of_the_allowance(ledger: Ledger, prefect: PretendPrefect) -> None:
    run_until_sent(ledger, prefect, DEVICES, rate=200.0, rate_window_s=0.1)
    assert {len(devices) for devices in prefect.devices} == {20}
    assert len({device for devices in prefect.devices for device in devices}) == DEVICES


def test_what_waits_for_its_turn_is_sent_by_the_next_gateway(ledger: Ledger, prefect: PretendPrefect) -> None:
    run_until_sent(ledger, prefect, 10, rate=0.001, rate_window_s=10_000.0)
    assert ledger.inbox.counts()[EventState.STORED] == DEVICES - 10
    run_until_sent(ledger, prefect, DEVICES)
    sent = [device for devices in prefect.devices for device in devices]
    assert len(sent) == len(set(sent)) == DEVICES
