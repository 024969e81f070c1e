"""Waves: every site in exactly one, the canary first and small, the same on every try."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import InvalidInput
from edge.model.firmware import Component as DeviceComponent
from edge.model.firmware import UpdateOrder
from edge.model.rollout import Approval, Strategy, Wave, WaveSpec
from edge.model.site import OfflinePolicy, Site, SiteSelector, SiteState
from edge.policy.firmware import plan_update
from edge.policy.rollout import concurrency_of, count_of, cut_waves, plan_rollout, rollout_id
from edge.policy.site import select_sites
from tests.unit.rollout_case import STAMP


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


NORTH, SOUTH = SiteSelector(region="north"), SiteSelector(region="south")
MIXED = [
    *[Site(name=f"n{number}", region="north") for number in range(4)],
    *[Site(name=f"s{number}", region="south", time_zone="Asia/Tokyo") for number in range(3)],
    *[Site(name=f"w{number}", region="west", when_offline=OfflinePolicy.EXPECTED) for number in range(3)],
]


def cut(*specs: WaveSpec, canary: str = "0") -> dict[str, str]:
    waves = cut_waves(MIXED, Strategy(canary=canary, waves=specs))
    return {wave.name: " ".join(wave.sites) for wave in waves}


@pytest.mark.parametrize(
    ("specs", "canary", "expected"),
    [
        (
            (WaveSpec(sites=NORTH), WaveSpec(sites=SOUTH)),
            "0",
            {"wave-1": "n0 n1 n2 n3", "wave-2": "s0 s1 s2", "wave-3": "w0 w1 w2"},
        ),
        (
            (WaveSpec(name="north", sites=NORTH, size="2"), WaveSpec(name="all")),
            "0",
            {"north": "n0 n1", "all": "s0 s1 s2 w0 w1 w2", "wave-3": "n2 n3"},
        ),
        (
            (WaveSpec(sites=NORTH, size="1%"), WaveSpec(sites=NORTH), WaveSpec()),
            "0",
            {"wave-1": "n0", "wave-2": "n1 n2 n3", "wave-3": "s0 s1 s2 w0 w1 w2"},
        ),
        (
            (WaveSpec(size="2"), WaveSpec(sites=SOUTH), WaveSpec(size="50%")),
            "0",
            {"wave-1": "n0 n1", "wave-2": "s0 s1 s2", "wave-3": "n2 n3 w0 w1 w2"},
        ),
        (
            (WaveSpec(sites=SOUTH), WaveSpec()),
            "2",
            {"canary": "n0 n1", "wave-1": "s0 s1 s2", "wave-2": "n2 n3 w0 w1 w2"},
        ),
        (
            (WaveSpec(sites=SiteSelector(names=("w0", "s2", "s1")), canary=True, size="2"), WaveSpec()),
            "0",
            {"wave-1": "s1 s2", "wave-2": "n0 n1 n2 n3 s0 w1 w2", "wave-3": "w0"},
        ),
    ],
    ids=[
        "by selector, the rest last",
        "a part of a selector",
        "the same selector twice is a group in parts",
        "a size never takes what a selector names",
        "a canary in front takes from everybody",
        "a part of some names",
    ],
)
def test_waves_take_what_their_selectors_name(
    specs: tuple[WaveSpec, ...], canary: str, expected: dict[str, str]
) -> None:
    assert cut(*specs, canary=canary) == expected


def test_a_canary_wave_takes_those_that_should_be_online() -> None:
    cohort = [Site(name="a", when_offline=OfflinePolicy.EXPECTED), Site(name="b")]
    canary, _ = cut_waves(cohort, Strategy(canary="0", waves=(WaveSpec(size="1", canary=True),)))
    assert (canary.name, canary.sites) == ("wave-1", ("b",))


def test_a_wave_keeps_what_was_said_of_it() -> None:
    said = WaveSpec(
        name="pilot",
        size="5",
        failure_budget="50%",
        concurrency="30%",
        soak_s=60,
        approval=(Approval.BEFORE, Approval.AFTER),
    )
    pilot, rest = cut_waves(MIXED, Strategy(canary="0", waves=(said,), failure_budget="1"))
    assert pilot == Wave(
        index=0,
        name="pilot",
        sites=("n0", "n1", "n2", "n3", "s0"),
        failure_budget=3,
        concurrency=2,
        soak_s=60,
        approval=(Approval.BEFORE, Approval.AFTER),
    )
    assert (rest.failure_budget, rest.concurrency, rest.canary) == (1, None, False)


@pytest.mark.parametrize(
    ("said", "of_wave", "expected"),
    [
        ("3", None, 3),
        ("25%", None, 2),
        ("0", None, 1),
        ("0%", None, 1),
        ("3", "30%", 2),
        ("3", "0", 1),
        ("99", None, 5),
    ],
    ids=["a number", "a share of the wave", "none is one", "no share is one", "its own", "its own none", "too many"],
)
def test_at_least_one_site_is_worked_on_at_once(said: str, of_wave: str | None, expected: int) -> None:
    strategy = Strategy(canary="0", waves=(WaveSpec(concurrency=of_wave),), concurrency=said)
    plan = plan_rollout(STAMP, fleet(5), strategy, {}, 1)
    assert concurrency_of(plan, plan.waves[0]) == expected


def test_a_plan_freezes_zones_and_those_that_may_not_fail() -> None:
    strategy = Strategy(mandatory=SiteSelector(region="north"))
    plan = plan_rollout(STAMP, MIXED, strategy, {}, 1)
    assert plan.mandatory == ("n0", "n1", "n2", "n3")
    assert plan.time_zones == {"s0": "Asia/Tokyo", "s1": "Asia/Tokyo", "s2": "Asia/Tokyo"}


def test_a_selector_that_names_nobody_in_the_cohort_is_refused() -> None:
    with pytest.raises(InvalidInput, match="No such site"):
        cut(WaveSpec(sites=SiteSelector(names=("z9",))))


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


def test_an_update_of_devices_freezes_zones_and_those_that_may_not_fail() -> None:
    order = UpdateOrder(component=DeviceComponent.OS, version="1.0.0", image=f"os@sha256:{'0' * 64}")
    plan = plan_update(order, MIXED, Strategy(mandatory=SOUTH), 1)
    assert plan.mandatory == ("s0", "s1", "s2")
    assert plan.time_zones == {"s0": "Asia/Tokyo", "s1": "Asia/Tokyo", "s2": "Asia/Tokyo"}
