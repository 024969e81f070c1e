"""A wave that is shared: its parts are runs of their own on the work pool, and a part whose run died is run again."""

from __future__ import annotations

import time

from prefect import get_run_logger

from edge.model.order import Blocks
from edge.model.rollout import Act, Wave
from tasks.holding import part_lease, parts_prefix
from tasks.rollout import RolloutJob
from tasks.starting import start_run

DEPLOYMENT = "roll-out-part/default"
LOOK_S = 1.0
STARTED_WITHIN_S = 60.0
"""How long a run may take from its request until it holds its part, before another is asked for."""


class Parts:
    """Carries waves out by as many runs as the strategy says, and asks for another run for what a dead one left.

    The pool must have room for one run more than that: whoever asks waits for them.
    """

    def __init__(self, job: RolloutJob, blocks: Blocks) -> None:
        self._job = job
        self._count = job.plan.strategy.runs
        self._blocks = blocks
        self._asked: dict[int, float] = {}

    def work(self, wave: Wave, _sites: tuple[str, ...]) -> None:
        """Return when no more sites of the wave are to be begun and no run has a part of it any more."""
        self._asked.clear()
        while True:
            held = self._job.ledger.leases.held(parts_prefix(self._job.plan.rollout_id, wave.index))
            wanted = self._wanted(wave)
            if not held and not wanted:
                return
            for part in range(self._count):
                name = part_lease(self._job.plan.rollout_id, wave.index, part)
                if name in held:
                    self._asked[part] = float("-inf")  # it has come: when it is gone, the next one is due at once
                elif wanted.intersection(sites_of_part(wave, part, self._count)) and self._is_due(part):
                    self._ask(wave, part)
            time.sleep(LOOK_S)

    def _wanted(self, wave: Wave) -> frozenset[str]:
        """Sites of the wave that are to be begun, and those that a dead run had begun."""
        facts, _ = self._job.facts()
        act = self._job.next_act()
        begun = facts.working.intersection(wave.sites)
        return begun.union(act.sites) if act.act is Act.WORK and act.wave == wave.index else begun

    def _is_due(self, part: int) -> bool:
        return time.monotonic() - self._asked.get(part, float("-inf")) > STARTED_WITHIN_S

    def _ask(self, wave: Wave, part: int) -> None:
        self._asked[part] = time.monotonic()
        said = {"rollout": self._job.plan.rollout_id, "wave": wave.index, "part": part, "of": self._count}
        run = start_run(DEPLOYMENT, {**said, **self._blocks.model_dump()})
        get_run_logger().info("Wave %s: part %d of %d is run %s", wave.name, part + 1, self._count, run)


def sites_of_part(wave: Wave, part: int, of: int) -> tuple[str, ...]:
    """The wave's sites that this part has: every `of`-th one, so that parts are alike."""
    return wave.sites[part::of]
