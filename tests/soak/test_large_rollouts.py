"""Large rollouts, run by `make soak` and not by `make test`: minutes, and numbers for docs/measurements.md."""

from __future__ import annotations

import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from deployments.local.platform import LocalPlatform
from edge.ledger import Ledger
from edge.model.outcome import Status
from edge.model.rollout import Rollout, RolloutState, Strategy
from tests.conftest import RunningLab
from tests.contract.rollout_world import write_stamp
from tests.rollout_check import (
    LOOK_S,
    Dead,
    Fleet,
    Memory,
    Runs,
    await_end,
    check_objects,
    check_rollout,
    kill_one_with_a_part,
    make_fleet,
    rollouts_of,
)

WITHIN_S = 1800.0
pytestmark = pytest.mark.timeout(2 * WITHIN_S)
SETTINGS = {"EDGE_CLAIM_S": "20"}
STAMP = "large"
DATA = {"colour": "red"}


@pytest.mark.parametrize(
    ("sites", "dark", "bad", "kills"),
    [
        pytest.param(1000, 50, 20, True, id="1000-with-a-worker-killed-half-way"),
        pytest.param(3000, 300, 60, False, id="3000-with-300-dark"),
    ],
)
def test_a_large_rollout_ends_as_its_strategy_says(
    sites: int, dark: int, bad: int, kills: bool, tmp_path: Path
) -> None:
    local = LocalPlatform(tmp_path, workers=2, runs_each=2)
    try:
        addresses = local.start(sites=sites, scenario=None, settings=SETTINGS)
        with Ledger.open(addresses.ledger_url) as ledger:
            fleet = make_fleet(RunningLab(addresses.lab), ledger, dark=dark, bad=bad)
            _soak(local, ledger, fleet, kills=kills)
    finally:
        local.stop()


def _soak(local: LocalPlatform, ledger: Ledger, fleet: Fleet, *, kills: bool) -> None:
    addresses = local.addresses()
    assert addresses is not None
    lab, runs = RunningLab(addresses.lab), Runs(addresses)
    strategy = Strategy(waves=("100%",), failure_budget="5%", concurrency=32, site_deadline_s=120, runs=2)
    stamp = write_stamp(local.home / "stamp", STAMP, "1.0.0", **DATA)
    runs.start("roll-out-stamp/default", stamp=str(stamp), strategy=strategy.model_dump(mode="json"))
    memory = Memory(local, runs)
    dead = _watch(local, ledger, memory, runs, len(fleet.sites) // 2 if kills else len(fleet.sites))
    rollout = await_end(runs, ledger, STAMP, WITHIN_S)
    _tell(rollout, memory, dead, runs)
    tries = check_rollout(ledger, lab, rollout, fleet, STAMP)
    sys.stdout.write(f"applied once {tries[1]}, twice {tries[2]}\n")
    check_objects(addresses, fleet.good, STAMP, DATA)
    _catch_up(runs, ledger, lab, fleet)
    check_objects(addresses, fleet.dark, STAMP, DATA)


def _watch(local: LocalPlatform, ledger: Ledger, memory: Memory, runs: Runs, until: int) -> Dead | None:
    """Until so many sites have ended; then kill a worker, unless those were all."""
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end:
        memory.look()
        rollout = next(iter(ledger.rollouts.list()), None)
        tally = ledger.rollouts.tally(rollout.plan.rollout_id) if rollout else Counter()
        ended = sum(tally.values()) - tally[None]
        if tally and ended >= until:
            dead = kill_one_with_a_part(local, runs) if tally[None] else None
            if dead is not None or not tally[None]:
                return dead
        time.sleep(5 * LOOK_S)
    return pytest.fail(f"not within {WITHIN_S:g} s")


def _tell(rollout: Rollout, memory: Memory, dead: Dead | None, runs: Runs) -> None:
    assert rollout.ended_at is not None
    seconds = (rollout.ended_at - rollout.started_at).total_seconds()
    said = Counter(str(row.status) for row in rollout.sites)
    sys.stdout.write(f"\n{len(rollout.sites)} sites in {seconds:.0f} s, {len(rollout.sites) / seconds:.1f} a second: ")
    sys.stdout.write(f"{', '.join(f'{count} {status}' for status, count in sorted(said.items()))}\n")
    sys.stdout.write(f"most memory in MiB: {dict(memory.peak)}\n")
    if dead is not None:
        sys.stdout.write(f"killed with a worker: {len(dead.runs)} runs; the first of its sites ended ")
        sys.stdout.write(f"{_first_after(rollout, dead, runs):.0f} s later\n")


def _first_after(rollout: Rollout, dead: Dead, runs: Runs) -> float:
    """Seconds from the kill until the first site of a dead run's part had ended."""
    ended: dict[str, datetime] = {row.site: row.ended_at for row in rollout.sites if row.ended_at}
    given = [found for found in map(runs.parameters, dead.runs.values()) if "part" in found]
    mine = {site for one in given for site in rollout.plan.waves[one["wave"]].sites[one["part"] :: one["of"]]}
    return min((ended[site] - dead.at).total_seconds() for site in mine if ended[site] > dead.at)


def _catch_up(runs: Runs, ledger: Ledger, lab: RunningLab, fleet: Fleet) -> None:
    assert {item.site for item in ledger.catch_ups.open()} == set(fleet.dark)
    for site in fleet.dark:
        lab.lift(site)
    runs.ended(runs.start("catch-up/default"), WITHIN_S)
    assert ledger.catch_ups.open() == ()
    late = next(rollouts_of(ledger, STAMP))
    assert late.state is RolloutState.SUCCEEDED
    assert {row.site: row.status for row in late.sites} == dict.fromkeys(fleet.dark, Status.SUCCEEDED)
