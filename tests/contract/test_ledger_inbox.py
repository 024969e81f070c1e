"""Events wait in the inbox until a run has handled them, and come in once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from edge.errors import LedgerMismatch
from edge.ledger import Ledger
from edge.model.device import Origin
from edge.model.event import EventState, IncomingEvent

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def event(number: int, **changes: object) -> IncomingEvent:
    fields = {"id": f"e{number}", "source": "factory", "type": "registered", "subject": f"dev-{number}", "time": AT}
    return IncomingEvent.model_validate({**fields, "data": {"device_id": f"dev-{number}"}, **changes})


def key(number: int) -> tuple[str, str]:
    return ("factory", f"e{number}")


def ids(stored: object) -> list[str]:
    return [item.event.id for item in stored]  # type: ignore[attr-defined] - any sequence of stored events


def test_an_event_keeps_the_way_by_which_it_came_first(ledger: Ledger) -> None:
    ledger.inbox.add([event(1)], at=AT, via=Origin.MQTT)
    ledger.inbox.add([event(1), event(2)], at=AT)
    assert [stored.via for stored in ledger.inbox.pending()] == [Origin.MQTT, Origin.EVENT]


def test_events_wait_in_the_order_in_which_they_came(ledger: Ledger) -> None:
    assert ledger.inbox.add([event(2), event(1)], at=AT) == [True, True]
    first, _ = ledger.inbox.pending()
    assert first.event == event(2)
    assert (first.state, first.received_at, first.sends, first.key) == (EventState.STORED, AT, 0, key(2))
    assert ids(ledger.inbox.pending(1)) == ["e2"]


def test_an_event_comes_in_once(ledger: Ledger) -> None:
    assert ledger.inbox.add([event(1), event(1)], at=AT) == [True, False]
    assert ledger.inbox.add([event(1), event(2)], at=AT + DAY) == [False, True]
    assert ids(ledger.inbox.pending()) == ["e1", "e2"]


def test_the_same_id_from_another_source_is_another_event(ledger: Ledger) -> None:
    assert ledger.inbox.add([event(1), event(1, source="warehouse")], at=AT) == [True, True]


def test_the_same_id_with_another_content_is_refused_and_nothing_of_the_batch_is_stored(ledger: Ledger) -> None:
    ledger.inbox.add([event(1)], at=AT)
    with pytest.raises(LedgerMismatch) as refused:
        ledger.inbox.add([event(2), event(1, data={"device_id": "another"})], at=AT)
    assert refused.value.where["id"] == "e1"
    assert ids(ledger.inbox.pending()) == ["e1"]


def test_an_event_is_sent_claimed_and_handled(ledger: Ledger) -> None:
    ledger.inbox.add([event(1), event(2)], at=AT)
    assert ledger.inbox.mark_sent([key(1), key(2)], "b1") == 2
    assert ledger.inbox.pending() == ()
    claimed = ledger.inbox.claim("b1", by="run-1")
    assert ids(claimed) == ["e1", "e2"]
    assert claimed[0].claimed_at is not None
    assert ledger.inbox.mark_handled([key(1)]) == 1
    assert ledger.inbox.mark_handled([key(2)], EventState.SUPERSEDED) == 1
    counts = {state: count for state, count in ledger.inbox.counts().items() if count}
    assert counts == {EventState.HANDLED: 1, EventState.SUPERSEDED: 1}


def test_what_was_sent_and_not_claimed_is_found(ledger: Ledger, clock: object) -> None:
    ledger.inbox.add([event(1), event(2), event(3)], at=AT)
    ledger.inbox.mark_sent([key(1)], "b1")
    ledger.inbox.mark_sent([key(2)], "b2")
    ledger.inbox.claim("b2")
    assert ids(ledger.inbox.unclaimed(AT + DAY)) == ["e1"]
    assert ledger.inbox.unclaimed(AT) == ()
    assert ids(ledger.inbox.unclaimed(AT + DAY, claimed_before=AT + DAY)) == ["e1", "e2"]
    assert ids(ledger.inbox.unclaimed(AT + DAY, claimed_before=AT)) == ["e1"]


def test_sending_again_counts(ledger: Ledger) -> None:
    ledger.inbox.add([event(1)], at=AT)
    for _ in range(2):
        ledger.inbox.mark_sent([key(1)], "b1")
    (stored,) = ledger.inbox.unclaimed(AT + DAY)
    assert (stored.sends, stored.batch) == (2, "b1")


def test_two_runs_do_not_take_the_same_events(ledger: Ledger) -> None:
    ledger.inbox.add([event(1)], at=AT)
    ledger.inbox.mark_sent([key(1)], "b1")
    assert ids(ledger.inbox.claim("b1", by="run-1")) == ["e1"]
    assert ledger.inbox.claim("b1", by="run-2") == ()
    assert ids(ledger.inbox.claim("b1", by="run-1")) == ["e1"]
    assert ids(ledger.inbox.claim("b1", by="run-2", stale_before=AT + DAY)) == ["e1"]


def test_a_run_that_renews_its_claim_keeps_it(ledger: Ledger, clock: object) -> None:
    ledger.inbox.add([event(1), event(2)], at=AT)
    ledger.inbox.put_in_batch([key(1), key(2)], "b1")
    (first, _) = ledger.inbox.claim("b1", by="run-1")
    ledger.inbox.mark_handled([key(2)])
    assert ledger.inbox.renew("b1", by="run-2") == 0
    assert ledger.inbox.renew("b1", by="run-1") == 1
    assert ledger.inbox.claim("b1", by="run-2", stale_before=first.claimed_at) == ()
    (again,) = ledger.inbox.claim("b1", by="run-1")
    assert again.claimed_at != first.claimed_at


def test_a_handled_event_is_not_claimed_or_sent_again(ledger: Ledger) -> None:
    ledger.inbox.add([event(1)], at=AT)
    ledger.inbox.mark_sent([key(1)], "b1")
    ledger.inbox.mark_handled([key(1)])
    assert ledger.inbox.claim("b1") == ()
    assert ledger.inbox.mark_sent([key(1)], "b2") == 0
    assert ledger.inbox.mark_handled([key(1), key(9)]) == 0


def test_purging_forgets_old_events_but_never_one_that_is_still_to_do(ledger: Ledger) -> None:
    ledger.inbox.add([event(1), event(2), event(3)], at=AT)
    ledger.inbox.add([event(4)], at=AT + DAY)
    ledger.inbox.mark_sent([key(2)], "b1")
    ledger.inbox.mark_handled([key(3), key(4)])
    assert ledger.inbox.purge(AT + DAY) == 1
    assert ledger.inbox.counts()[EventState.HANDLED] == 1
    assert ledger.inbox.add([event(1), event(2), event(3), event(4)], at=AT + DAY) == [False, False, True, False]
