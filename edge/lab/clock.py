"""The lab's own time, so that a day at a site can pass in a minute.

Everything inside the lab (controllers, weather, tokens, Azure's operations) reads this clock and never the machine's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class LabClock:
    """Lab time: it starts at the machine's time plus `offset` seconds and runs `rate` times as fast."""

    def __init__(self, rate: float = 1.0, offset: float = 0.0) -> None:
        self.rate = rate
        self._origin = datetime.now(UTC) + timedelta(seconds=offset)
        self._lab_base = 0.0
        self._real_base = time.monotonic()
        self._on_change: list[Callable[[], None]] = []

    def monotonic(self) -> float:
        """Lab seconds since the lab started. Never goes back."""
        return self._lab_base + (time.monotonic() - self._real_base) * self.rate

    def now(self) -> datetime:
        """Lab time, UTC."""
        return self._origin + timedelta(seconds=self.monotonic())

    async def sleep(self, lab_seconds: float) -> None:
        """Wait for so many lab seconds, at the rate of the moment the wait begins."""
        await asyncio.sleep(max(0.0, lab_seconds) / self.rate)

    def set_rate(self, rate: float) -> None:
        """From now on, lab time runs `rate` times as fast as real time."""
        self._rebase(self.monotonic())
        self.rate = rate
        self._tell()

    def advance(self, lab_seconds: float) -> None:
        """Let so many lab seconds pass at once."""
        self._rebase(self.monotonic() + max(0.0, lab_seconds))
        self._tell()

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call this back when the rate was changed or time was advanced."""
        self._on_change.append(callback)

    def _rebase(self, lab_now: float) -> None:
        self._lab_base, self._real_base = lab_now, time.monotonic()

    def _tell(self) -> None:
        for callback in self._on_change:
            callback()


class SiteClock(LabClock):
    """What one site takes for the time: the lab's clock, wrong by `skew_s` seconds while the weather says so."""

    def __init__(self, base: LabClock) -> None:
        self._base = base
        self.skew_s = 0.0

    @property
    def rate(self) -> float:  # type: ignore[override]  # the base class stores it, a site has the lab's
        """The lab's rate."""
        return self._base.rate

    def monotonic(self) -> float:
        """Lab seconds since the lab started; a wrong clock does not touch it."""
        return self._base.monotonic()

    def now(self) -> datetime:
        """The time this site believes it is, UTC."""
        return self._base.now() + timedelta(seconds=self.skew_s)
