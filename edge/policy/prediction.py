"""What a plan will cost before it is carried out: how long it takes, and how many sites it can break at the worst.

The duration comes from how long sites took in earlier rollouts, put through the waves, windows and soaks of this one as
`next_act` would. The blast radius needs no history: it is what the budgets and the concurrency allow.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

from edge.model.base import Value
from edge.model.outcome import Status
from edge.model.rollout import RolloutPlan, SiteProgress, Wave
from edge.policy.rollout import concurrency_of, rollout_budget
from edge.policy.timing import quantile
from edge.policy.windows import ALWAYS, Opening, next_open


class WavePrediction(Value):
    """One wave, in seconds from the start of the rollout."""

    name: str
    sites: int
    starts_s: float
    ends_s: float
    broken_at_most: int
    """Sites of it that can be broken at once before the rollout stops."""
    changed_by_then: int
    """Sites that have the version when the wave is over, if all goes well."""


class Prediction(Value):
    """What is expected of a plan. `samples`: sites of earlier rollouts it rests on; with none each site is counted with
    its whole deadline.
    """

    waves: tuple[WavePrediction, ...]
    seconds: float
    """From start to end, people's answers not counted."""
    cautious_s: float
    """The same with sites as slow as the slowest twentieth has been."""
    samples: int
    broken_at_most: int
    """Sites of all waves together that can be broken at once before the rollout stops."""
    approvals: int
    """How often it will wait for a person."""


def predict(plan: RolloutPlan, history: Sequence[SiteProgress], now: datetime) -> Prediction:
    """How the plan will go if it starts now and nothing fails. `history`: sites' rows of earlier rollouts.

    A site counts with the median of its own rows, or with that of all; the self-test comes on top.
    """
    good = [row for row in history if row.status is Status.SUCCEEDED and row.seconds > 0]
    seconds = sorted(row.seconds for row in good)
    usual, slow = quantile(seconds, 0.5), quantile(seconds, 0.95)
    deadline_s = plan.strategy.site_deadline_s
    own = _own(good)
    expected = _times(plan, now, lambda site: own.get(site, usual or deadline_s))
    cautious = _times(plan, now, lambda site: max(own.get(site, 0.0), slow or deadline_s))
    return Prediction(
        waves=_waves(plan, expected),
        seconds=expected[-1][1] if expected else 0.0,
        cautious_s=cautious[-1][1] if cautious else 0.0,
        samples=len(good),
        broken_at_most=broken_at_most(plan),
        approvals=sum(len(wave.approval) for wave in plan.waves),
    )


def _own(rows: Sequence[SiteProgress]) -> dict[str, float]:
    by_site = groupby(sorted(rows, key=attrgetter("site", "seconds")), key=attrgetter("site"))
    return {site: quantile([row.seconds for row in mine], 0.5) or 0.0 for site, mine in by_site}


def _waves(plan: RolloutPlan, times: Sequence[tuple[float, float]]) -> tuple[WavePrediction, ...]:
    found: list[WavePrediction] = []
    changed = 0
    for wave, (starts_s, ends_s) in zip(plan.waves, times, strict=True):
        changed += len(wave.sites)
        found.append(
            WavePrediction(
                name=wave.name,
                sites=len(wave.sites),
                starts_s=starts_s,
                ends_s=ends_s,
                broken_at_most=wave_broken_at_most(plan, wave),
                changed_by_then=changed,
            )
        )
    return tuple(found)


def wave_broken_at_most(plan: RolloutPlan, wave: Wave) -> int:
    """Sites of one wave that can fail before no further one is begun: its budget, and what was at work by then."""
    budget = min(wave.failure_budget, rollout_budget(plan))
    return min(len(wave.sites), budget + concurrency_of(plan, wave))


def broken_at_most(plan: RolloutPlan) -> int:
    """Sites of all waves that can fail before the rollout stops: failures that earlier waves got away with count."""
    allowed = rollout_budget(plan)
    worst = tolerated = 0
    for wave in plan.waves:
        here = min(wave.failure_budget, allowed - tolerated)
        worst = max(worst, tolerated + min(len(wave.sites), here + concurrency_of(plan, wave)))
        tolerated = min(allowed, tolerated + wave.failure_budget)
    return worst


def _times(plan: RolloutPlan, now: datetime, seconds_of: Callable[[str], float]) -> list[tuple[float, float]]:
    """Of each wave, in seconds from now: when its first site begins and when its last one ends."""
    times: list[tuple[float, float]] = []
    at = now
    for wave in plan.waves:
        begun, ended = _Clock(plan, seconds_of).run(wave, at)
        times.append(((begun - now).total_seconds(), (ended - now).total_seconds()))
        at = ended + timedelta(seconds=wave.soak_s)
    return times


class _Clock:
    """Runs one wave: as many sites at once as may be, each when its window is open."""

    def __init__(self, plan: RolloutPlan, seconds_of: Callable[[str], float]) -> None:
        self._plan = plan
        self._seconds_of = seconds_of
        strategy = plan.strategy
        self._needs = timedelta(seconds=strategy.site_deadline_s + strategy.self_test_s)
        self._test_s = strategy.self_test_s
        self._openings: dict[str, Opening | None] = {}

    def run(self, wave: Wave, at: datetime) -> tuple[datetime, datetime]:
        queues: dict[str, deque[str]] = {}
        for site in wave.sites:
            queues.setdefault(self._plan.time_zones.get(site, "UTC"), deque()).append(site)
        free = [at] * min(concurrency_of(self._plan, wave), len(wave.sites))
        begun, ended = ALWAYS, at
        while queues:
            slot = heapq.heappop(free)
            starts, zone = min((self._start(zone, slot), zone) for zone in queues)
            site = queues[zone].popleft()
            if not queues[zone]:
                del queues[zone]
            ends = starts + timedelta(seconds=self._seconds_of(site) + self._test_s)
            begun, ended = min(begun, starts), max(ended, ends)
            heapq.heappush(free, ends)
        return begun, ended

    def _start(self, zone: str, slot: datetime) -> datetime:
        found = self._openings.get(zone)
        if zone not in self._openings or (found and max(slot, found.opens) + self._needs > found.closes):
            windows = self._plan.strategy.windows
            found = self._openings[zone] = next_open(windows, zone, slot, fits_s=self._needs.total_seconds())
        # A site without a window that is long enough is skipped, which takes no time.
        return max(slot, found.opens) if found else slot
