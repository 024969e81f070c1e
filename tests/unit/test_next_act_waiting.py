"""What a rollout waits for, whom it leaves alone, and what people tell it."""

from __future__ import annotations

from typing import Any

import pytest

from edge.model.rollout import (
    Act,
    Approval,
    GateState,
    RolloutFacts,
    RolloutState,
    Strategy,
    WaveSpec,
    WaveTimes,
    Window,
)
from edge.policy.next_act import HELD_BACK, LEFT, NO_WINDOW, next_act
from edge.policy.rollout import FAILED_BEFORE
from tests.unit.rollout_case import (
    AFTER,
    AHEAD,
    AT_NIGHT,
    AT_NOON,
    BEFORE,
    MUST,
    NOON,
    NOW,
    SIMPLE,
    SKIPPED,
    SOAK,
    TWO,
    ended,
    gate,
    later,
    plan_of,
    says,
    sites,
)

CASES: dict[str, tuple[Strategy, dict[str, Any], tuple[Any, ...]]] = {
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
