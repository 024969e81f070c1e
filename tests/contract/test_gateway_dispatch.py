"""What the gateway passes on, over real HTTP to a pretend Prefect server that can be away, slow or strict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from edge.errors import CredentialRejected, Rejected, ServerFault, SiteUnreachable
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

NOW = datetime.now(UTC)


@pytest.fixture
def prefect() -> Iterator[PretendPrefect]:
    pretend = PretendPrefect()
    try:
        yield pretend
    finally:
        pretend.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must come; pytest's own time-out ends what does not."""
    while not condition():
        time.sleep(0.01)


def event(
    device: str, *, at: datetime = NOW, kind: EventType = EventType.REGISTERED, certificate: str = "c"
) -> IncomingEvent:
    facts = DeviceFacts(serial=f"SN-{device}")
    data = Registration(device_id=device, certificate=certificate, facts=facts).model_dump()
    contact = {"deviceId": device}
    return IncomingEvent(
        id=f"{kind}-{device}-{at.isoformat()}",
        source="/factory",
        type=kind,
        time=at,
        data=data if kind is EventType.REGISTERED else contact,
    )


def store(ledger: Ledger, *events: IncomingEvent) -> int:
    return take_in(ledger, [understand(one) for one in events], at=datetime.now(UTC)).fresh


class Dispatching:
    """A dispatcher at work. Settings are the thread's own in Prefect, so the address comes from the process's."""

    def __init__(self, ledger: Ledger, **settings: Any) -> None:
        told = GatewaySettings.model_validate(
            {
                "name": "plant-7",
                "tokens": (SecretStr("a-token-of-the-test"),),
                "window_s": 0.1,
                "poll_s": 0.05,
                **settings,
            }
        )
        self.metrics = GatewayMetrics()
        self.dispatcher = Dispatcher(told, ledger, PrefectEvents(told.name), self.metrics)

    def __enter__(self) -> Dispatching:
        self.dispatcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.dispatcher.stop()

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"edge_gateway_{name}", labels) or 0.0


def pointed_at(url: str) -> Any:
    return temporary_settings({PREFECT_API_URL: url})


def test_registrations_that_arrive_together_are_one_event(ledger: Ledger, prefect: PretendPrefect) -> None:
    store(ledger, *(event(f"dev-{number}") for number in range(30)))
    with pointed_at(prefect.url), Dispatching(ledger) as at_work:
        until(lambda: ledger.inbox.counts()[EventState.SENT] == 30)
        assert prefect.devices == [[f"dev-{number}" for number in range(30)]]
        assert prefect.events[0]["event"] == "edge.devices.registered"
        assert prefect.events[0]["resource"]["prefect.resource.id"] == "edge.gateway.plant-7"
    assert (at_work.value("registrations_sent_total"), at_work.value("batches_sent_total")) == (30, 1)


def test_the_run_can_claim_what_the_event_names(ledger: Ledger, prefect: PretendPrefect) -> None:
    store(ledger, event("dev-1"), event("dev-2"))
    with pointed_at(prefect.url), Dispatching(ledger):
        until(lambda: ledger.inbox.counts()[EventState.SENT] == 2)
    claimed = ledger.inbox.claim(prefect.batches[0], by="run")
    assert [understand(stored.event).device_id for stored in claimed] == ["dev-1", "dev-2"]


def test_a_run_that_is_there_before_the_answer_finds_its_batch(ledger: Ledger, prefect: PretendPrefect) -> None:
    taken: list[str] = []

    def run(event: dict[str, Any]) -> None:
        claimed = ledger.inbox.claim(event["payload"]["batch"], by="run")
        taken.extend(understand(stored.event).device_id for stored in claimed)
        ledger.inbox.mark_handled([stored.key for stored in claimed])

    prefect.taken = run
    store(ledger, event("dev-1"), event("dev-2"))
    with pointed_at(prefect.url), Dispatching(ledger, resend_after_s=0.2):
        until(lambda: ledger.inbox.counts()[EventState.HANDLED] == 2)
        time.sleep(0.5)  # long enough for a batch that nobody took to be sent again
    assert taken == ["dev-1", "dev-2"]
    assert len(prefect.events) == 1


