"""What a plan will cost: how long it takes by the ledger's own history, and how many sites it can break."""

from __future__ import annotations

import pytest

from edge.model.outcome import Status
from edge.model.rollout import Approval, RolloutPlan, SiteProgress, Strategy, WaveSpec
from edge.model.site import Site
from edge.policy.prediction import predict
from tests.unit import rollout_case
from tests.unit.rollout_case import NIGHT, NOW

HOUR = 3600.0


def plan_of(count: int, zones: tuple[str, ...] = ("UTC",), **said: object) -> RolloutPlan:
    cohort = [Site(name=f"s{at:02}", time_zone=zones[at % len(zones)]) for at in range(count)]
    return rollout_case.plan_of(Strategy.model_validate(said), cohort)


def took(seconds: float, site: str = "other", status: Status = Status.SUCCEEDED) -> SiteProgress:
    return SiteProgress(site=site, wave=0, status=status, seconds=seconds)


TENS = [took(10)] * 20


@pytest.mark.parametrize(
    ("count", "said", "seconds"),
    [
        (9, {"waves": ()}, 20),
        (9, {"waves": (), "concurrency": "2"}, 50),
        (9, {"waves": (), "concurrency": "3"}, 40),
        (9, {"canary": "0", "waves": ("50%",), "concurrency": "100%"}, 20),
        (9, {"canary": "0", "waves": (WaveSpec(size="1", soak_s=100),)}, 120),
        (9, {"canary": "0", "waves": (WaveSpec(soak_s=100),)}, 10),
        (9, {"waves": (), "self_test_s": 60}, 140),
        (9, {"waves": (), "windows": (NIGHT,)}, 14 * HOUR + 20),
        (
            4,
            {"canary": "0", "waves": (), "windows": (NIGHT,), "concurrency": "1", "site_deadline_s": 3595},
            86 * HOUR + 10,
        ),
        (0, {}, 0),
    ],
    ids=[
        "one after the canary",
        "two at once",
        "a last round that is not full",
        "shares",
        "a soak between waves",
        "no soak after the last",
        "a self-test on each site",
        "the window is not open yet",
        "a site a night",
        "nobody",
    ],
)
def test_how_long_it_takes(count: int, said: dict[str, object], seconds: float) -> None:
    assert predict(plan_of(count, **said), TENS, NOW).seconds == seconds


def test_sites_in_zones_that_open_first_do_not_wait_for_the_others() -> None:
    made = predict(
        plan_of(4, ("America/New_York", "UTC"), canary="0", waves=(), windows=(NIGHT,), concurrency="1"), TENS, NOW
    )
    assert made.waves[0].starts_s == 14 * HOUR
    assert made.seconds == 18 * HOUR + 20


def test_a_site_is_as_fast_as_it_was_before() -> None:
    history = [*TENS, *[took(seconds, "s01") for seconds in (50, 70, 900)], took(5000, "s01", Status.FAILED)]
    made = predict(plan_of(2), history, NOW)
    assert (made.seconds, made.samples) == (80, 23)
    assert [(wave.name, wave.starts_s, wave.ends_s) for wave in made.waves] == [("canary", 0, 10), ("wave-1", 10, 80)]


def test_to_be_cautious_every_site_is_slow() -> None:
    history = [took(seconds) for seconds in range(1, 101)]
    made = predict(plan_of(2), history, NOW)
    assert (made.seconds, made.cautious_s) == (100, 190)


def test_without_a_history_each_site_takes_its_deadline() -> None:
    made = predict(plan_of(2, site_deadline_s=120), [took(3, status=Status.FAILED), took(0)], NOW)
    assert (made.seconds, made.cautious_s, made.samples) == (240, 240, 0)


@pytest.mark.parametrize(
    ("said", "waves", "overall"),
    [
        ({}, [1, 5, 14], 14),
        ({"concurrency": "2"}, [1, 2, 2], 2),
        ({"concurrency": "2", "failure_budget": "3"}, [1, 5, 5], 5),
        ({"concurrency": "2", "failure_budget": "3", "waves": (WaveSpec(size="2", failure_budget="1"),)}, [1, 2, 5], 5),
        (
            {"concurrency": "1", "failure_budget": "9", "waves": (WaveSpec(size="2"), WaveSpec(failure_budget="0"))},
            [1, 2, 1],
            3,
        ),
        ({"concurrency": "100%", "canary": "0", "waves": ()}, [20], 20),
        ({"waves": (WaveSpec(size="4", canary=True, concurrency="2"),)}, [1, 2, 15], 15),
    ],
    ids=[
        "the defaults",
        "what is at work at once",
        "and the budget",
        "a wave's own budget",
        "failures that an earlier wave got away with",
        "everybody at once",
        "a second canary",
    ],
)
def test_how_many_sites_it_can_break(said: dict[str, object], waves: list[int], overall: int) -> None:
    made = predict(plan_of(20, **said), TENS, NOW)
    assert [wave.broken_at_most for wave in made.waves] == waves
    assert made.broken_at_most == overall


def test_sites_that_have_the_version_are_counted_up() -> None:
    made = predict(plan_of(20), TENS, NOW)
    assert [wave.changed_by_then for wave in made.waves] == [1, 6, 20]


def test_people_are_counted_and_not_timed() -> None:
    made = predict(plan_of(4, waves=(WaveSpec(approval=(Approval.BEFORE, Approval.AFTER)),)), TENS, NOW)
    assert (made.approvals, made.seconds) == (2, 20)


def test_a_window_that_nobody_fits_into_takes_no_time() -> None:
    made = predict(plan_of(2, windows=(NIGHT,), site_deadline_s=2 * HOUR), TENS, NOW)
    assert made.seconds == 20
