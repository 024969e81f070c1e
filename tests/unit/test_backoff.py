"""When a failed device is tried again, and how fast arrivals go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.model.bulk import Arrivals, Backoff, LaterTries
from edge.policy.backoff import is_due, is_given_up, is_tried_again, pause_s, refill, take, wait_s

RUN = Backoff(tries=4, first_s=2.0, longest_s=10.0)
LATER = LaterTries(first=timedelta(minutes=15), longest=timedelta(hours=2), most=20)
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tries", "bound"),
    [pytest.param(tries, bound, id=f"after-{tries}") for tries, bound in ((1, 2), (2, 4), (3, 8), (4, 10), (500, 10))],
)
def test_the_bound_of_a_pause_doubles_up_to_the_longest(tries: int, bound: float) -> None:
    assert pause_s(RUN, tries, 1.0) == bound
    assert pause_s(RUN, tries, 0.0) == 0.0


@given(st.integers(1, 100), st.floats(0, 1), st.floats(0, 1000))
def test_a_servers_wish_is_never_undercut(tries: int, drawn: float, wish: float) -> None:
    assert wish <= pause_s(RUN, tries, drawn, retry_after_s=wish) <= wish + RUN.longest_s


def test_a_run_tries_what_may_pass_and_only_so_often() -> None:
    assert is_tried_again(RUN, 3, transient=True)
    assert not is_tried_again(RUN, 4, transient=True)
    assert not is_tried_again(RUN, 1, transient=False)


@pytest.mark.parametrize(
    ("tries", "minutes"),
    [
        pytest.param(1, 15, id="a-run-that-was-cut-short"),
        pytest.param(4, 15, id="one-run"),
        pytest.param(8, 30, id="two-runs"),
        pytest.param(12, 60, id="three-runs"),
        pytest.param(16, 120, id="four-runs"),
        pytest.param(19, 120, id="the-longest"),
    ],
)
def test_the_pause_between_runs_grows_with_the_tries_of_all_runs(tries: int, minutes: int) -> None:
    early, late = NOW + timedelta(minutes=minutes, seconds=-1), NOW + timedelta(minutes=minutes)
    assert not is_due(LATER, RUN, tries, NOW, early)
    assert is_due(LATER, RUN, tries, NOW, late)


def test_a_device_that_was_tried_too_often_is_given_up() -> None:
    assert is_given_up(LATER, 20)
    assert not is_due(LATER, RUN, 20, NOW, NOW + timedelta(days=365))


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 40)), max_size=60))
def test_no_more_go_on_than_burst_and_rate_allow(steps: list[tuple[float, int]]) -> None:
    bucket, rate, burst, passed, now = Arrivals(tokens=10, at=0.0), 2.0, 10.0, 0, 0.0
    for seconds, wanted in steps:
        now += seconds
        granted, bucket = take(refill(bucket, rate, burst, now), wanted)
        passed += granted
        assert passed <= burst + rate * now + 1e-6


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    assert refill(Arrivals(tokens=3, at=10.0), 1.0, 5.0, 4.0) == Arrivals(tokens=3, at=10.0)


def test_one_who_waits_as_told_may_go_on() -> None:
    empty = Arrivals(tokens=0.5, at=0.0)
    assert take(refill(empty, 4.0, 10.0, wait_s(empty, 4.0, 3)), 3)[0] == 3
