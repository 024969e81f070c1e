"""A rollout that dies by SIGKILL between any two steps is finished by the next run, which repeats no finished step."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.ledger import Ledger
from edge.model.outcome import Status
from edge.model.rollout import RolloutState
from edge.model.site import Site, SiteState
from tests.contract.rollout_world import write_stamp
from tests.rollout_check import applied

DRIVER = Path(__file__).with_name("rollout_killed_at.py")
SITES = ("site-0013", "site-0014")
STAMP = "killed"


@pytest.fixture
def ledger(platform: Any) -> Iterator[Ledger]:
    with Ledger.open(platform.addresses.ledger_url) as opened:
        known = {site.name for site in opened.sites.list()}
        for site in SITES:
            if site not in known:
                opened.sites.put(Site(name=site, state=SiteState.CONNECTED))
        yield opened


def roll_out(platform: Any, stamp: Path, dies_at: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DRIVER), str(stamp), str(dies_at), *SITES],
        env=platform.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def stamp_at(folder: Path, boundary: int) -> Path:
    """The same stamp under another version and with other data, so that each case is a rollout of its own."""
    return write_stamp(folder, STAMP, f"1.0.{boundary}", killed_at=str(boundary))


def applies(platform: Any, site: str) -> Counter[str]:
    """How often each of the stamp's objects was applied to a site, as the lab saw it."""
    return Counter(request["path"] for request in applied(platform.lab.requests(site), STAMP))


def test_a_rollout_killed_at_a_boundary_ends_with_every_site_stamped(
    platform: Any, ledger: Ledger, tmp_path: Path, sampled: Callable[[int], list[int]]
) -> None:
    whole = roll_out(platform, stamp_at(tmp_path, 0), dies_at=0)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    boundaries = int(whole.stdout.strip().splitlines()[-1].split()[0])
    assert boundaries >= 3 * 2 * len(SITES), "each site has three steps, each intended and done"
    for boundary in sampled(boundaries):
        before = {site: applies(platform, site) for site in SITES}
        stamp = stamp_at(tmp_path, boundary)
        killed = roll_out(platform, stamp, dies_at=boundary)
        assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
        resumed = roll_out(platform, stamp, dies_at=0)
        assert resumed.returncode == 0, f"boundary {boundary}: {resumed.stdout}{resumed.stderr}"
        check_ended_well(platform, ledger, boundary, before)
    assert ledger.audit.verify()


def check_ended_well(platform: Any, ledger: Ledger, boundary: int, before: dict[str, Counter[str]]) -> None:
    """Every site is stamped, by one rollout, and was applied to as often as its apply step was begun."""
    rollouts = [found for found in ledger.rollouts.list() if found.plan.version == f"1.0.{boundary}"]
    assert len(rollouts) == 1, "the second run goes on with the first one's rollout"
    rollout = ledger.rollouts.get(rollouts[0].plan.rollout_id)
    assert rollout.state is RolloutState.SUCCEEDED
    assert {row.status for row in rollout.sites} == {Status.SUCCEEDED}
    for site in SITES:
        records = ledger.steps.records(f"rollout:{rollout.plan.rollout_id}", site)
        tries = {record.key.step: record.tries for record in records}
        counts = applies(platform, site) - before[site]
        assert counts, f"boundary {boundary}: nothing was applied to {site}"
        assert max(counts.values()) <= tries["apply"] <= 2, f"boundary {boundary}, {site}: {counts} in {tries}"
