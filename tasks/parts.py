"""A wave that is shared: its parts are runs of their own on the work pool, and a part whose run died is run again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from prefect import get_run_logger

from edge.errors import OperationFailed
from edge.model.order import Blocks
from edge.model.rollout import Act, Wave
from edge.policy.rollout_leases import part_lease, parts_prefix
from tasks.driving import check_kept
from tasks.holding import count_of_parts, sites_of_part
from tasks.rollout import RolloutJob
from tasks.starting import Standing, standing, start_run

DEPLOYMENT = "roll-out-part/default"
LOOK_S = 1.0
STARTED_WITHIN_S = 60.0
"""How long a run may take from its start until it holds its part, before another is asked for."""


MOST_BROKEN = 3
"""After so many runs of a part in a row that broke before they held it, the rollout's own run gives up."""


class Asked(NamedTuple):
    """The run that was asked for, when, and how many before it broke before they held the part."""

    run: str
    at: float
    broken: int = 0


class Parts:
    """Carries waves out by as many runs as the strategy says, and asks for another run for what a dead one left.

    The pool must have room for one run more than that: whoever asks waits for them.
    """

    def __init__(self, job: RolloutJob, blocks: Blocks) -> None:
        self._job = job
        self._blocks = blocks
        self._asked: dict[int, Asked] = {}

    def work(self, wave: Wave, show: Callable[[], None]) -> None:
        """Return when no more sites of the wave are to be begun and no run has a part of it any more.

        `show` is called at each look. Raises NotYet when another run carries the rollout out by now, OperationFailed
        when the runs it asks for break before they begin.
        """
        self._asked.clear()
        while True:
            check_kept(self._job)
            held = self._job.ledger.leases.held(parts_prefix(self._job.plan.rollout_id, wave.index))
            wanted = self._wanted(wave)
            if not held and not wanted:
                return
            self._ask_for_missing(wave, held, wanted)
            show()
            time.sleep(LOOK_S)

    def _ask_for_missing(self, wave: Wave, held: frozenset[str], wanted: frozenset[str]) -> None:
        count = count_of_parts(self._job.plan, wave)
        for part in range(count):
            if part_lease(self._job.plan.rollout_id, wave.index, part) in held:
                self._asked.pop(part, None)  # it has come: when it is gone, another is asked for at once
            elif wanted.intersection(sites_of_part(wave, part, count)):
                self._ask_unless_on_its_way(wave, part, count)

    def _ask_unless_on_its_way(self, wave: Wave, part: int, count: int) -> None:
        asked = self._asked.get(part)
        if asked is None:
            self._ask(wave, part, count, 0)
            return
        stands = standing(asked.run)
        broken = asked.broken + (stands is Standing.BROKEN)
        if broken >= MOST_BROKEN:
            remedy = "Look at the runs' logs; `tend-rollouts` takes the rollout up again"
            raise OperationFailed("The runs of a part end before they begin", remedy=remedy, run=asked.run, part=part)
        is_late = stands is Standing.AT_WORK and time.monotonic() - asked.at > STARTED_WITHIN_S
        if is_late or stands in (Standing.ENDED, Standing.BROKEN):
            self._ask(wave, part, count, broken)

    def _wanted(self, wave: Wave) -> frozenset[str]:
        """Sites of the wave that are to be begun, and those that a dead run had begun."""
        facts, _ = self._job.facts()
        act = self._job.next_act()
        begun = facts.working.intersection(wave.sites)
        return begun.union(act.sites) if act.act is Act.WORK and act.wave == wave.index else begun

    def _ask(self, wave: Wave, part: int, count: int, broken: int) -> None:
        said = {"rollout": self._job.plan.rollout_id, "wave": wave.index, "part": part, "of": count}
        run = start_run(DEPLOYMENT, {**said, **self._blocks.model_dump(exclude_defaults=True)})
        self._asked[part] = Asked(run, time.monotonic(), broken)
        get_run_logger().info("Wave %s: part %d of %d is run %s", wave.name, part + 1, count, run)
