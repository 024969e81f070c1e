"""Leases keep two workers off the same thing, and end when their holder says no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.ledger import Ledger
from edge.model.device import Origin
from edge.model.event import EventState, IncomingEvent

NAME = "device:dev-1"
LASTING = timedelta(seconds=10)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 4, 12, tzinfo=UTC)

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", now=lambda: clock.now) as opened:
        yield opened


def test_a_name_that_is_held_is_refused_to_another_and_not_to_its_holder(ledger: Ledger) -> None:
    assert ledger.leases.take(NAME, by="one", lasting=LASTING)
    assert not ledger.leases.take(NAME, by="two", lasting=LASTING)
    assert ledger.leases.take(NAME, by="one", lasting=LASTING)
    assert ledger.leases.held("device:") == {NAME}


def test_a_holder_that_says_nothing_loses_it_and_cannot_take_it_back_by_renewing(ledger: Ledger, clock: Clock) -> None:
    ledger.leases.take(NAME, by="one", lasting=LASTING)
    clock.pass_s(10.1)
    assert not ledger.leases.holds(NAME, by="one")
    assert ledger.leases.take(NAME, by="two", lasting=LASTING)
    assert ledger.leases.renew(by="one", lasting=LASTING) == 0
    assert not ledger.leases.drop(NAME, by="one")
    assert ledger.leases.holds(NAME, by="two")


def test_a_holder_that_renews_keeps_all_it_has(ledger: Ledger, clock: Clock) -> None:
    for name in (NAME, "device:dev-2"):
        ledger.leases.take(name, by="one", lasting=LASTING)
    for _ in range(5):
        clock.pass_s(6)
        assert ledger.leases.renew(by="one", lasting=LASTING) == 2
    assert not ledger.leases.take(NAME, by="two", lasting=LASTING)


def test_what_is_dropped_is_free_at_once(ledger: Ledger) -> None:
    ledger.leases.take(NAME, by="one", lasting=LASTING)
    assert ledger.leases.drop(NAME, by="one")
    assert ledger.leases.take(NAME, by="two", lasting=LASTING)


def test_of_many_that_ask_at_once_one_gets_it(ledger: Ledger) -> None:
    got: list[str] = []

    def ask(name: str) -> None:
        if ledger.leases.take(NAME, by=name, lasting=LASTING):
            got.append(name)

    threads = [threading.Thread(target=ask, args=(f"holder-{number}",)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


def registered(device: str, at: datetime) -> IncomingEvent:
    kind = "io.edge-platform.device.registered.v1"
    return IncomingEvent(id=device, source="/import", type=kind, time=at, data={"device_id": device})


def test_events_that_somebody_keeps_are_sent_by_no_gateway_until_handed_over_or_left(
    ledger: Ledger, clock: Clock
) -> None:
    events = [registered(device, clock.now) for device in ("dev-1", "dev-2")]
    assert ledger.inbox.keep(events, at=clock.now, via=Origin.IMPORT, batch="kept", by="import") == 2
    assert ledger.inbox.keep(events, at=clock.now, via=Origin.IMPORT, batch="kept", by="import") == 0
    clock.pass_s(100)
    ledger.inbox.renew("kept", by="import")
    assert ledger.inbox.pending() == ()
    assert ledger.inbox.unclaimed(clock.now, claimed_before=clock.now - timedelta(seconds=50)) == ()
    assert ledger.inbox.hand_over([("/import", "dev-1")], "batch-1") == 1
    assert [event.event.id for event in ledger.inbox.claim("batch-1", by="run")] == ["dev-1"]
    clock.pass_s(100)
    left = ledger.inbox.unclaimed(clock.now, claimed_before=clock.now - timedelta(seconds=50))
    assert {event.event.id for event in left} == {"dev-1", "dev-2"}, "neither was heard of any more"
    assert {event.via for event in left} == {Origin.IMPORT}
    assert ledger.inbox.counts()[EventState.SENT] == 2
