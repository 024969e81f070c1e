"""What people say to a rollout, and what it asks them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from edge.errors import InvalidInput, LedgerMismatch, NotFound
from edge.ledger import Ledger
from edge.model.outcome import Cause, Outcome, Status
from edge.model.rollout import ENDED, Approval, Control, GateState, RolloutState
from edge.model.step import StepKey
from edge.policy.rollout import NOT_TAKEN_BACK
from tests.contract.ledger_rollouts import actions, begun, ended, facts, plan


def test_an_approval_is_on_record_with_who_and_why(ledger: Ledger) -> None:
    begun(ledger)
    ledger.rollouts.ask("r1", 1, Approval.BEFORE)
    gate = ledger.rollouts.decide("r1", False, by="ann", reason="too late today")
    assert (gate.state, gate.by, gate.reason) == (GateState.REJECTED, "ann", "too late today")
    assert ledger.rollouts.get("r1").gates == (gate,) == facts(ledger).gates
    entry = ledger.audit.entries()[-1]
    assert (entry.action, entry.actor) == ("rollout.rejected", "ann")
    assert entry.detail == {"wave": 1, "when": "before", "reason": "too late today"}


def test_the_same_answer_again_changes_nothing_and_another_is_refused(book: Ledger) -> None:
    begun(book)
    with pytest.raises(NotFound):
        book.rollouts.decide("r1", True, by="ann")
    book.rollouts.ask("r1", 1, Approval.BEFORE)
    gate = book.rollouts.decide("r1", True, by="ann", wave=1)
    assert book.rollouts.decide("r1", True, by="ben", wave=1) == gate
    with pytest.raises(LedgerMismatch):
        book.rollouts.decide("r1", False, by="ben", wave=1)
    with pytest.raises(NotFound):
        book.rollouts.decide("r1", True, by="ben")


def test_of_many_people_who_answer_at_once_one_does(ledger: Ledger, ledger_url: str) -> None:
    begun(ledger)
    ledger.rollouts.ask("r1", 1, Approval.BEFORE)

    def answer(number: int) -> str:
        with Ledger.open(ledger_url) as other:
            try:
                return str(other.rollouts.decide("r1", number % 2 == 0, by=f"p{number}", wave=1).by)
            except LedgerMismatch:
                return "refused"

    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(answer, range(4)))
    assert answers == {ledger.rollouts.get("r1").gates[0].by, "refused"}
    assert len([action for action in actions(ledger) if action in ("rollout.approved", "rollout.rejected")]) == 1


@pytest.mark.parametrize(
    ("words", "state", "cancelled"),
    [
        pytest.param((Control.PAUSE,), RolloutState.PAUSED, False, id="pause"),
        pytest.param((Control.PAUSE, Control.RESUME), RolloutState.RUNNING, False, id="resume"),
        pytest.param((Control.CANCEL,), RolloutState.RUNNING, True, id="cancel"),
        pytest.param((Control.PAUSE, Control.CANCEL), RolloutState.RUNNING, True, id="cancel-while-paused"),
    ],
)
def test_a_word_changes_the_rollout_once_however_often_it_is_said(
    book: Ledger, words: tuple[Control, ...], state: RolloutState, cancelled: bool
) -> None:
    begun(book)
    for word in words:
        for _ in range(2):
            assert book.rollouts.control("r1", word, by="ann", reason="because").plan.rollout_id == "r1"
    found = facts(book)
    assert (found.state, found.cancelled) == (state, cancelled)
    assert len(book.audit.entries()) == 1 + len(words)
    assert book.audit.entries()[-1].actor == "ann"


@pytest.mark.parametrize(
    ("state", "word"),
    [
        pytest.param(RolloutState.SUCCEEDED, Control.PAUSE, id="pause-what-has-ended"),
        pytest.param(RolloutState.SUCCEEDED, Control.CANCEL, id="cancel-what-has-ended"),
        pytest.param(RolloutState.STOPPED, Control.RESUME, id="resume-what-has-stopped"),
        pytest.param(RolloutState.ROLLING_BACK, Control.PAUSE, id="pause-a-roll-back"),
        pytest.param(RolloutState.ROLLING_BACK, Control.CANCEL, id="cancel-a-roll-back"),
        pytest.param(RolloutState.SUCCEEDED, Control.RETRY_FAILED, id="retry-what-succeeded"),
        pytest.param(RolloutState.CANCELLED, Control.RETRY_FAILED, id="retry-when-nothing-failed"),
    ],
)
def test_a_word_that_the_state_does_not_allow_is_refused(book: Ledger, state: RolloutState, word: Control) -> None:
    begun(book)
    if state in ENDED:
        book.rollouts.finish("r1", state)
    else:
        book.rollouts.move("r1", state)
    before = book.audit.entries()
    with pytest.raises(LedgerMismatch):
        book.rollouts.control("r1", word, by="ann")
    assert (book.rollouts.get("r1").state, book.audit.entries()) == (state, before)


def test_a_cancelled_rollout_is_not_paused_any_more(book: Ledger) -> None:
    begun(book)
    book.rollouts.control("r1", Control.CANCEL, by="ann")
    with pytest.raises(LedgerMismatch):
        book.rollouts.control("r1", Control.PAUSE, by="ben")
    with pytest.raises(InvalidInput):
        book.rollouts.control("r1", Control.APPROVE, by="ben")


def test_a_retry_opens_what_failed_was_held_or_taken_back_and_nothing_else(ledger: Ledger) -> None:
    sites = ("s1", "s2", "s3", "s4", "s5")
    ledger.rollouts.start(plan(sites=sites))
    statuses = (Status.SUCCEEDED, Status.FAILED, Status.ROLLED_BACK, Status.EXPECTED_OFFLINE, Status.HELD)
    for site, status in zip(sites, statuses, strict=True):
        ended(ledger, site, status)
        ledger.steps.once(StepKey(work="rollout:r1", subject=site, step="apply"), dict)
    for wave in (0, 1):
        ledger.rollouts.wave_started("r1", wave)
        ledger.rollouts.wave_ended("r1", wave)
    ledger.rollouts.finish("r1", RolloutState.ROLLED_BACK)
    rollout = ledger.rollouts.control("r1", Control.RETRY_FAILED, by="ann")
    assert ledger.rollouts.control("r1", Control.RETRY_FAILED, by="ann") == rollout
    assert (rollout.state, rollout.ended_at) == (RolloutState.RUNNING, None)
    assert {row.site for row in rollout.sites if row.status is None and row.started_at is None} == {"s2", "s3", "s5"}
    assert {record.key.subject for record in ledger.steps.records("rollout:r1")} == {"s1", "s4"}
    times = facts(ledger).waves
    assert times[0].ended_at is not None
    assert times[1].ended_at is None, "its soak is counted anew"
    assert ledger.audit.entries()[-1].detail == {"reason": "", "sites": 3}


def test_a_retry_finishes_a_roll_back_before_it_tries_anything_again(ledger: Ledger) -> None:
    begun(ledger)
    cause = Cause(code="site-unreachable", message="Away", reason=NOT_TAKEN_BACK)
    ledger.rollouts.site_ended("r1", Outcome(subject="s1", status=Status.FAILED, cause=cause, detail={"back": ["a"]}))
    ended(ledger, "s2", Status.ROLLED_BACK)
    ledger.rollouts.hold_rest("r1")
    ledger.rollouts.finish("r1", RolloutState.STOPPED)
    rollout = ledger.rollouts.control("r1", Control.RETRY_FAILED, by="ann")
    assert rollout.state is RolloutState.RUNNING
    assert [(row.status, row.cause and row.cause.reason) for row in rollout.sites] == [
        (Status.FAILED, ""),
        (Status.ROLLED_BACK, None),
        (Status.HELD, None),
    ]
    assert rollout.sites[0].detail == {"back": ["a"]}
    assert ledger.audit.entries()[-1].detail == {"reason": "", "sites": 1, "roll_back": True}


def test_a_retry_asks_again_for_what_was_refused_and_keeps_what_was_approved(ledger: Ledger) -> None:
    begun(ledger)
    ledger.rollouts.ask("r1", 0, Approval.BEFORE)
    ledger.rollouts.decide("r1", True, by="ann")
    ledger.rollouts.ask("r1", 1, Approval.BEFORE)
    ledger.rollouts.decide("r1", False, by="ann")
    ledger.rollouts.hold_rest("r1")
    ledger.rollouts.finish("r1", RolloutState.STOPPED)
    ledger.rollouts.control("r1", Control.RETRY_FAILED, by="ben")
    assert [(gate.wave, gate.state) for gate in facts(ledger).gates] == [(0, GateState.APPROVED)]


def test_nothing_is_asked_of_a_rollout_that_has_ended(book: Ledger) -> None:
    begun(book)
    book.rollouts.ask("r1", 0, Approval.BEFORE)
    book.rollouts.finish("r1", RolloutState.CANCELLED)
    with pytest.raises(LedgerMismatch):
        book.rollouts.ask("r1", 1, Approval.BEFORE)
    with pytest.raises(LedgerMismatch):
        book.rollouts.decide("r1", True, by="ann")
