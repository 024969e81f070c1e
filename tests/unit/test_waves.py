"""Waves: every site in exactly one, the canary first and small, the same on every try."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import InvalidInput
from edge.model.outcome import Outcome, Status
from edge.model.rollout import Strategy, Wave
from edge.model.site import OfflinePolicy, Site, SiteSelector, SiteState
from edge.model.stamp import Component, Stamp
from edge.policy.rollout import count_of, cut_waves, plan_rollout, remaining, rollout_id
from edge.policy.site import select_sites

STAMP = Stamp(
    name="press",
    version="1.0.0",
    namespaces=("press",),
    components=(Component(name="app", path="app"),),
    digest="0" * 64,
)


def fleet(count: int, **fields: object) -> list[Site]:
    return [Site.model_validate({"name": f"site-{number:04}", **fields}) for number in range(count)]


def sizes(waves: tuple[Wave, ...]) -> dict[str, int]:
    return {wave.name: len(wave.sites) for wave in waves}


@pytest.mark.parametrize(
    ("count", "strategy", "cut"),
    [
        (12, Strategy(), {"canary": 1, "wave-1": 3, "wave-2": 8}),
        (1, Strategy(), {"canary": 1}),
        (2, Strategy(), {"canary": 1, "wave-1": 1}),
        (10, Strategy(canary="0"), {"wave-1": 3, "wave-2": 7}),
        (10, Strategy(canary="15%", waves=()), {"canary": 2, "wave-1": 8}),
        (10, Strategy(waves=("2", "0", "3")), {"canary": 1, "wave-1": 2, "wave-3": 3, "wave-4": 4}),
        (10, Strategy(canary="100%"), {"canary": 10}),
        (0, Strategy(), {}),
    ],
    ids=["default", "one site", "two sites", "no canary", "rounded up", "rest is last", "all canary", "no site"],
)
def test_waves_have_the_sizes_asked_for(count: int, strategy: Strategy, cut: dict[str, int]) -> None:
    waves = cut_waves(fleet(count), strategy)
    assert sizes(waves) == cut
    assert [wave.index for wave in waves] == list(range(len(waves)))


def test_a_site_that_is_often_away_is_no_canary_when_there_is_another() -> None:
    often_away = fleet(3, when_offline="expected")
    usual = Site(name="zulu")
    assert cut_waves([*often_away, usual], Strategy())[0].sites == ("zulu",)
    assert cut_waves(often_away, Strategy())[0].sites == ("site-0000",)


def test_the_canary_has_no_budget_and_a_wave_no_more_than_its_sites() -> None:
    waves = cut_waves(fleet(20), Strategy(waves=("2",), failure_budget="20%"))
    assert [wave.failure_budget for wave in waves] == [0, 2, 4]


def test_a_site_twice_in_the_cohort_is_refused() -> None:
    with pytest.raises(InvalidInput, match="twice"):
        cut_waves([*fleet(2), *fleet(1)], Strategy())


SIZE = st.integers(0, 60).map(str) | st.integers(0, 100).map("{}%".format)
STRATEGY = st.builds(Strategy, canary=SIZE, waves=st.lists(SIZE, max_size=4).map(tuple), failure_budget=SIZE)
COHORT = st.lists(st.sampled_from(OfflinePolicy), max_size=60).map(
    lambda policies: [Site(name=f"s{number}", when_offline=policy) for number, policy in enumerate(policies)]
)


@given(COHORT, STRATEGY)
@settings(deadline=None)
def test_every_site_is_in_exactly_one_wave(cohort: list[Site], strategy: Strategy) -> None:
    waves = cut_waves(cohort, strategy)
    assert sorted(site for wave in waves for site in wave.sites) == sorted(site.name for site in cohort)
    assert all(wave.sites for wave in waves)


@given(COHORT, STRATEGY)
@settings(deadline=None)
def test_the_canary_is_never_larger_than_asked(cohort: list[Site], strategy: Strategy) -> None:
    for wave in cut_waves(cohort, strategy):
        if wave.name == "canary":
            assert wave.index == 0
            assert len(wave.sites) <= count_of(strategy.canary, len(cohort))


@given(COHORT, STRATEGY, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_same_sites_give_the_same_plan_in_any_order(
    cohort: list[Site], strategy: Strategy, shuffled: random.Random
) -> None:
    other = list(cohort)
    shuffled.shuffle(other)
    assert plan_rollout(STAMP, cohort, strategy, {"a": "1"}, 1) == plan_rollout(STAMP, other, strategy, {"a": "1"}, 1)


def test_a_rollouts_id_changes_with_what_is_rolled_out() -> None:
    other = STAMP.model_copy(update={"digest": "1" * 64})
    ids = {
        rollout_id(STAMP, ["a", "b"], {"x": "1"}, 1),
        rollout_id(STAMP, ["b", "a"], {"x": "1"}, 1),
        rollout_id(STAMP, ["a", "b"], {"x": "1"}, 2),
        rollout_id(STAMP, ["a", "b"], {"x": "2"}, 1),
        rollout_id(STAMP, ["a"], {"x": "1"}, 1),
        rollout_id(other, ["a", "b"], {"x": "1"}, 1),
    }
    assert len(ids) == 5


def test_what_remains_is_what_has_not_ended() -> None:
    wave = Wave(index=0, name="w", sites=("a", "b", "c", "d"), failure_budget=0)
    statuses = {"a": Status.SUCCEEDED, "b": Status.FAILED, "c": Status.HELD}
    outcomes = {site: Outcome(subject=site, status=status) for site, status in statuses.items()}
    assert remaining(wave, outcomes).sites == ("c", "d")


SITES = [
    Site(name="a", region="north", tenant="acme", labels={"ring": "1", "line": "x"}),
    Site(name="b", region="north", role="press"),
    Site(name="c", region="south", labels={"ring": "1"}),
    Site(name="gone", region="north", state=SiteState.DECOMMISSIONED),
]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        (SiteSelector(), "abc"),
        (SiteSelector(names=("c", "a")), "ac"),
        (SiteSelector(region="north"), "ab"),
        (SiteSelector(region="north", tenant="acme"), "a"),
        (SiteSelector(role="press"), "b"),
        (SiteSelector(labels={"ring": "1"}), "ac"),
        (SiteSelector(labels={"ring": "1", "line": "x"}), "a"),
        (SiteSelector(names=("a", "b"), labels={"ring": "1"}), "a"),
        (SiteSelector(region="west"), ""),
    ],
    ids=["all", "names", "region", "tenant", "role", "label", "labels", "names and label", "none"],
)
def test_a_selector_finds_the_sites_that_match_everything_set(selector: SiteSelector, found: str) -> None:
    assert "".join(site.name for site in select_sites(SITES, selector)) == found


@pytest.mark.parametrize("name", ["nobody", "gone"])
def test_a_name_that_is_no_living_sites_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="No such site") as caught:
        select_sites(SITES, SiteSelector(names=("a", name)))
    assert caught.value.where["value"] == name
