"""What a rollout does next: who is begun, what stops it, and what goes back."""

from __future__ import annotations

from typing import Any

import pytest

from edge.errors import Rejected, SiteUnreachable
from edge.model.outcome import Cause
from edge.model.rollout import (
    Act,
    RolloutFacts,
    RolloutState,
    Strategy,
    WaveSpec,
)
from edge.policy.next_act import next_act
from edge.policy.rollout import UNCHANGED, not_taken_back
from tests.unit.rollout_case import (
    ABORT,
    BACKWARDS,
    BAD,
    BUDGET,
    GONE_DARK,
    GOOD,
    KNOWN_BAD,
    LATE,
    MUST,
    NOW,
    ROLL_BACK,
    SIMPLE,
    SKIPPED,
    TWO,
    ended,
    one,
    plan_of,
    says,
    sites,
)

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
    "each dark site lets one more begin, or a dark fleet would take for ever": (
        SIMPLE,
        {"outcomes": ended("a~ b~")},
        (Act.WORK, 1, "cd"),
    ),
    "until a site has taken it": (SIMPLE, {"outcomes": ended("a~ b~"), "working": {"c"}}, (Act.WORK, 1, "d")),
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
}


@pytest.mark.parametrize(("strategy", "facts", "expected"), CASES.values(), ids=CASES.keys())
def test_what_a_rollout_does_next(strategy: Strategy, facts: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert says(next_act(plan_of(strategy), RolloutFacts(**facts), NOW)) == expected


@pytest.mark.parametrize("name", CASES)
def test_every_act_says_why(name: str) -> None:
    strategy, facts, _ = CASES[name]
    assert len(next_act(plan_of(strategy), RolloutFacts(**facts), NOW).why) > 10


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
