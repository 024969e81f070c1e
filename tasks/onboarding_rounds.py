"""Tries the devices of one run, and tries again those whose failure may pass: each after its own pause.

A device that waits for its next try holds no thread, and no other device up.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from prefect.futures import PrefectFuture

from edge.model.bulk import Backoff
from edge.model.outcome import Cause, Outcome, Status
from edge.policy.backoff import is_tried_again, pause_s
from edge.policy.groups import in_groups

TOGETHER_S = 0.5
"""Devices whose next try is due within this time of each other share task runs."""
BUSY_WITHIN_S = 3600.0
"""How long to wait for devices on which other runs work, in seconds."""

Submit = Callable[[tuple[str, ...]], PrefectFuture[list[Outcome]]]


class Rounds:
    """One run's tries. `submit` starts a task run for a group of devices."""

    def __init__(self, submit: Submit, backoff: Backoff, *, drawn: Callable[[], float] = random.random) -> None:
        self._submit = submit
        self._backoff = backoff
        self._drawn = drawn
        self._arrived: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()
        self._running = 0
        self._waiting: list[tuple[float, str]] = []
        self._tries: Counter[str] = Counter()
        self._final: dict[str, Outcome] = {}
        self._busy_until = monotonic() + BUSY_WITHIN_S

    def run(
        self, devices: Sequence[str], progress: Callable[[int], None], *, rate: float | None = None
    ) -> list[Outcome]:
        """How each device ended. `progress` is told how many have. Raises what a task raised: that is a defect.

        With a `rate` so many devices are begun a second, in their order; without, all at once.
        """
        self._arrive(list(dict.fromkeys(devices)), rate)
        while self._running or self._waiting:
            for outcome in self._next_outcomes():
                self._sort(outcome)
            self._begin(self._due())
            progress(len(self._final))
        return [self._final[device] for device in dict.fromkeys(devices)]

    def on_last_try(self, devices: Sequence[str]) -> frozenset[str]:
        """Those of them that this run does not try again if the try that begins now fails."""
        return frozenset(device for device in devices if self._tries[device] + 1 >= self._backoff.tries)

    def _arrive(self, devices: Sequence[str], rate: float | None) -> None:
        if rate is None:
            self._begin(devices)
        else:
            started = monotonic()
            self._waiting = [(started + place / rate, device) for place, device in enumerate(devices)]  # sorted: a heap

    def _begin(self, devices: Sequence[str]) -> None:
        for group in in_groups(devices):
            self._running += 1
            self._submit(group).add_done_callback(self._arrived.put)

    def _next_outcomes(self) -> list[Outcome]:
        """What the next task run that ends answers; nothing when a pause is over first."""
        try:
            future = self._arrived.get(timeout=self._until_due())
        except Empty:
            return []
        self._running -= 1
        outcomes: list[Outcome] = future.result()
        return outcomes

    def _until_due(self) -> float | None:
        return max(0.0, self._waiting[0][0] - monotonic()) if self._waiting else None

    def _due(self) -> list[str]:
        if not self._waiting or self._waiting[0][0] > monotonic():
            return []
        due, soon = [], monotonic() + TOGETHER_S
        while self._waiting and self._waiting[0][0] <= soon:
            due.append(heapq.heappop(self._waiting)[1])
        return due

    def _sort(self, outcome: Outcome) -> None:
        pause = self._pause(outcome)
        if pause is None:
            self._final[outcome.subject] = outcome
        else:
            heapq.heappush(self._waiting, (monotonic() + pause, outcome.subject))

    def _pause(self, outcome: Outcome) -> float | None:
        """Seconds until this device is tried again; None: it has ended."""
        cause = outcome.cause
        if cause is None or not cause.transient:
            return None
        if outcome.status is Status.HELD:  # nothing was tried, so it does not count
            return self._after(cause, 1) if monotonic() < self._busy_until else None
        self._tries[outcome.subject] += 1
        tries = self._tries[outcome.subject]
        return self._after(cause, tries) if is_tried_again(self._backoff, tries, transient=True) else None

    def _after(self, cause: Cause, tries: int) -> float:
        return pause_s(self._backoff, tries, self._drawn(), retry_after_s=cause.retry_after_s)
