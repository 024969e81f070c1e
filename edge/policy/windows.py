"""Maintenance windows: when a site may be changed, by its own clock.

A window's cron speaks of the clock on the site's wall, and that clock is neither steady nor complete: in spring an hour
is missing, in autumn one comes twice. Cron is therefore read in wall-clock time, and each opening is then turned into
the one moment that it means. What is missing opens at the first moment that exists; what comes twice opens the first
time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter

from edge.errors import InvalidInput
from edge.model.rollout import Window

ALWAYS: Final = datetime.max.replace(tzinfo=UTC)
"""When something closes that has no windows."""

# croniter has random and hashed fields as well: the same words would not always mean the same.
_FIELD = r"(?:[0-9*,/#-]|\b(?:mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|l)\b)+"
_CRON = re.compile(rf"{_FIELD}(?: +{_FIELD}){{4}}", re.IGNORECASE)
_YEARS: Final = 8
"""The 29th of February is at most so far away (2096 to 2104)."""
_TRIES: Final = 100
"""Openings that are looked at. Most strategies need one or two."""
_MINUTE: Final = timedelta(minutes=1)


class Opening(NamedTuple):
    """From `opens` until `closes` (UTC) at least one window is open without a break."""

    opens: datetime
    closes: datetime


def next_open(windows: Sequence[Window], zone: str, now: datetime, *, fits_s: float = 0.0) -> Opening | None:
    """The opening of now, or the next one, with room for `fits_s` seconds of work from now or from when it opens.

    `zone` is the site's own, for windows that name none. Windows that touch or overlap are one opening. `closes` may be
    earlier than the real end once `fits_s` fits. No windows: open from now on. None: there is no such opening. Raises
    InvalidInput for a cron or a time zone that means nothing.
    """
    if not windows:
        return Opening(now, ALWAYS)
    wall_clocks = [_WallClock(window, zone) for window in windows]
    length = timedelta(seconds=fits_s)
    for opening in islice(_openings(wall_clocks, now, length), _TRIES):
        if opening.closes - max(opening.opens, now) >= length:
            return opening
    return None


def is_open(windows: Sequence[Window], zone: str, now: datetime, *, fits_s: float = 0.0) -> bool:
    """Whether the site may be begun now and have `fits_s` seconds. Raises InvalidInput like `next_open`."""
    found = next_open(windows, zone, now, fits_s=fits_s)
    return found is not None and found.opens <= now


def check_zone(zone: str, *, field: str) -> ZoneInfo:
    """The time zone. Raises InvalidInput naming `field` when there is none of that name."""
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as unknown:
        remedy = "Give a name of the IANA time zone database, such as Europe/Berlin"
        raise InvalidInput("There is no such time zone", field=field, value=zone, remedy=remedy) from unknown


class _WallClock:
    """One window read by one clock."""

    def __init__(self, window: Window, zone: str) -> None:
        self._cron = _parsed(window.cron)
        self._zone = check_zone(window.time_zone or zone, field="windows.time_zone")
        self._stays = timedelta(seconds=window.duration_s)

    def last(self, at: datetime) -> Opening | None:
        """The latest opening that is not after this moment."""
        # In the hour that comes twice the wall shows less than it did before: begin where it would be without that.
        ahead = max(self._offset(at), self._offset(at - timedelta(hours=3)))
        return self._first(self._walls(at, ahead, back=True), lambda opens: opens <= at)

    def first_after(self, at: datetime) -> Opening | None:
        """The earliest opening after this moment."""
        return self._first(self._walls(at, self._offset(at), back=False), lambda opens: opens > at)

    def _first(self, walls: Iterator[datetime], wanted: Callable[[datetime], bool]) -> Opening | None:
        opens = next((moment for moment in map(self._moment, walls) if wanted(moment)), None)
        return None if opens is None else Opening(opens, opens + self._stays)

    def _offset(self, at: datetime) -> timedelta:
        return at.astimezone(self._zone).utcoffset() or timedelta()

    def _walls(self, at: datetime, offset: timedelta, *, back: bool) -> Iterator[datetime]:
        wall = (at.astimezone(UTC).replace(tzinfo=None) + offset).replace(second=0, microsecond=0)
        found = copy(self._cron)
        found.set_current(wall + _MINUTE if back else wall)
        while True:
            try:
                yield found.get_prev(datetime) if back else found.get_next(datetime)
            except CroniterError:  # it never opens
                return

    def _moment(self, wall: datetime) -> datetime:
        first = wall.replace(tzinfo=self._zone).astimezone(UTC)
        if first.astimezone(self._zone).replace(tzinfo=None) == wall:
            return first
        early, late = wall.replace(tzinfo=self._zone, fold=1).astimezone(UTC), first
        while late - early > timedelta(seconds=1):
            middle = (early + (late - early) / 2).replace(microsecond=0)
            early, late = (early, middle) if self._offset(middle) == self._offset(late) else (middle, late)
        return late


@lru_cache(maxsize=256)
def _parsed(cron: str) -> croniter:
    """Parsed once for all sites and every look; whoever walks it takes a copy."""
    if _CRON.fullmatch(cron.strip()) and croniter.is_valid(cron.strip()):
        return croniter(cron.strip(), 0.0, max_years_between_matches=_YEARS)
    remedy = "Write minute, hour, day of month, month and day of week, such as `0 2 * * sat`"
    raise InvalidInput("This is no cron expression of five fields", field="windows.cron", value=cron, remedy=remedy)


def _openings(clocks: Sequence[_WallClock], now: datetime, length: timedelta) -> Iterator[Opening]:
    """The opening of now, if there is one, and those after it, in order."""
    found = _of_now(clocks, now) or _first_after(clocks, now)
    while found is not None:
        opening = _merged(clocks, found, max(found.opens, now) + length)
        yield opening
        found = _first_after(clocks, opening.closes)


def _first_after(clocks: Sequence[_WallClock], at: datetime) -> Opening | None:
    coming = [opening for clock in clocks if (opening := clock.first_after(at)) is not None]
    return min(coming, default=None)


def _of_now(clocks: Sequence[_WallClock], now: datetime) -> Opening | None:
    last = [opening for clock in clocks if (opening := clock.last(now)) is not None]
    return max((opening for opening in last if opening.closes > now), key=lambda found: found.closes, default=None)


def _merged(clocks: Sequence[_WallClock], opening: Opening, enough: datetime) -> Opening:
    """The opening with those that go on where it ends, as far as is `enough`."""
    closes = opening.closes
    while closes < enough:
        ends = [last.closes for clock in clocks if (last := clock.last(closes)) is not None]
        if max(ends) <= closes:
            break
        closes = max(ends)
    return Opening(opening.opens, closes)
