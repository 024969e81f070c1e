"""One heap of timers for the whole lab: a thousand idle sites cost nothing, and a waiting pod costs one entry.

Not thread-safe: everything happens on the server's event loop.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable

from edge.lab.clock import LabClock

_log = logging.getLogger(__name__)


class Timer:
    """One planned call. `cancel` makes it do nothing."""

    __slots__ = ("call", "due")

    def __init__(self, due: float, call: Callable[[], None] | None) -> None:
        self.due = due
        self.call = call

    def cancel(self) -> None:
        """Forget the call; the entry leaves the heap when it comes up."""
        self.call = None


class Timers:
    """Calls planned in lab seconds. Calls that are due run one after another, in order of time."""

    def __init__(self, clock: LabClock) -> None:
        self.clock = clock
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_due = float("inf")
        clock.on_change(self._rearm)

    def after(self, lab_seconds: float, call: Callable[[], None]) -> Timer:
        """Plan a call in so many lab seconds; 0 means as soon as the present event is done."""
        timer = Timer(self.clock.monotonic() + lab_seconds, call)
        heapq.heappush(self._heap, (timer.due, next(self._count), timer))
        if timer.due < self._alarm_due:
            self._arm(timer.due)
        return timer

    def __len__(self) -> int:
        return len(self._heap)

    def _rearm(self) -> None:
        if self._heap:
            self._arm(self._heap[0][0])

    def _arm(self, due: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_due = due
        wait = max(0.0, due - self.clock.monotonic()) / self.clock.rate
        self._alarm = asyncio.get_running_loop().call_later(wait, self._ring)

    def _ring(self) -> None:
        now = self.clock.monotonic()
        self._alarm, self._alarm_due = None, float("inf")
        for _ in range(256):  # then let requests have their turn
            if not self._heap or self._heap[0][0] > now:
                break
            _run(heapq.heappop(self._heap)[2])
        self._rearm()


def _run(timer: Timer) -> None:
    call, timer.call = timer.call, None
    if call is None:
        return
    try:
        call()
    except Exception:  # noqa: BLE001 - one broken object must not stop the lab; the log says which
        _log.exception("a lab timer failed")