def test_what_comes_within_the_window_is_collected(ledger: Ledger, prefect: PretendPrefect) -> None:
    with pointed_at(prefect.url), Dispatching(ledger, window_s=1.5, poll_s=30) as at_work:
        at_work.dispatcher.notify(store(ledger, event("first")))
        until(lambda: ledger.inbox.counts()[EventState.SENT] == 1)
        for number in range(5):
            at_work.dispatcher.notify(store(ledger, event(f"dev-{number}")))
        until(lambda: ledger.inbox.counts()[EventState.SENT] == 6)
    assert prefect.devices == [["first"], [f"dev-{number}" for number in range(5)]]


def test_a_full_batch_does_not_wait_for_the_window(ledger: Ledger, prefect: PretendPrefect) -> None:
    with pointed_at(prefect.url), Dispatching(ledger, window_s=200, poll_s=200, batch_size=3) as at_work:
        at_work.dispatcher.notify(store(ledger, *(event(f"dev-{number}") for number in range(7))))
        until(lambda: ledger.inbox.counts()[EventState.SENT] == 7)
    assert [len(devices) for devices in prefect.devices] == [3, 3, 1]


def test_the_newest_of_several_registrations_is_passed_on(ledger: Ledger, prefect: PretendPrefect) -> None:
    store(ledger, event("dev-1"), event("dev-1", at=NOW + timedelta(seconds=1)))
    with pointed_at(prefect.url), Dispatching(ledger):
        until(lambda: ledger.inbox.counts()[EventState.SENT] == 1)
    assert prefect.devices == [["dev-1"]]
    assert ledger.inbox.counts()[EventState.SUPERSEDED] == 1


def test_two_that_claim_one_name_are_named_once(ledger: Ledger, prefect: PretendPrefect) -> None:
    later = NOW + timedelta(seconds=1)
    store(ledger, event("dev-1"), event("dev-1", at=later, certificate="of another device"))
    with pointed_at(prefect.url), Dispatching(ledger):
        until(lambda: ledger.inbox.counts()[EventState.SENT] == 2)
    assert prefect.devices == [["dev-1"]]


def test_contacts_are_not_passed_on(ledger: Ledger, prefect: PretendPrefect) -> None:
    connected = event("dev-1", kind=EventType.DEVICE_CONNECTED)
    ledger.inbox.add([connected, event("dev-1")], at=NOW)
    with pointed_at(prefect.url), Dispatching(ledger):
        until(lambda: ledger.inbox.counts()[EventState.SENT] == 1)
    assert prefect.devices == [["dev-1"]]
    assert ledger.inbox.counts()[EventState.HANDLED] == 1


def test_an_event_stored_by_a_gateway_that_died_registers_its_device(ledger: Ledger, prefect: PretendPrefect) -> None:
    ledger.inbox.add([event("dev-1")], at=NOW)
    with pointed_at(prefect.url), Dispatching(ledger):
        until(lambda: ledger.inbox.counts()[EventState.SENT] == 1)
    assert ledger.devices.get("dev-1").registration.facts.serial == "SN-dev-1"


def test_a_server_that_is_away_loses_nothing(ledger: Ledger, prefect: PretendPrefect) -> None:
    prefect.status = 503
    store(ledger, event("dev-1"))
    with pointed_at(prefect.url), Dispatching(ledger) as at_work:
        until(lambda: at_work.value("send_failures_total", code="server-fault") >= 1)
        assert ledger.inbox.counts()[EventState.STORED] == 1
        store(ledger, event("dev-2"))
        prefect.status = 204
        until(lambda: ledger.inbox.counts()[EventState.SENT] == 2)
    assert sorted(device for devices in prefect.devices for device in devices) == ["dev-1", "dev-2"]


def test_a_batch_that_nobody_claims_is_sent_again_under_its_name(ledger: Ledger, prefect: PretendPrefect) -> None:
    store(ledger, event("dev-1"))
    with pointed_at(prefect.url), Dispatching(ledger, resend_after_s=0.2) as at_work:
        until(lambda: at_work.value("batches_resent_total") >= 2)
        ledger.inbox.claim(prefect.batches[0], by="run")
        claimed = len(prefect.events)
        store(ledger, event("dev-2"))
        until(lambda: len(prefect.events) >= claimed + 2)
    assert len(set(prefect.batches)) == 2
    assert len({event["id"] for event in prefect.events}) == len(prefect.events)


