"""Maintenance windows: by the site's own clock, through the two days a year on which that clock is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import InvalidInput
from edge.model.rollout import Window
from edge.policy.windows import ALWAYS, is_open, next_open

HOUR, DAY = 3600.0, 86400.0
NIGHT = Window(cron="30 2 * * *", duration_s=HOUR)


def at(said: str) -> datetime:
    return datetime.fromisoformat(said).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("windows", "zone", "now", "opens", "closes"),
    [
        ([NIGHT], "UTC", "2026-05-01T00:00", "2026-05-01T02:30", "2026-05-01T03:30"),
        ([NIGHT], "UTC", "2026-05-01T03:00", "2026-05-01T02:30", "2026-05-01T03:30"),
        ([NIGHT], "UTC", "2026-05-01T02:30", "2026-05-01T02:30", "2026-05-01T03:30"),
        ([NIGHT], "UTC", "2026-05-01T03:30", "2026-05-02T02:30", "2026-05-02T03:30"),
        ([NIGHT], "Asia/Tokyo", "2026-05-01T00:00", "2026-05-01T17:30", "2026-05-01T18:30"),
        ([NIGHT], "Europe/Berlin", "2026-01-10T00:00", "2026-01-10T01:30", "2026-01-10T02:30"),
        ([NIGHT], "Europe/Berlin", "2026-07-10T00:00", "2026-07-10T00:30", "2026-07-10T01:30"),
        ([NIGHT], "Europe/Berlin", "2026-03-29T00:00", "2026-03-29T01:00", "2026-03-29T02:00"),
        ([NIGHT], "America/New_York", "2026-03-08T05:00", "2026-03-08T07:00", "2026-03-08T08:00"),
        ([NIGHT], "Australia/Lord_Howe", "2026-10-03T12:00", "2026-10-03T15:30", "2026-10-03T16:30"),
        (
            [NIGHT.model_copy(update={"duration_s": 2 * HOUR})],
            "Europe/Berlin",
            "2026-10-25T01:20",
            "2026-10-25T00:30",
            "2026-10-25T02:30",
        ),
        ([NIGHT], "Europe/Berlin", "2026-10-25T00:00", "2026-10-25T00:30", "2026-10-25T01:30"),
        ([NIGHT], "Europe/Berlin", "2026-10-25T01:30", "2026-10-26T01:30", "2026-10-26T02:30"),
        (
            [Window(cron="0 22 * * fri", duration_s=60 * HOUR)],
            "Europe/Berlin",
            "2026-10-25T12:00",
            "2026-10-23T20:00",
            "2026-10-26T08:00",
        ),
        (
            [Window(cron="0 0 * * mon", duration_s=7 * DAY)],
            "UTC",
            "2026-05-03T23:59",
            "2026-04-27T00:00",
            "2026-05-04T00:00",
        ),
        (
            [NIGHT.model_copy(update={"time_zone": "Asia/Tokyo"})],
            "America/New_York",
            "2026-05-01T00:00",
            "2026-05-01T17:30",
            "2026-05-01T18:30",
        ),
        (
            [Window(cron="0 0 29 2 *", duration_s=HOUR)],
            "UTC",
            "2096-03-01T00:00",
            "2104-02-29T00:00",
            "2104-02-29T01:00",
        ),
    ],
    ids=[
        "before it opens",
        "while it is open",
        "at the moment it opens",
        "at the moment it closes",
        "in a zone ahead",
        "in winter",
        "in summer",
        "the hour that is skipped opens at the first moment that exists",
        "skipped in another zone",
        "where only half an hour is skipped",
        "still open in the repeated hour",
        "the hour that is repeated opens the first time",
        "and not the second time",
        "over a week-end with a change of the clock",
        "as long as a week",
        "a window with a zone of its own",
        "a leap day after a century without one",
    ],
)
def test_a_window_opens_by_the_sites_own_clock(
    windows: list[Window], zone: str, now: str, opens: str, closes: str
) -> None:
    assert next_open(windows, zone, at(now)) == (at(opens), at(closes))


def test_a_site_without_windows_is_always_open() -> None:
    now = at("2026-05-01T00:00")
    assert next_open((), "Asia/Tokyo", now) == (now, ALWAYS)
    assert is_open((), "Asia/Tokyo", now, fits_s=1e9)


def test_a_window_that_never_opens_has_no_next_opening() -> None:
    never = Window(cron="0 0 30 2 *", duration_s=HOUR)
    assert next_open([never], "UTC", at("2026-05-01T00:00")) is None
    assert next_open([never, NIGHT], "UTC", at("2026-05-01T00:00")) == (at("2026-05-01T02:30"), at("2026-05-01T03:30"))


MORNING = Window(cron="30 3 * * sat", duration_s=HOUR)


@pytest.mark.parametrize(
    ("windows", "now", "fits_s", "opens"),
    [
        ([NIGHT], "2026-05-01T03:00", 1800, "2026-05-01T02:30"),
        ([NIGHT], "2026-05-01T03:00", 1801, "2026-05-02T02:30"),
        ([NIGHT], "2026-05-01T03:00", 3601, None),
        ([NIGHT, MORNING], "2026-05-01T00:00", 2 * HOUR, "2026-05-02T02:30"),
        ([NIGHT, MORNING], "2026-05-02T03:15", 75 * 60, "2026-05-02T02:30"),
        ([Window(cron="* * * * *", duration_s=60)], "2026-05-01T03:00", 6 * HOUR, "2026-05-01T03:00"),
        ([Window(cron="*/10 * * * *", duration_s=300)], "2026-05-01T03:06", 300, "2026-05-01T03:10"),
    ],
    ids=[
        "the work just fits",
        "too late today",
        "longer than the window",
        "only where two windows meet",
        "into the window that follows",
        "windows without a gap",
        "the next of many",
    ],
)
def test_work_must_fit_into_what_is_left_of_a_window(
    windows: list[Window], now: str, fits_s: float, opens: str | None
) -> None:
    found = next_open(windows, "UTC", at(now), fits_s=fits_s)
    assert (found and found.opens) == (opens and at(opens))
    assert is_open(windows, "UTC", at(now), fits_s=fits_s) == (opens is not None and at(opens) <= at(now))


@pytest.mark.parametrize(
    "cron",
    [
        "0 2 * *",
        "0 2 * * * *",
        "@daily",
        "R R * * *",
        "H 2 * * *",
        "61 2 * * *",
        "0 2 * * someday",
        "",
        "0 2 * * 5-",
        "a",
    ],
)
def test_a_cron_that_means_nothing_or_something_else_each_time_is_refused(cron: str) -> None:
    with pytest.raises(InvalidInput, match="no cron expression") as caught:
        next_open([Window(cron=cron, duration_s=HOUR)], "UTC", at("2026-05-01T00:00"))
    assert caught.value.where == {"field": "windows.cron", "value": cron}


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "../etc/passwd", "", "Europe"])
def test_a_time_zone_that_does_not_exist_is_refused(zone: str) -> None:
    with pytest.raises(InvalidInput, match="no such time zone") as caught:
        next_open([NIGHT], zone, at("2026-05-01T00:00"))
    assert caught.value.where["value"] == zone


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
CRONS = st.sampled_from(["30 2 * * *", "0 */6 * * *", "15 1 * * sun", "0 22 28-31 * *", "*/20 1-3 * * *"])
WINDOWS = st.lists(st.builds(Window, cron=CRONS, duration_s=st.integers(1, 40).map(lambda n: n * 900.0)), max_size=3)
MOMENTS = st.datetimes(datetime(2026, 3, 1), datetime(2026, 11, 15)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001  hypothesis wants its bounds without a zone


@given(WINDOWS, ZONES, MOMENTS)
@settings(deadline=None, max_examples=60)
def test_a_window_is_open_from_the_moment_it_says_and_not_before(
    windows: list[Window], zone: str, now: datetime
) -> None:
    found = next_open(windows, zone, now)
    assert found is not None
    assert found.closes > now
    assert is_open(windows, zone, max(found.opens, now))
    if found.opens > now:
        assert not is_open(windows, zone, now)
        assert not is_open(windows, zone, now + (found.opens - now) / 2)
        assert not is_open(windows, zone, found.opens - timedelta(seconds=1))


@given(ZONES, MOMENTS)
@settings(deadline=None, max_examples=60)
def test_a_daily_window_opens_once_on_each_day_of_the_wall(zone: str, now: datetime) -> None:
    opened: list[datetime] = []
    while len(opened) < 5:
        found = next_open([Window(cron="30 2 * * *", duration_s=60)], zone, now)
        assert found is not None
        opened.append(found.opens)
        now = found.closes
    days = [moment.astimezone(ZoneInfo(zone)).date() for moment in opened]
    assert days == [days[0] + timedelta(days=number) for number in range(5)]
