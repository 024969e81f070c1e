"""Strategies that could not end well are refused before anything is changed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from edge.errors import InvalidInput
from edge.model.rollout import Strategy, WaveSpec, Window
from edge.model.site import OfflinePolicy, Site, SiteSelector
from edge.policy.strategy import check_strategy

NOW = datetime(2026, 5, 2, 12, 0, tzinfo=UTC)
NORTH, SOUTH = SiteSelector(region="north"), SiteSelector(region="south")
REST = WaveSpec()
COHORT = [
    Site(name="n1", region="north", labels={"ring": "1"}),
    Site(name="n2", region="north", time_zone="Europe/Berlin"),
    Site(name="s1", region="south", labels={"ring": "1"}, time_zone="Asia/Tokyo"),
    Site(name="s2", region="south", when_offline=OfflinePolicy.EXPECTED),
]


def names(*said: str) -> SiteSelector:
    return SiteSelector(names=said)


def window(cron: str = "0 2 * * *", duration_s: float = 3600, zone: str | None = None) -> Window:
    return Window(cron=cron, duration_s=duration_s, time_zone=zone)


@pytest.mark.parametrize(
    "strategy",
    [
        Strategy(),
        Strategy(waves=()),
        Strategy(canary="0", waves=(WaveSpec(sites=NORTH), WaveSpec(sites=SOUTH))),
        Strategy(canary="0", waves=(WaveSpec(sites=NORTH, size="1", canary=True), WaveSpec(sites=NORTH), REST)),
        Strategy(waves=(WaveSpec(size="1"), WaveSpec(sites=SOUTH), REST)),
        Strategy(waves=(WaveSpec(name="pilot", sites=names("n1")), REST)),
        Strategy(mandatory=NORTH, force=("s2",)),
        Strategy(windows=(window(), window("0 12 * * sat", 300))),
        Strategy(windows=(window("* * * * *", 60),)),
        Strategy(windows=(window("0 2 * * *", 3600), window("0 3 * * *", 3600)), site_deadline_s=7200),
        Strategy(canary="0", waves=(WaveSpec(sites=names("n1", "s2"), canary=True, size="1"), REST)),
    ],
    ids=[
        "the defaults",
        "one wave",
        "every site by a selector",
        "a group in parts",
        "sizes and selectors",
        "named",
        "mandatory and forced",
        "windows",
        "windows without a gap",
        "windows that are long enough together",
        "a canary that should be online",
    ],
)
def test_a_strategy_that_can_end_well_is_accepted(strategy: Strategy) -> None:
    check_strategy(strategy, COHORT, NOW)


@pytest.mark.parametrize(
    ("strategy", "what", "field", "value"),
    [
        (
            Strategy(waves=(WaveSpec(sites=SiteSelector(region="west")), REST)),
            "matches no site",
            "strategy.waves[0].sites",
            '{"region":"west"}',
        ),
        (Strategy(waves=(REST, WaveSpec(sites=names("x1")))), "No such site", "strategy.waves[1].sites.names", "x1"),
        (
            Strategy(waves=(WaveSpec(sites=NORTH), WaveSpec(sites=SiteSelector(labels={"ring": "1"})), REST)),
            "Waves 0 and 1 overlap",
            "strategy.waves[1].sites",
            "n1",
        ),
        (Strategy(canary="0", waves=(WaveSpec(sites=NORTH),)), "miss 2 sites", "strategy.waves", "s1, s2"),
        (
            Strategy(canary="0", waves=(WaveSpec(sites=NORTH, size="1"), WaveSpec(sites=SOUTH))),
            "miss 1 site",
            "strategy.waves",
            "n2",
        ),
        (Strategy(waves=(WaveSpec(name="a"), WaveSpec(name="a"))), "same name", "strategy.waves.name", "a"),
        (Strategy(waves=(WaveSpec(name="canary"),)), "same name", "strategy.waves.name", "canary"),
        (Strategy(waves=(WaveSpec(name="wave-2", size="1"), REST)), "same name", "strategy.waves.name", "wave-2"),
        (Strategy(waves=(WaveSpec(name="wave-2"),)), "same name", "strategy.waves.name", "wave-2"),
        (Strategy(waves=(WaveSpec(canary=True, size="0"), REST)), "canary", "strategy.waves[0].size", "0"),
        (
            Strategy(canary="0", waves=(WaveSpec(sites=names("s2"), canary=True), REST)),
            "Every canary may be away",
            "strategy.waves[0].sites",
            '{"names":["s2"]}',
        ),
        (Strategy(mandatory=SiteSelector(region="west")), "matches no site", "strategy.mandatory", '{"region":"west"}'),
        (Strategy(mandatory=names("x1")), "No such site", "strategy.mandatory.names", "x1"),
        (Strategy(mandatory=SOUTH), "may be away", "strategy.mandatory", "s2"),
        (Strategy(force=("n1", "x1")), "not in the cohort", "strategy.force", "x1"),
        (Strategy(windows=(window(), window("0 0 30 2 *"))), "never opens", "strategy.windows[1].cron", "0 0 30 2 *"),
        (Strategy(windows=(window("at night"),)), "no cron expression", "strategy.windows[0].cron", "at night"),
        (
            Strategy(windows=(window(zone="Mars/Base"),)),
            "no such time zone",
            "strategy.windows[0].time_zone",
            "Mars/Base",
        ),
        (Strategy(windows=(window(duration_s=299),)), "long enough", "strategy.windows.duration_s", "299"),
        (
            Strategy(windows=(window(duration_s=600),), self_test_s=301),
            "long enough",
            "strategy.windows.duration_s",
            "600",
        ),
    ],
    ids=[
        "a selector that matches nothing",
        "a wave names a site outside of the cohort",
        "overlap",
        "sites in no wave",
        "a part of a selector in no wave",
        "two waves of one name",
        "a second canary by name",
        "a name that another wave gets by its place",
        "the name of what is left over",
        "a canary of nobody",
        "a canary that may be away",
        "mandatory matches nothing",
        "mandatory names a stranger",
        "mandatory and often away",
        "forced stranger",
        "a day that does not exist",
        "no cron",
        "no time zone",
        "a window shorter than the deadline",
        "a window shorter than deadline and self-test",
    ],
)
def test_a_strategy_that_cannot_end_well_is_refused(strategy: Strategy, what: str, field: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=what) as caught:
        check_strategy(strategy, COHORT, NOW)
    assert (caught.value.where["field"], caught.value.where["value"]) == (field, value)


def test_an_empty_cohort_is_refused() -> None:
    with pytest.raises(InvalidInput, match="matches no site"):
        check_strategy(Strategy(), [], NOW)


def test_a_sites_own_time_zone_must_exist() -> None:
    with pytest.raises(InvalidInput, match="no such time zone") as caught:
        check_strategy(Strategy(), [*COHORT, Site(name="m1", time_zone="Mars/Base")], NOW)
    assert caught.value.where == {"field": "sites.m1.time_zone", "value": "Mars/Base"}
