"""Two workers share a rollout, and one of them dies with all it does: its sites are finished by runs of the others.

The run that shares the rollout out dies as well, and whoever tends rollouts puts another in its place.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.local.platform import LocalPlatform
from edge.ledger import Ledger
from edge.model.outcome import Status
from edge.model.rollout import RolloutState, Strategy
from tests.conftest import RunningLab
from tests.contract.rollout_world import write_stamp
from tests.rollout_check import (
    LOOK_S,
    Dead,
    Fleet,
    Runs,
    await_end,
    check_objects,
    check_rollout,
    kill_one_with_a_part,
    kill_whoever_shares_out,
    make_fleet,
    rollouts_of,
)

SITES, DARK, BAD = 24, 2, 2
STAMP = "shared"
WITHIN_S = 180.0
SETTINGS = {"EDGE_CLAIM_S": "4", "EDGE_POLICY": "warn"}
SHARED = Strategy(waves=("100%",), failure_budget="3", concurrency=6, site_deadline_s=60, runs=2)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    running = LocalPlatform(tmp_path_factory.mktemp("shared"), workers=2, runs_each=2)
    try:
        running.start(sites=SITES, scenario=None, settings=SETTINGS)
        yield running
    finally:
        running.stop()


def kill_half_way(local: LocalPlatform, runs: Runs, ledger: Ledger) -> Dead:
    """Once a third of the sites have ended."""
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end:
        tallies = [ledger.rollouts.tally(one.plan.rollout_id) for one in ledger.rollouts.list()]
        if tallies and sum(tallies[0].values()) - tallies[0][None] >= SITES // 3:
            dead = kill_one_with_a_part(local, runs)
            if dead is not None:
                return dead
        time.sleep(LOOK_S)
    return pytest.fail("no part of the rollout was ever under way")


def test_a_worker_that_dies_is_replaced_and_its_sites_are_finished_by_others(
    local: LocalPlatform, tmp_path: Path
) -> None:
    addresses = local.addresses()
    assert addresses is not None
    stamp = write_stamp(tmp_path, STAMP, "1.0.0", colour="red")
    lab, runs = RunningLab(addresses.lab), Runs(addresses)
    with Ledger.open(f"sqlite:///{local.home / 'ledger.db'}") as ledger:
        fleet = make_fleet(lab, ledger, dark=DARK, bad=BAD)
        for site in fleet.good:
            lab.fault(site, "slow", latency_s=0.05, jitter_s=0)
        runs.start("roll-out-stamp/default", stamp=str(stamp), strategy=SHARED.model_dump(mode="json"))
        dead = kill_half_way(local, runs, ledger)
        kill_whoever_shares_out(local, runs)
        rollout = await_end(runs, ledger, STAMP, WITHIN_S)
        tries = check_rollout(ledger, lab, rollout, fleet, STAMP)
        assert sum(tries.values()) == len(fleet.good)
        assert any(row.ended_at and row.ended_at > dead.at for row in rollout.sites), "it was killed after the end"
        check_objects(addresses, fleet.good, STAMP, {"colour": "red"})
        catch_up(runs, ledger, lab, fleet)
        check_objects(addresses, fleet.dark, STAMP, {"colour": "red"})


def catch_up(runs: Runs, ledger: Ledger, lab: RunningLab, fleet: Fleet) -> None:
    """The dark sites come back, and are brought what they missed."""
    assert {item.site for item in ledger.catch_ups.open()} == set(fleet.dark)
    for site in fleet.dark:
        lab.lift(site)
    runs.ended(runs.start("catch-up/default"), WITHIN_S)
    assert ledger.catch_ups.open() == ()
    late = next(rollouts_of(ledger, STAMP))
    assert late.state is RolloutState.SUCCEEDED
    assert {row.site: row.status for row in late.sites} == dict.fromkeys(fleet.dark, Status.SUCCEEDED)
