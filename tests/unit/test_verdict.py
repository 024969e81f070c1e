"""Verdicts: when a rollout stops, what an absent site means, and how it all ended."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import EdgeError, Rejected, SiteSilent, SiteUnreachable
from edge.model.outcome import Cause, Outcome, Status
from edge.model.rollout import RolloutPlan, RolloutState, Strategy
from edge.model.site import OfflinePolicy, Site
from edge.policy.rollout import Standing, finish_state, offline_status, rollout_budget, why_stop
from tests.unit import rollout_case
from tests.unit.rollout_case import AWAY, BACK, BAD, GOOD, HELD, SKIPPED

GO_ON, STOP = False, True


def plan(count: int, strategy: Strategy, when_offline: OfflinePolicy = OfflinePolicy.NORMAL) -> RolloutPlan:
    cohort = [Site(name=f"s{number:03}", when_offline=when_offline) for number in range(count)]
    return rollout_case.plan_of(strategy, cohort)


def outcomes(statuses: list[Status], error: EdgeError | None = None) -> dict[str, Outcome]:
    cause = Cause.of(error or Rejected("No"))
    return {
        f"s{number:03}": Outcome(subject=f"s{number:03}", status=status, cause=cause if status is BAD else None)
        for number, status in enumerate(statuses)
    }


def verdicts(made: RolloutPlan, ended: dict[str, Outcome]) -> list[bool]:
    """Of each wave, whether the rollout stops after it."""
    before, found = Standing(), []
    for wave in made.waves:
        found.append(bool(why_stop(made, wave, ended, before)))
        before = before.and_then(wave, ended)
    return found


THREE_WAVES = Strategy(canary="1", waves=("3",), failure_budget="2")


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([GOOD] * 8, [GO_ON, GO_ON, GO_ON]),
        ([BAD, *[GOOD] * 7], [STOP, GO_ON, GO_ON]),
        ([AWAY, *[GOOD] * 7], [GO_ON, GO_ON, GO_ON]),
        ([GOOD, *[AWAY] * 7], [GO_ON, GO_ON, GO_ON]),
        ([AWAY] * 8, [GO_ON, GO_ON, GO_ON]),
        ([GOOD, BAD, BAD, GOOD, *[GOOD] * 4], [GO_ON, GO_ON, GO_ON]),
        ([GOOD, BAD, BAD, GOOD, BAD, *[GOOD] * 3], [GO_ON, GO_ON, STOP]),
        ([GOOD, BAD, BAD, BAD, *[GOOD] * 4], [GO_ON, STOP, STOP]),
        ([AWAY, BAD, AWAY, AWAY, *[GOOD] * 4], [GO_ON, STOP, GO_ON]),
        ([AWAY, BAD, GOOD, AWAY, *[GOOD] * 4], [GO_ON, GO_ON, GO_ON]),
        ([GOOD, *[GOOD] * 3, HELD, HELD, HELD, HELD], [GO_ON, GO_ON, STOP]),
        ([GOOD, SKIPPED, SKIPPED, SKIPPED, *[GOOD] * 4], [GO_ON, GO_ON, GO_ON]),
        ([SKIPPED, BAD, SKIPPED, SKIPPED, *[GOOD] * 4], [GO_ON, STOP, GO_ON]),
        ([GOOD, BACK, GOOD, GOOD, *[GOOD] * 4], [GO_ON, STOP, GO_ON]),
        ([GOOD, BACK, BACK, BACK, *[HELD] * 4], [GO_ON, STOP, STOP]),
    ],
    ids=[
        "all good",
        "the canary failed",
        "the canary is expected away",
        "expected absence costs nothing",
        "everybody is expected away",
        "within the budget",
        "the budget is for the whole rollout",
        "over the wave's budget",
        "a failure and nobody has taken the stamp",
        "a failure beside a success",
        "held sites have not succeeded",
        "skipped sites cost nothing",
        "and prove nothing",
        "a wave that was rolled back is over, whatever its budget",
        "sites that were rolled back count as failed",
    ],
)
def test_a_rollout_stops_when_its_budget_is_broken(statuses: list[Status], expected: list[bool]) -> None:
    assert verdicts(plan(8, THREE_WAVES), outcomes(statuses)) == expected


def test_a_site_without_an_outcome_counts_as_failed() -> None:
    assert verdicts(plan(2, Strategy()), outcomes([GOOD])) == [GO_ON, STOP]


@pytest.mark.parametrize("error", [SiteUnreachable("No"), SiteSilent("No")], ids=["unreachable", "silent"])
def test_a_site_that_must_be_there_stops_the_rollout_when_it_is_away(error: EdgeError) -> None:
    strategy = Strategy(failure_budget="100%", waves=())
    ended = outcomes([GOOD, GOOD, BAD], error)
    assert verdicts(plan(3, strategy, OfflinePolicy.ERROR), ended) == [GO_ON, STOP]
    assert verdicts(plan(3, strategy, OfflinePolicy.NORMAL), ended) == [GO_ON, GO_ON]


def test_a_site_that_must_be_there_and_fails_otherwise_uses_the_budget() -> None:
    strategy = Strategy(failure_budget="1", waves=())
    ended = outcomes([GOOD, GOOD, BAD], Rejected("No"))
    assert verdicts(plan(3, strategy, OfflinePolicy.ERROR), ended) == [GO_ON, GO_ON]


@pytest.mark.parametrize(
    ("error", "policy", "status"),
    [
        (SiteUnreachable("No"), OfflinePolicy.EXPECTED, AWAY),
        (SiteSilent("No"), OfflinePolicy.EXPECTED, AWAY),
        (SiteUnreachable("No"), OfflinePolicy.NORMAL, BAD),
        (SiteSilent("No"), OfflinePolicy.NORMAL, BAD),
        (SiteUnreachable("No"), OfflinePolicy.ERROR, BAD),
        (SiteSilent("No"), OfflinePolicy.ERROR, BAD),
        (Rejected("No"), OfflinePolicy.EXPECTED, BAD),
    ],
    ids=lambda case: str(getattr(case, "code", case)),
)
def test_only_an_absent_site_that_may_be_absent_is_expected_offline(
    error: EdgeError, policy: OfflinePolicy, status: Status
) -> None:
    assert offline_status(error, policy) is status


@pytest.mark.parametrize(
    ("statuses", "budget", "state"),
    [
        ([GOOD, GOOD, GOOD], "0", RolloutState.SUCCEEDED),
        ([GOOD, AWAY, AWAY], "0", RolloutState.SUCCEEDED),
        ([GOOD, BAD, GOOD], "1", RolloutState.FAILED),
        ([GOOD, GOOD, BAD], "0", RolloutState.STOPPED),
        ([BAD, HELD, HELD], "0", RolloutState.STOPPED),
        ([BAD], "1", RolloutState.STOPPED),
        ([GOOD, SKIPPED, SKIPPED], "0", RolloutState.SUCCEEDED),
    ],
    ids=[
        "good",
        "expected away",
        "within the budget",
        "the last wave broke it",
        "held",
        "the only site failed",
        "skipped",
    ],
)
def test_how_a_rollout_ended(statuses: list[Status], budget: str, state: RolloutState) -> None:
    made = plan(len(statuses), Strategy(waves=("1",), failure_budget=budget))
    assert finish_state(made, outcomes(statuses)) is state


SIZE = st.integers(0, 40).map(str) | st.integers(0, 100).map("{}%".format)
STRATEGY = st.builds(Strategy, canary=SIZE, waves=st.lists(SIZE, max_size=4).map(tuple), failure_budget=SIZE)
STATUSES = st.lists(st.sampled_from([GOOD, BAD, AWAY]), min_size=1, max_size=40)


def roll(made: RolloutPlan, ended: dict[str, Outcome]) -> dict[str, Outcome]:
    """What a rollout sees: wave by wave until the judge says stop."""
    seen: dict[str, Outcome] = {}
    for wave, stops in zip(made.waves, verdicts(made, ended), strict=True):
        seen.update({site: ended[site] for site in wave.sites})
        if stops:
            break
    held = {site: Outcome(subject=site, status=HELD) for site in ended if site not in seen}
    return {**seen, **held}


@given(STATUSES, STRATEGY)
@settings(deadline=None)
def test_no_wave_begins_after_the_budget_is_broken(statuses: list[Status], strategy: Strategy) -> None:
    made = plan(len(statuses), strategy)
    seen = roll(made, outcomes(statuses))
    begun = [wave for wave in made.waves if any(seen[site].status is not HELD for site in wave.sites)]
    before = [seen[site].status for wave in begun[:-1] for site in wave.sites]
    assert before.count(BAD) <= rollout_budget(made)
    assert not (begun[1:] and begun[0].name == "canary" and before[: len(begun[0].sites)].count(BAD))


@given(STATUSES, STRATEGY)
@settings(deadline=None)
def test_every_rollout_ends_in_a_state_that_fits_its_sites(statuses: list[Status], strategy: Strategy) -> None:
    made = plan(len(statuses), strategy)
    seen = roll(made, outcomes(statuses))
    words = {outcome.status for outcome in seen.values()}
    state = finish_state(made, seen)
    assert (state is RolloutState.SUCCEEDED) == words.issubset({GOOD, AWAY})
    assert HELD not in words or state is RolloutState.STOPPED
    assert state is not RolloutState.FAILED or GOOD in words


@given(STATUSES, STRATEGY)
@settings(deadline=None)
def test_one_more_success_never_stops_a_rollout(statuses: list[Status], strategy: Strategy) -> None:
    made = plan(len(statuses), strategy)
    better = [GOOD if status is BAD else status for status in statuses]
    for before, after in zip(verdicts(made, outcomes(statuses)), verdicts(made, outcomes(better)), strict=True):
        assert before or not after