def test_a_batch_whose_run_died_is_sent_again(ledger: Ledger, prefect: PretendPrefect) -> None:
    store(ledger, event("dev-1"))
    with pointed_at(prefect.url), Dispatching(ledger, resend_after_s=0.2, reclaim_after_s=0.5) as at_work:
        until(lambda: len(prefect.events) == 1 and ledger.inbox.counts()[EventState.SENT] == 1)
        taken = ledger.inbox.claim(prefect.batches[0], by="a run that dies")
        until(lambda: at_work.value("batches_resent_total") >= 1)
        ledger.inbox.mark_handled([stored.key for stored in taken])
    assert set(prefect.devices[0]) == {"dev-1"}
    assert len(set(prefect.batches)) == 1


def test_what_is_handled_is_forgotten_after_its_time_and_not_before(ledger: Ledger, prefect: PretendPrefect) -> None:
    old, young = datetime.now(UTC) - timedelta(days=3), datetime.now(UTC) - timedelta(hours=25)
    for device, at in (("old", old), ("young", young)):
        ledger.inbox.add([event(device)], at=at)
    ledger.inbox.mark_handled([stored.key for stored in ledger.inbox.pending()])
    with pointed_at(prefect.url), Dispatching(ledger):
        until(lambda: ledger.inbox.counts()[EventState.HANDLED] == 1)
    assert ledger.inbox.add([event("young")], at=NOW) == [False]


def test_a_stored_event_that_is_not_understood_holds_up_nobody(ledger: Ledger, prefect: PretendPrefect) -> None:
    strange = IncomingEvent(id="1", source="s", type="of another release", time=NOW)
    ledger.inbox.add([strange, event("dev-1")], at=NOW)
    with pointed_at(prefect.url), Dispatching(ledger, batch_size=1):
        until(lambda: ledger.inbox.counts()[EventState.SENT] == 1)
    assert prefect.devices == [["dev-1"]]


def test_without_a_server_events_wait(ledger: Ledger) -> None:
    store(ledger, event("dev-1"))
    with temporary_settings(restore_defaults={PREFECT_API_URL}), Dispatching(ledger) as at_work:
        until(lambda: at_work.value("send_failures_total", code="invalid-input") >= 1)
    assert ledger.inbox.counts()[EventState.STORED] == 1


def test_the_servers_credential_and_csrf_token_are_sent(ledger: Ledger, prefect: PretendPrefect) -> None:
    prefect.csrf = True
    store(ledger, event("dev-1"))
    signed_in = temporary_settings({PREFECT_API_URL: prefect.url, PREFECT_API_AUTH_STRING: "edge:secret"})
    with signed_in, Dispatching(ledger):
        until(lambda: ledger.inbox.counts()[EventState.SENT] == 1)
    assert prefect.credentials == ["Basic ZWRnZTpzZWNyZXQ="]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        pytest.param(401, CredentialRejected, id="401"),
        pytest.param(403, CredentialRejected, id="403"),
        pytest.param(422, Rejected, id="422"),
        pytest.param(429, ServerFault, id="429"),
        pytest.param(500, ServerFault, id="500"),
        pytest.param(503, ServerFault, id="503"),
    ],
)
def test_an_answer_that_is_no_yes_is_one_of_our_errors(prefect: PretendPrefect, status: int, kind: type) -> None:
    prefect.status = status
    with pointed_at(prefect.url), PrefectEvents("main") as events, pytest.raises(kind):
        events.send("batch", ["dev-1"])
    assert prefect.tries == 1


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with pointed_at("http://127.0.0.1:9/api"), PrefectEvents("main") as events, pytest.raises(SiteUnreachable):
        events.send("batch", ["dev-1"])


def test_a_server_that_comes_back_is_found_again(prefect: PretendPrefect) -> None:
    with pointed_at(prefect.url), PrefectEvents("main") as events:
        events.send("one", ["dev-1"])
        prefect.status = 500
        with pytest.raises(ServerFault):
            events.send("two", ["dev-1"])
        prefect.status = 204
        events.send("two", ["dev-1"])
    assert prefect.batches == ["one", "two"]
