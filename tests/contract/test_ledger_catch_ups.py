"""The queue of sites that were away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from edge.errors import LedgerMismatch, NotFound
from edge.ledger import Ledger
from edge.model.placement import CatchUp, CatchUpState
from tests.contract.conftest import START
from tests.contract.ledger_rollouts import actions


def missed(version: str = "1.0.0", site: str = "s1") -> CatchUp:
    return CatchUp(
        site=site,
        stamp="line",
        version=version,
        digest=version * 4,
        rollout_id=f"r-{version}",
        objective_s=60.0,
        queued_at=START,
    )


def states(ledger: Ledger) -> list[tuple[str, CatchUpState]]:
    return [(entry.version, entry.state) for entry in ledger.catch_ups.list()]


def test_a_site_that_was_away_is_queued_once(book: Ledger) -> None:
    assert book.catch_ups.queue(missed()) == missed()
    again = missed().model_copy(update={"queued_at": START + timedelta(hours=1), "rollout_id": "r9"})
    assert book.catch_ups.queue(again) == missed()
    assert book.catch_ups.open() == (missed(),) == book.catch_ups.open(site="s1")
    assert book.catch_ups.open(site="s2") == ()
    assert actions(book) == ["catch-up.queued"]


def test_another_version_takes_the_place_of_the_one_that_is_open(ledger: Ledger) -> None:
    ledger.catch_ups.queue(missed())
    ledger.catch_ups.returned("s1", START)
    ledger.catch_ups.queue(missed("2.0.0"))
    assert states(ledger) == [("2.0.0", CatchUpState.QUEUED), ("1.0.0", CatchUpState.SUPERSEDED)]
    newest = ledger.catch_ups.get("s1", "line")
    assert newest is not None
    assert newest.returned_at == START, "the site has been back since then, whatever it gets"
    assert ledger.catch_ups.list()[1].ended_at is not None


def test_only_the_first_return_counts(book: Ledger) -> None:
    book.catch_ups.queue(missed())
    counts = [book.catch_ups.returned(site, START + timedelta(minutes=n)) for n, site in enumerate(["s1", "s1", "s9"])]
    assert counts == [1, 0, 0]
    assert book.catch_ups.open()[0].returned_at == START


def test_sites_that_came_back_first_are_first_in_the_queue(ledger: Ledger) -> None:
    for site in ("s1", "s2", "s3"):
        ledger.catch_ups.queue(missed(site=site))
    ledger.catch_ups.returned("s3", START)
    ledger.catch_ups.returned("s2", START + timedelta(minutes=1))
    assert [entry.site for entry in ledger.catch_ups.open()] == ["s3", "s2", "s1"]


@pytest.mark.parametrize("state", [CatchUpState.DONE, CatchUpState.FAILED])
def test_catching_up_begins_and_ends(book: Ledger, state: CatchUpState) -> None:
    book.catch_ups.queue(missed())
    for _ in range(2):
        assert book.catch_ups.begin("s1", "line", by_rollout="c1").state is CatchUpState.RUNNING
    with pytest.raises(LedgerMismatch):
        book.catch_ups.begin("s1", "line", by_rollout="c2")
    ended = book.catch_ups.end("s1", "line", state, by_rollout="c1", reason="so it went")
    assert ended == book.catch_ups.get("s1", "line")
    assert ended is not None
    assert (ended.state, ended.by_rollout, ended.reason) == (state, "c1", "so it went")
    assert ended.ended_at is not None
    assert book.catch_ups.open() == ()
    assert book.catch_ups.end("s1", "line", state, by_rollout="c1") is None
    with pytest.raises(NotFound):
        book.catch_ups.begin("s1", "line", by_rollout="c1")


def test_the_end_of_a_version_that_was_superseded_leaves_its_successor_open(book: Ledger) -> None:
    book.catch_ups.queue(missed())
    book.catch_ups.begin("s1", "line", by_rollout="c1")
    book.catch_ups.queue(missed("2.0.0"))
    book.catch_ups.begin("s1", "line", by_rollout="c2")
    assert book.catch_ups.end("s1", "line", CatchUpState.DONE, by_rollout="c1") is None
    assert states(book) == [("2.0.0", CatchUpState.RUNNING), ("1.0.0", CatchUpState.SUPERSEDED)]


def test_a_site_that_went_away_again_waits_for_its_next_return(book: Ledger) -> None:
    book.catch_ups.queue(missed())
    book.catch_ups.returned("s1", START)
    book.catch_ups.begin("s1", "line", by_rollout="c1")
    book.catch_ups.requeue("s1", "line", by_rollout="c1", reason="no answer")
    assert book.catch_ups.requeue("s1", "line", by_rollout="c1") is None
    assert book.catch_ups.open() == (missed().model_copy(update={"reason": "no answer"}),)
    assert book.catch_ups.returned("s1", START + timedelta(days=1)) == 1


def test_a_surprising_site_waits_for_a_person(book: Ledger) -> None:
    book.catch_ups.queue(missed())
    with pytest.raises(LedgerMismatch):
        book.catch_ups.approve("s1", "line", by="ann")
    book.catch_ups.begin("s1", "line", by_rollout="c1")
    book.catch_ups.end("s1", "line", CatchUpState.QUARANTINED, by_rollout="c1", reason="12 objects changed")
    with pytest.raises(LedgerMismatch):
        book.catch_ups.begin("s1", "line", by_rollout="c2")
    for _ in range(2):
        approved = book.catch_ups.approve("s1", "line", by="ann")
    assert (approved.state, approved.approved_by) == (CatchUpState.QUEUED, "ann")
    assert book.audit.entries()[-1].actor == "ann"
    assert book.catch_ups.begin("s1", "line", by_rollout="c2").approved_by == "ann"
    with pytest.raises(NotFound):
        book.catch_ups.approve("s9", "line", by="ann")


def test_of_two_rollouts_that_begin_at_once_one_brings_it(ledger: Ledger, ledger_url: str) -> None:
    ledger.catch_ups.queue(missed())

    def begin(name: str) -> str:
        with Ledger.open(ledger_url) as other:
            try:
                return other.catch_ups.begin("s1", "line", by_rollout=name).by_rollout
            except LedgerMismatch:
                return ""

    with ThreadPoolExecutor(3) as pool:
        winners = [name for name in pool.map(begin, ("c1", "c2", "c3")) if name]
    assert len(winners) == 1
    assert ledger.catch_ups.open()[0].by_rollout == winners[0]


def test_of_many_processes_that_queue_at_once_one_entry_is_open(ledger: Ledger, ledger_url: str) -> None:
    def queue(version: str) -> None:
        with Ledger.open(ledger_url) as other:
            other.catch_ups.queue(missed(version))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(queue, ("1.0.0", "2.0.0", "3.0.0")))
    assert len(ledger.catch_ups.open()) == 1
    assert len(ledger.catch_ups.list()) == 3
