"""A device that is heard of again brings its site back to what it missed, and floods of telemetry cost little."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from edge.gateway.desk import Desk
from edge.gateway.dispatcher import Dispatcher
from edge.gateway.metrics import GatewayMetrics
from edge.gateway.prefect_events import PrefectEvents
from edge.gateway.returns import Returns
from edge.gateway.settings import GatewaySettings
from edge.ledger import Ledger
from edge.model.device import DeviceFacts, DeviceState, Origin, Registration
from edge.model.event import IncomingEvent
from edge.model.placement import CatchUp
from edge.model.site import Site
from edge.policy.event import EventType, understand
from tests.pretend_prefect import PretendPrefect

NOW = datetime.now(UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        for number in (1, 2, 3):
            opened.sites.put(Site(name=f"site-{number}"))
            facts = DeviceFacts(serial=f"SN-{number}")
            data = Registration(device_id=f"dev-{number}", certificate="c", facts=facts)
            opened.devices.register(data, at=NOW - timedelta(days=9), received_at=NOW, via=Origin.EVENT)
            opened.devices.move(f"dev-{number}", DeviceState.CONNECTED, site=f"site-{number}")
        yield opened


@pytest.fixture
def prefect() -> Iterator[PretendPrefect]:
    pretend = PretendPrefect()
    try:
        yield pretend
    finally:
        pretend.close()


def wait_for(ledger: Ledger, site: str) -> None:
    said = {"stamp": "press", "version": "1.0.0", "digest": "0" * 64, "rollout_id": "r", "objective_s": 60}
    ledger.catch_ups.queue(CatchUp(site=site, queued_at=NOW, **said))


def contact(device: str, *, kind: EventType = EventType.DEVICE_CONNECTED, at: datetime | None = None) -> IncomingEvent:
    when = at or NOW + timedelta(minutes=1)
    name = f"{kind}-{device}-{when.isoformat()}"
    hub = {"systemProperties": {"iothub-connection-device-id": device}}
    data = hub if kind is EventType.DEVICE_TELEMETRY else {"deviceId": device}
    return IncomingEvent(id=name, source="/hub", type=kind, time=when, data=data)


def heard(ledger: Ledger, *events: IncomingEvent) -> tuple[str, ...]:
    return Returns(ledger).heard([understand(event) for event in events], at=NOW)


@pytest.mark.parametrize(
    ("event", "back"),
    [
        (contact("dev-1"), ("site-1",)),
        (contact("dev-1", kind=EventType.DEVICE_TELEMETRY), ("site-1",)),
        (contact("dev-1", kind=EventType.DEVICE_DISCONNECTED), ()),
        (contact("dev-1", at=NOW - timedelta(minutes=1)), ()),
        (contact("dev-2"), ()),
        (contact("dev-unknown"), ()),
    ],
    ids=["connected", "telemetry", "disconnected", "older than the absence", "nothing missed", "unknown"],
)
def test_a_sign_of_life_brings_a_site_back(ledger: Ledger, event: IncomingEvent, back: tuple[str, ...]) -> None:
    wait_for(ledger, "site-1")
    assert heard(ledger, event) == back
    assert [item.returned_at for item in ledger.catch_ups.open()] == [NOW if back else None]


def test_a_return_is_told_once(ledger: Ledger) -> None:
    wait_for(ledger, "site-1")
    returns, events = Returns(ledger), [understand(contact("dev-1")), understand(contact("dev-1"))]
    assert [returns.heard(events, at=NOW) for _ in range(3)] == [("site-1",), (), ()]


def test_what_is_waited_for_is_looked_up_again_after_a_while(ledger: Ledger) -> None:
    returns, events = Returns(ledger, look_every_s=0.05), [understand(contact("dev-1"))]
    assert returns.heard(events, at=NOW) == ()
    wait_for(ledger, "site-1")
    time.sleep(0.06)
    assert returns.heard(events, at=NOW) == ("site-1",)


def test_a_ledger_that_is_away_does_not_keep_events_out(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        returns = Returns(opened)
    (tmp_path / "ledger.db").write_text("no database")
    assert returns.heard([understand(contact("dev-1"))], at=NOW) == ()


def desk_of(ledger: Ledger, **settings: Any) -> tuple[Desk, Dispatcher]:
    told = {"name": "plant-7", "tokens": (SecretStr("a-token-of-the-test"),), "window_s": 0.3, "poll_s": 0.05}
    read = GatewaySettings.model_validate({**told, **settings})
    metrics = GatewayMetrics()
    desk = Desk(read, ledger, metrics, via=Origin.EVENT, now=lambda: NOW)
    dispatcher = Dispatcher(read, ledger, PrefectEvents(read.name), metrics)
    desk.returned = dispatcher.returned
    return desk, dispatcher


def test_sites_that_are_back_together_are_one_event_of_the_gateway(ledger: Ledger, prefect: PretendPrefect) -> None:
    for number in (1, 2, 3):
        wait_for(ledger, f"site-{number}")
    with temporary_settings({PREFECT_API_URL: prefect.url}):
        desk, dispatcher = desk_of(ledger)
        dispatcher.start()
        for number in (3, 1, 2):
            desk.take([contact(f"dev-{number}", kind=EventType.DEVICE_TELEMETRY)])
        while not prefect.events:
            time.sleep(0.01)
        dispatcher.stop()
    (event,) = prefect.events
    assert event["event"] == "edge.sites.returned"
    assert event["resource"]["prefect.resource.id"] == "edge.gateway.plant-7"
    assert event["payload"] == {"sites": ["site-1", "site-2", "site-3"]}


def test_an_event_that_cannot_be_sent_is_left_to_the_schedule(ledger: Ledger, prefect: PretendPrefect) -> None:
    wait_for(ledger, "site-1")
    prefect.status = 503
    with temporary_settings({PREFECT_API_URL: prefect.url}):
        desk, dispatcher = desk_of(ledger)
        dispatcher.start()
        desk.take([contact("dev-1")])
        while not prefect.tries:
            time.sleep(0.01)
        prefect.status = 204
        time.sleep(0.3)
        assert dispatcher.is_alive
        dispatcher.stop()
    assert prefect.events == []
    assert [item.returned_at for item in ledger.catch_ups.open()] == [NOW], "the schedule finds it"
