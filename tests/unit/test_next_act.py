"""What a rollout does next, over strategies and states."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge.errors import NotYet, Rejected, SiteUnreachable
from edge.model.outcome import Cause, Outcome, Status
from edge.model.rollout import (
    Act,
    Approval,
    Gate,
    GateState,
    NextAct,
    OnBrokenBudget,
    OnDeadline,
    RolloutFacts,
    RolloutPlan,
    RolloutState,
    Strategy,
    WaveSpec,
    WaveTimes,
    Window,
)
from edge.model.site import Site, SiteSelector
from edge.model.stamp import Component, Stamp
from edge.policy.next_act import HELD_BACK, LEFT, NO_WINDOW, next_act
from edge.policy.rollout import FAILED_BEFORE, UNCHANGED, not_taken_back, plan_rollout

NOW = datetime(2026, 5, 2, 12, 0, tzinfo=UTC)
"""A Saturday, at noon."""
STAMP = Stamp(
    name="press",
    version="1.0.0",
    namespaces=("press",),
    components=(Component(name="app", path="app"),),
    digest="0" * 64,
)
GOOD, BAD, AWAY, SKIPPED = Status.SUCCEEDED, Status.FAILED, Status.EXPECTED_OFFLINE, Status.SKIPPED
HELD, BACK = Status.HELD, Status.ROLLED_BACK
NIGHT = Window(cron="0 2 * * *", duration_s=3600)
NOON = Window(cron="0 12 * * *", duration_s=3600)
ROLL_BACK = OnBrokenBudget.ROLL_BACK


def sites(said: str, **fields: object) -> list[Site]:
    return [Site.model_validate({"name": name, **fields}) for name in said]


def plan_of(strategy: Strategy, cohort: Sequence[Site] | str = "abcdef") -> RolloutPlan:
    """Six sites: canary `a`, then waves as the strategy says."""
    return plan_rollout(STAMP, sites(cohort) if isinstance(cohort, str) else cohort, strategy, {}, 1)


def one(site: str, status: Status, cause: Cause | None = None) -> Outcome:
    return Outcome(subject=site, status=status, cause=cause or (Cause.of(Rejected("No")) if status is BAD else None))


def ended(said: str, *others: Outcome) -> dict[str, Outcome]:
    """`"a+ b- c~ d. e< f!"`: succeeded, failed, expected offline, skipped, rolled back, held."""
    marks = {"+": GOOD, "-": BAD, "~": AWAY, ".": SKIPPED, "<": BACK, "!": HELD}
    found = {word[0]: one(word[0], marks[word[1]]) for word in said.split()}
    return {**found, **{outcome.subject: outcome for outcome in others}}


def later(**delta: float) -> datetime:
    return NOW + timedelta(**delta)


def gate(wave: int, when: Approval, state: GateState = GateState.PENDING, by: str = "") -> Gate:
    return Gate(wave=wave, when=when, state=state, asked_at=NOW, by=by)


def says(act: NextAct) -> tuple[Any, ...]:
    """What matters of an act: its kind, then whatever else it has."""
    rest = (act.wave, "".join(act.sites), act.until, act.when, act.state, act.cause and act.cause.reason)
    return (act.act, *(word for word in rest if word not in (None, "")))


SIMPLE = Strategy(waves=())
TWO = Strategy(waves=("2",), failure_budget="2")
BUDGET = Strategy(waves=(), failure_budget="2", concurrency="2")
BACKWARDS = BUDGET.model_copy(update={"on_broken_budget": ROLL_BACK})
ABORT = BUDGET.model_copy(update={"on_deadline": OnDeadline.ABORT})
SOAK = Strategy(canary="0", waves=(WaveSpec(size="1", canary=True, soak_s=3600), WaveSpec()))
BEFORE = Strategy(waves=(WaveSpec(approval=(Approval.BEFORE,)),))
AFTER = Strategy(canary="0", waves=(WaveSpec(size="1", approval=(Approval.AFTER,)), WaveSpec()))
AT_NIGHT = Strategy(waves=(), windows=(NIGHT,))
AT_NOON = Strategy(waves=(), windows=(NOON,))
AHEAD = Strategy(waves=(), windows=(NIGHT,), precache=True, concurrency="2")
MUST = Strategy(waves=(), failure_budget="100%", mandatory=SiteSelector(names=("b",)))
LATE = Cause.of(NotYet("Not healthy"))
GONE_DARK = Cause.of(SiteUnreachable("No"))
KNOWN_BAD = Cause(code="operation-failed", message="It failed there before", reason=FAILED_BEFORE)

CASES: dict[str, tuple[Strategy, dict[str, Any], tuple[Any, ...]]] = {
    # beginning, going on
    "the canary goes first and alone": (SIMPLE, {}, (Act.WORK, 0, "a")),
    "the canary is at work": (SIMPLE, {"working": {"a"}}, (Act.WAIT, 0)),
    "after a good canary the wave begins": (SIMPLE, {"outcomes": ended("a+")}, (Act.WORK, 1, "bcdef")),
    "waves go one after another": (TWO, {"outcomes": ended("a+ b+"), "working": {"c"}}, (Act.WAIT, 1)),
    "the next wave begins when the last one is over": (TWO, {"outcomes": ended("a+ b+ c+")}, (Act.WORK, 2, "def")),
    "no more are begun than may be at work": (BUDGET, {"outcomes": ended("a+")}, (Act.WORK, 1, "bc")),
    "a free place is filled": (BUDGET, {"outcomes": ended("a+ b+"), "working": {"c"}}, (Act.WORK, 1, "d")),
    "all places are taken": (BUDGET, {"outcomes": ended("a+"), "working": {"b", "c"}}, (Act.WAIT, 1)),
    "concurrency may be a share of the wave": (
        Strategy(waves=(), concurrency="40%"),
        {"outcomes": ended("a+")},
        (Act.WORK, 1, "bc"),
    ),
    "concurrency is at least one": (Strategy(waves=(), concurrency="0"), {"outcomes": ended("a+")}, (Act.WORK, 1, "b")),
    "a wave may have a concurrency of its own": (
        Strategy(waves=(WaveSpec(concurrency="3"),)),
        {"outcomes": ended("a+")},
        (Act.WORK, 1, "bcd"),
    ),
    "a held site is begun after all when the rollout goes on": (
        SIMPLE,
        {"outcomes": ended("a+ b+ c+ d! e! f!")},
        (Act.WORK, 1, "def"),
    ),
    "everybody has it": (SIMPLE, {"outcomes": ended("a+ b+ c+ d+ e+ f+")}, (Act.FINISH, RolloutState.SUCCEEDED)),
    "what has ended stays ended": (
        SIMPLE,
        {"state": RolloutState.STOPPED, "outcomes": ended("a-")},
        (Act.FINISH, RolloutState.STOPPED),
    ),
    # sites that are away
    "an expected absence uses none of the budget": (
        SIMPLE,
        {"outcomes": ended("a+ b~ c~ d~ e~ f+")},
        (Act.FINISH, RolloutState.SUCCEEDED),
    ),
    "a fleet that is all dark ends": (
        SIMPLE,
        {"outcomes": ended("a~ b~ c~ d~ e~ f~")},
        (Act.FINISH, RolloutState.SUCCEEDED),
    ),
    "a dark canary proves nothing, so the wave begins as a canary": (
        SIMPLE,
        {"outcomes": ended("a~")},
        (Act.WORK, 1, "b"),
    ),
    "and goes on one by one until a site has taken it": (SIMPLE, {"outcomes": ended("a~ b~")}, (Act.WORK, 1, "c")),
    "and opens up once a site has": (SIMPLE, {"outcomes": ended("a~ b+")}, (Act.WORK, 1, "cdef")),
    "and stops at the first failure before that": (
        TWO,
        {"outcomes": ended("a~ b-")},
        (Act.FINISH, 1, RolloutState.STOPPED),
    ),
    "a skipped canary proves nothing either": (SIMPLE, {"outcomes": ended("a.")}, (Act.WORK, 1, "b")),
    "a wave without a canary before it need not be proven to go on": (
        Strategy(canary="0", waves=(), failure_budget="2"),
        {"outcomes": ended("a-")},
        (Act.WORK, 0, "bcdef"),
    ),
    "but a failure with no success at its end stops it": (
        Strategy(canary="0", waves=("2",), failure_budget="2"),
        {"outcomes": ended("a- b~")},
        (Act.FINISH, 0, RolloutState.STOPPED),
    ),
    # budgets
    "a failed canary stops": (TWO, {"outcomes": ended("a-")}, (Act.FINISH, 0, RolloutState.STOPPED)),
    "a failure within the budget goes on": (BUDGET, {"outcomes": ended("a+ b-")}, (Act.WORK, 1, "cd")),
    "failures within the budget are a failed rollout in the end": (
        BUDGET,
        {"outcomes": ended("a+ b- c- d+ e+ f+")},
        (Act.FINISH, RolloutState.FAILED),
    ),
    "a broken budget begins nobody else": (
        BUDGET,
        {"outcomes": ended("a+ b- c- d-")},
        (Act.FINISH, 1, RolloutState.STOPPED),
    ),
    "sites at work finish before it stops": (
        BUDGET,
        {"outcomes": ended("a+ b- c- d-"), "working": {"e"}},
        (Act.WAIT, 1),
    ),
    "the budget is of the whole rollout": (
        TWO,
        {"outcomes": ended("a+ b- c- d-")},
        (Act.FINISH, 2, RolloutState.STOPPED),
    ),
    "a wave may have a smaller budget": (
        Strategy(canary="0", waves=(WaveSpec(size="50%", failure_budget="0"),), failure_budget="50%"),
        {"outcomes": ended("a+ b-")},
        (Act.FINISH, 0, RolloutState.STOPPED),
    ),
    "a wave's own budget does not lift that of the rollout": (
        Strategy(canary="0", waves=(WaveSpec(failure_budget="3"),), failure_budget="1"),
        {"outcomes": ended("a+ b- c-")},
        (Act.FINISH, 0, RolloutState.STOPPED),
    ),
    "a wave that says it is a canary has no budget": (
        Strategy(canary="0", waves=(WaveSpec(size="2", canary=True, failure_budget="2"),), failure_budget="5"),
        {"outcomes": ended("a+ b-")},
        (Act.FINISH, 0, RolloutState.STOPPED),
    ),
    "a mandatory site may not fail": (MUST, {"outcomes": ended("a+ b-")}, (Act.FINISH, 1, RolloutState.STOPPED)),
    "others may": (MUST, {"outcomes": ended("a+ b+ c- d-")}, (Act.WORK, 1, "ef")),
    "a mandatory site on which it failed before stops": (
        MUST,
        {"outcomes": ended("a+", one("b", SKIPPED, KNOWN_BAD))},
        (Act.FINISH, 1, RolloutState.STOPPED),
    ),
    "a mandatory site that left the fleet does not": (MUST, {"outcomes": ended("a+ b.")}, (Act.WORK, 1, "cdef")),
    "a site that missed its deadline failed": (
        BUDGET,
        {"outcomes": ended("a+", one("b", BAD, LATE))},
        (Act.WORK, 1, "cd"),
    ),
    "with abort it stops after its wave, not before": (
        ABORT,
        {"outcomes": ended("a+ c+", one("b", BAD, LATE))},
        (Act.WORK, 1, "de"),
    ),
    "with abort it stops whatever the budget": (
        ABORT,
        {"outcomes": ended("a+ c+ d+ e+ f+", one("b", BAD, LATE))},
        (Act.FINISH, 1, RolloutState.STOPPED),
    ),
    "another failure does not abort": (
        ABORT,
        {"outcomes": ended("a+ b- c+ d+ e+ f+")},
        (Act.FINISH, RolloutState.FAILED),
    ),
    # going back
    "a broken wave goes back where the strategy says so": (
        BACKWARDS,
        {"outcomes": ended("a+ b- c- d- e+ f!")},
        (Act.ROLL_BACK, 1, "bc"),
    ),
    "also those that succeeded, and never an earlier wave": (
        BACKWARDS,
        {"outcomes": ended("a+ b< c< d- e+ f!"), "state": RolloutState.ROLLING_BACK},
        (Act.ROLL_BACK, 1, "de"),
    ),
    "sites that were away have nothing to go back from": (
        BACKWARDS,
        {"outcomes": ended("a+ b- c- d- e~ f.")},
        (Act.ROLL_BACK, 1, "bc"),
    ),
    "what is at work finishes before anything goes back": (
        BACKWARDS,
        {"outcomes": ended("a+ b- c- d-"), "working": {"e"}},
        (Act.WAIT, 1),
    ),
    "everything is back": (
        BACKWARDS,
        {"outcomes": ended("a+ b< c< d< e< f!"), "state": RolloutState.ROLLING_BACK},
        (Act.FINISH, 1, RolloutState.ROLLED_BACK),
    ),
    "a site that failed before anything was changed needs no way back": (
        BACKWARDS,
        {"outcomes": ended("a+ b< c< d<", one("e", BAD, Cause(code="rejected", message="No", reason=UNCHANGED)))},
        (Act.FINISH, 1, RolloutState.ROLLED_BACK),
    ),
    "a site that could not be taken back is not tried for ever": (
        BACKWARDS,
        {"outcomes": ended("a+ b< c< d< f!", not_taken_back(one("e", GOOD), SiteUnreachable("No")))},
        (Act.FINISH, 1, RolloutState.STOPPED),
    ),
    "a roll-back that failed at its first site goes on with the others": (
        MUST.model_copy(update={"on_broken_budget": ROLL_BACK, "concurrency": "1"}),
        {"outcomes": ended("a+ c+", not_taken_back(one("b", BAD), Rejected("No")))},
        (Act.ROLL_BACK, 1, "c"),
    ),
    "and does not end with a budget that what is left would not break": (
        ABORT.model_copy(update={"on_broken_budget": ROLL_BACK}),
        {"outcomes": ended("a+ c+ d+ e+ f+", not_taken_back(one("b", BAD, LATE), SiteUnreachable("No")))},
        (Act.ROLL_BACK, 1, "cd"),
    ),
    "a bad canary goes back": (
        BACKWARDS,
        {"outcomes": ended("a-")},
        (Act.ROLL_BACK, 0, "a"),
    ),
    # soak
    "a canary is watched": (
        SOAK,
        {"outcomes": ended("a+"), "waves": {0: WaveTimes(ended_at=later(minutes=-20))}},
        (Act.WAIT, 0, later(minutes=40)),
    ),
    "a canary was watched": (
        SOAK,
        {"outcomes": ended("a+"), "waves": {0: WaveTimes(ended_at=later(minutes=-60))}},
        (Act.WORK, 1, "bcdef"),
    ),
    "its soak begins when its end is written down": (SOAK, {"outcomes": ended("a+")}, (Act.WAIT, 0, later(hours=1))),
    "a canary that was away is not watched": (SOAK, {"outcomes": ended("a~")}, (Act.WORK, 1, "b")),
    "nothing waits for the soak of the last wave": (
        Strategy(canary="0", waves=(WaveSpec(soak_s=60),)),
        {"outcomes": ended("a+ b+ c+ d+ e+ f+")},
        (Act.FINISH, RolloutState.SUCCEEDED),
    ),
    # approvals
    "a wave asks before it begins": (BEFORE, {"outcomes": ended("a+")}, (Act.ASK, 1, Approval.BEFORE)),
    "it asks once": (
        BEFORE,
        {"outcomes": ended("a+"), "gates": (gate(1, Approval.BEFORE),)},
        (Act.WAIT, 1, Approval.BEFORE),
    ),
    "it begins when somebody said yes": (
        BEFORE,
        {"outcomes": ended("a+"), "gates": (gate(1, Approval.BEFORE, GateState.APPROVED),)},
        (Act.WORK, 1, "bcdef"),
    ),
    "a no stops it": (
        BEFORE,
        {"outcomes": ended("a+"), "gates": (gate(1, Approval.BEFORE, GateState.REJECTED),)},
        (Act.FINISH, 1, RolloutState.STOPPED),
    ),
    "a no lets sites at work finish": (
        BEFORE,
        {"outcomes": ended("a+"), "working": {"b"}, "gates": (gate(1, Approval.BEFORE, GateState.REJECTED),)},
        (Act.WAIT, 1, Approval.BEFORE),
    ),
    "a wave asks after it has ended": (AFTER, {"outcomes": ended("a+")}, (Act.ASK, 0, Approval.AFTER)),
    "a yes lets the next wave begin": (
        AFTER,
        {"outcomes": ended("a+"), "gates": (gate(0, Approval.AFTER, GateState.APPROVED),)},
        (Act.WORK, 1, "bcdef"),
    ),
    "a yes to another wave is none to this one": (
        BEFORE,
        {"outcomes": ended("a+"), "gates": (gate(0, Approval.BEFORE, GateState.APPROVED),)},
        (Act.ASK, 1, Approval.BEFORE),
    ),
    "nobody is asked about a wave that broke its budget": (
        AFTER,
        {"outcomes": ended("a-")},
        (Act.FINISH, 0, RolloutState.STOPPED),
    ),
    # windows
    "outside of its window a site waits": (AT_NIGHT, {}, (Act.WAIT, 0, later(hours=14))),
    "inside of it it is begun": (AT_NOON, {}, (Act.WORK, 0, "a")),
    "images are pulled before the window opens": (
        AHEAD.model_copy(update={"windows": (Window(cron="0 20 * * *", duration_s=3600),)}),
        {"outcomes": ended("a+")},
        (Act.PRECACHE, 1, "bc"),
    ),
    "but not days before it": (AHEAD, {}, (Act.WAIT, 0, later(hours=2))),
    "and once": (
        AHEAD.model_copy(update={"windows": (Window(cron="0 20 * * *", duration_s=3600),)}),
        {"outcomes": ended("a+"), "precached": set("bcdef")},
        (Act.WAIT, 1, later(hours=8)),
    ),
    "a window that never opens skips its sites": (
        SIMPLE.model_copy(update={"windows": (Window(cron="0 0 30 2 *", duration_s=3600),)}),
        {},
        (Act.SKIP, 0, "a", NO_WINDOW),
    ),
    "a site is not begun when the window would close on it": (
        AT_NOON.model_copy(update={"site_deadline_s": 3601}),
        {},
        (Act.SKIP, 0, "a", NO_WINDOW),
    ),
    "the self-test must be over before the window closes, too": (
        AT_NOON.model_copy(update={"site_deadline_s": 1800, "self_test_s": 1801}),
        {},
        (Act.SKIP, 0, "a", NO_WINDOW),
    ),
    # locks
    "a locked site is waited for": (SIMPLE, {"locked": {"a": later(hours=3)}}, (Act.WAIT, 0, later(hours=3))),
    "the others of its wave go on": (
        SIMPLE,
        {"outcomes": ended("a+"), "locked": {"c": later(hours=3)}},
        (Act.WORK, 1, "bdef"),
    ),
    "a lock that is over is none": (SIMPLE, {"locked": {"a": later(hours=-3)}}, (Act.WORK, 0, "a")),
    "a lock that is too long is not waited for": (
        SIMPLE,
        {"outcomes": ended("a+"), "locked": {"c": later(days=2), "d": later(hours=1)}},
        (Act.SKIP, 1, "c", HELD_BACK),
    ),
    "a lock that is renewed is not waited for for ever": (
        SIMPLE,
        {"locked": {"a": later(hours=3)}, "waves": {0: WaveTimes(started_at=later(hours=-22))}},
        (Act.SKIP, 0, "a", HELD_BACK),
    ),
    "nor in a wave that could not begin": (
        SIMPLE,
        {
            "outcomes": ended("a+ b+ d+ e+ f+"),
            "locked": {"c": later(hours=3)},
            "waves": {0: WaveTimes(ended_at=later(hours=-22))},
        },
        (Act.SKIP, 1, "c", HELD_BACK),
    ),
    "a mandatory site is waited for whatever its lock": (
        MUST,
        {"outcomes": ended("a+ c+ d+ e+ f+"), "locked": {"b": later(days=9)}},
        (Act.WAIT, 1, later(days=9)),
    ),
    # sites that failed before, that left
    "where this version failed before it is not tried again": (
        SIMPLE,
        {"outcomes": ended("a+"), "failed_here": {"b", "c", "z"}},
        (Act.SKIP, 1, "bc", FAILED_BEFORE),
    ),
    "unless the site is named": (
        SIMPLE.model_copy(update={"force": ("b",)}),
        {"outcomes": ended("a+"), "failed_here": {"b", "c"}},
        (Act.SKIP, 1, "c", FAILED_BEFORE),
    ),
    "a site that left is skipped": (SIMPLE, {"outcomes": ended("a+"), "gone": {"d"}}, (Act.SKIP, 1, "d", LEFT)),
    "a fleet that left altogether ends": (
        SIMPLE,
        {"outcomes": ended("a. b. c. d. e. f.")},
        (Act.FINISH, RolloutState.SUCCEEDED),
    ),
    "a failure stays one when its site leaves": (
        SIMPLE,
        {"outcomes": ended("a-"), "gone": {"a"}},
        (Act.FINISH, 0, RolloutState.STOPPED),
    ),
    "a site that joined is none of ours": (
        SIMPLE,
        {"outcomes": ended("a+ b+ c+ d+ e+ f+ z-")},
        (Act.FINISH, RolloutState.SUCCEEDED),
    ),
    # people
    "a paused rollout begins nobody": (SIMPLE, {"state": RolloutState.PAUSED}, (Act.PAUSED,)),
    "also with sites at work": (SIMPLE, {"state": RolloutState.PAUSED, "working": {"a"}}, (Act.PAUSED,)),
    "a cancelled rollout lets its sites finish": (SIMPLE, {"cancelled": True, "working": {"a"}}, (Act.WAIT,)),
    "and ends": (SIMPLE, {"cancelled": True, "outcomes": ended("a+")}, (Act.FINISH, RolloutState.CANCELLED)),
    "cancelled goes before paused": (
        SIMPLE,
        {"cancelled": True, "state": RolloutState.PAUSED},
        (Act.FINISH, RolloutState.CANCELLED),
    ),
    "a failed site that is tried again in an earlier wave is all there is to do": (
        TWO,
        {"outcomes": ended("a+ b+ d+ e+ f+")},
        (Act.WORK, 1, "c"),
    ),
}


@pytest.mark.parametrize(("strategy", "facts", "expected"), CASES.values(), ids=CASES.keys())
def test_what_a_rollout_does_next(strategy: Strategy, facts: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert says(next_act(plan_of(strategy), RolloutFacts(**facts), NOW)) == expected


@pytest.mark.parametrize("name", CASES)
def test_every_act_says_why(name: str) -> None:
    strategy, facts, _ = CASES[name]
    assert len(next_act(plan_of(strategy), RolloutFacts(**facts), NOW).why) > 10


def test_sites_in_other_zones_go_on_while_a_window_is_closed() -> None:
    cohort = [*sites("a"), *sites("b", time_zone="Asia/Tokyo"), *sites("c"), *sites("d", time_zone="America/New_York")]
    plan = plan_of(Strategy(canary="0", waves=(), windows=(NOON,)), cohort)
    assert says(next_act(plan, RolloutFacts(), NOW)) == (Act.WORK, 0, "ac")
    rest = RolloutFacts(outcomes=ended("a+ c+"))
    assert says(next_act(plan, rest, NOW)) == (Act.WAIT, 0, later(hours=4))
    assert says(next_act(plan, rest, later(hours=4))) == (Act.WORK, 0, "d")
    assert says(next_act(plan, rest, later(hours=15))) == (Act.WORK, 0, "b")


def test_a_site_that_must_be_online_stops_the_rollout_at_once() -> None:
    cohort = [*sites("abcd"), *sites("ef", when_offline="error")]
    plan = plan_of(Strategy(waves=(), failure_budget="100%", concurrency="1"), cohort)
    dark = RolloutFacts(outcomes=ended("a+ b+", one("e", BAD, GONE_DARK)))
    assert says(next_act(plan, dark, NOW)) == (Act.FINISH, 1, RolloutState.STOPPED)
    usual = RolloutFacts(outcomes=ended("a+ e+", one("b", BAD, GONE_DARK)))
    assert says(next_act(plan, usual, NOW)) == (Act.WORK, 1, "c")


def test_a_dark_canary_of_three_lets_three_begin_at_once() -> None:
    plan = plan_of(Strategy(canary="3", waves=()), "abcdefghij")
    assert says(next_act(plan, RolloutFacts(outcomes=ended("a~ b~ c~")), NOW)) == (Act.WORK, 1, "def")
    doubtful = RolloutFacts(outcomes=ended("a~ b~ c~ d-"), working=frozenset("ef"))
    assert says(next_act(plan, doubtful, NOW)) == (Act.WAIT, 1)


def test_a_failure_beside_a_later_success_is_within_the_budget_again() -> None:
    plan = plan_of(Strategy(canary="2", waves=(), failure_budget="2"), "abcdefgh")
    facts = RolloutFacts(outcomes=ended("a~ b~ c- d+"))
    assert says(next_act(plan, facts, NOW)) == (Act.WORK, 1, "efgh")


def test_who_said_no_is_told() -> None:
    no = gate(1, Approval.BEFORE, GateState.REJECTED, by="maria").model_copy(update={"reason": "Not on a Friday"})
    act = next_act(plan_of(BEFORE), RolloutFacts(outcomes=ended("a+"), gates=(no,)), NOW)
    assert act.why == "maria said no before wave wave-1: Not on a Friday"


def test_the_last_answer_counts_after_a_wave_was_asked_about_again() -> None:
    gates = (gate(1, Approval.BEFORE, GateState.REJECTED), gate(1, Approval.BEFORE, GateState.APPROVED))
    act = next_act(plan_of(BEFORE), RolloutFacts(outcomes=ended("a+"), gates=gates), NOW)
    assert says(act) == (Act.WORK, 1, "bcdef")


def test_a_wave_is_asked_about_after_it_was_watched() -> None:
    strategy = Strategy(canary="0", waves=(WaveSpec(soak_s=600, approval=(Approval.AFTER,)),))
    facts = RolloutFacts(outcomes=ended("a+ b+ c+ d+ e+ f+"), waves={0: WaveTimes(ended_at=NOW)})
    assert says(next_act(plan_of(strategy), facts, NOW)) == (Act.WAIT, 0, later(minutes=10))
    assert says(next_act(plan_of(strategy), facts, later(minutes=10))) == (Act.ASK, 0, Approval.AFTER)


def test_a_skip_says_that_a_lock_may_pass_and_a_failure_may_not() -> None:
    held = next_act(plan_of(SIMPLE), RolloutFacts(locked={"a": later(days=2)}), NOW)
    failed = next_act(plan_of(SIMPLE), RolloutFacts(failed_here=frozenset("a")), NOW)
    assert (held.status, held.cause and held.cause.transient) == (SKIPPED, True)
    assert (failed.status, failed.cause and failed.cause.transient) == (SKIPPED, False)
    assert failed.cause is not None
    assert "force" in failed.cause.remedy


def test_a_lock_outlasts_a_window() -> None:
    facts = RolloutFacts(locked={"a": later(hours=15)})
    assert says(next_act(plan_of(AT_NIGHT), facts, NOW)) == (Act.WAIT, 0, later(hours=15))
