"""A cohort stays as it was frozen: who joins waits, who leaves is left out, and neither stops a rollout."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from edge.model.outcome import Cause, Outcome, Status
from edge.model.placement import CatchUp
from edge.model.rollout import CatchUpRule, Joiners, RolloutFacts, RolloutPlan, RolloutState, Strategy
from edge.model.site import Site, SiteSelector, SiteState
from edge.policy.cohort import joiners, leavers, to_catch_up
from edge.policy.next_act import HELD_BACK
from edge.policy.rollout import FAILED_BEFORE
from tests.unit import rollout_case
from tests.unit.rollout_case import NOW, STAMP

NORTH = SiteSelector(region="north")


def north(*names: str) -> list[Site]:
    return [Site(name=name, region="north") for name in names]


def plan_of(strategy: Strategy = Strategy(), selector: SiteSelector | None = NORTH) -> RolloutPlan:
    return rollout_case.plan_of(strategy, north("a", "b", "c", "d")).model_copy(update={"selector": selector})


FLEET = [
    *north("a", "b", "d", "new"),
    Site(name="c", region="north", state=SiteState.DECOMMISSIONED),
    Site(name="other", region="south"),
    Site(name="gone", region="north", state=SiteState.DECOMMISSIONED),
]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (NORTH, ("new",)),
        (SiteSelector(), ("new", "other")),
        (SiteSelector(names=("a", "c", "nobody")), ()),
        (SiteSelector(names=("c",)), ()),
        (None, ()),
    ],
    ids=["by region", "everybody", "by name", "the only name left the fleet", "nobody knows who was meant"],
)
def test_joiners_are_those_that_were_meant_and_came_later(
    selector: SiteSelector | None, expected: tuple[str, ...]
) -> None:
    assert joiners(plan_of(selector=selector), FLEET) == expected


def test_leavers_are_decommissioned_or_not_there_any_more() -> None:
    assert leavers(plan_of(), FLEET) == {"c"}
    assert leavers(plan_of(), []) == {"a", "b", "c", "d"}


def skipped(site: str, reason: str) -> Outcome:
    return Outcome(subject=site, status=Status.SKIPPED, cause=Cause(code="not-yet", message="", reason=reason))


FACTS = RolloutFacts(
    outcomes={
        "a": Outcome(subject="a", status=Status.EXPECTED_OFFLINE),
        "b": skipped("b", HELD_BACK),
        "c": Outcome(subject="c", status=Status.EXPECTED_OFFLINE),
        "d": skipped("d", FAILED_BEFORE),
    },
    locked={"b": NOW + timedelta(days=3)},
)


def queued(strategy: Strategy, state: RolloutState) -> dict[str, datetime | None]:
    return {item.site: item.returned_at for item in to_catch_up(plan_of(strategy), FACTS, state, FLEET, NOW)}


JOIN = Strategy(joiners=Joiners.CATCH_UP)
UNLOCKED = NOW + timedelta(days=3)


@pytest.mark.parametrize(
    ("strategy", "state", "expected"),
    [
        (Strategy(), RolloutState.SUCCEEDED, {"a": None, "b": UNLOCKED}),
        (Strategy(), RolloutState.FAILED, {"a": None, "b": UNLOCKED}),
        (JOIN, RolloutState.SUCCEEDED, {"a": None, "b": UNLOCKED, "new": NOW}),
        (JOIN, RolloutState.FAILED, {"a": None, "b": UNLOCKED}),
        (JOIN, RolloutState.STOPPED, {}),
        (JOIN, RolloutState.ROLLED_BACK, {}),
        (JOIN, RolloutState.CANCELLED, {}),
        (Strategy(catch_up=CatchUpRule(enabled=False)), RolloutState.SUCCEEDED, {}),
    ],
    ids=[
        "those that were away or held back",
        "also when some others failed",
        "joiners where the strategy says so",
        "joiners only of what succeeded",
        "nobody catches up with what was stopped",
        "nor with what was rolled back",
        "nor with what was cancelled",
        "the strategy wants none",
    ],
)
def test_who_catches_up(strategy: Strategy, state: RolloutState, expected: dict[str, datetime | None]) -> None:
    assert queued(strategy, state) == expected


def test_a_catch_up_knows_what_it_missed() -> None:
    strategy = Strategy(catch_up=CatchUpRule(objective_s=60))
    plan = plan_of(strategy)
    first, *_ = to_catch_up(plan, FACTS, RolloutState.SUCCEEDED, FLEET, NOW)
    assert first == CatchUp(
        site="a",
        stamp="press",
        version="1.0.0",
        digest=STAMP.digest,
        rollout_id=plan.rollout_id,
        objective_s=60,
        queued_at=NOW,
    )
