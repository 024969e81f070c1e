"""Runs that are thought dead and come back: who may begin a site, and whose word about it counts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.errors import NotYet
from edge.ledger import Ledger
from edge.model.order import Blocks
from edge.model.outcome import Outcome, Status
from edge.model.rollout import Strategy
from edge.model.site import Site
from edge.policy.rollout_leases import part_lease, rollout_lease
from edge.settings import Settings
from tasks.driving import check_kept
from tasks.holding import free_dead_sites
from tasks.rollout import RolloutJob, open_rollout
from tasks.waves import work_through
from tests.contract.ledger_rollouts import begun, facts
from tests.contract.rollout_world import RolloutWorld, write_stamp

SITES = ("site-0001", "site-0002", "site-0003")
LONG, OVER = timedelta(minutes=1), timedelta()
SHARED = Strategy(canary="0", waves=("100%",), failure_budget="3", concurrency=2, runs=2)
"""Two parts: the first has the first and the third site."""


@pytest.fixture
def job(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RolloutJob]:
    monkeypatch.setenv("EDGE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with Ledger.open(Settings().ledger) as ledger:
        world = RolloutWorld(lab, ledger)
        world.add(*SITES)
        order = world.order(write_stamp(tmp_path / "s", "overtaken", "1.0.0"), SHARED, SITES)
        with open_rollout(order, Blocks()) as opened:
            yield opened


def test_a_run_that_another_has_taken_over_from_begins_no_site_and_its_word_does_not_count(job: RolloutJob) -> None:
    job.lease = rollout_lease(job.plan.rollout_id)
    assert job.ledger.leases.take(job.lease, by=job.holder, lasting=OVER)
    at_work: list[str] = []

    def act(site: Site) -> Outcome:
        at_work.append(site.name)
        assert job.ledger.leases.take(job.lease, by="successor", lasting=LONG)
        return Outcome(subject=site.name, status=Status.FAILED)

    work_through(job, SITES, act)
    assert at_work == ["site-0001"]
    assert job.outcomes() == {}
    with pytest.raises(NotYet):
        check_kept(job)


def test_a_lease_whose_time_is_over_counts_until_somebody_takes_it(job: RolloutJob) -> None:
    job.lease = rollout_lease(job.plan.rollout_id)
    assert job.ledger.leases.take(job.lease, by=job.holder, lasting=OVER)
    work_through(job, SITES, lambda site: Outcome(subject=site.name, status=Status.SUCCEEDED))
    assert set(job.outcomes()) == set(SITES)


def test_sites_of_a_part_are_free_when_its_run_is_dead_and_only_then(job: RolloutJob) -> None:
    rollouts, leases, rollout_id = job.ledger.rollouts, job.ledger.leases, job.plan.rollout_id
    for part, by, lasting, site in ((0, "alive", LONG, SITES[0]), (1, "dead", OVER, SITES[1])):
        name = part_lease(rollout_id, 0, part)
        assert leases.take(name, by=by, lasting=lasting)
        assert rollouts.begin_site(rollout_id, site, lease=name, by=by)
    free_dead_sites(job)
    assert rollouts.facts(rollout_id, now=datetime.now(UTC)).working == {SITES[0]}
    said = Outcome(subject=SITES[1], status=Status.FAILED)
    assert not rollouts.end_site(rollout_id, said, lease=part_lease(rollout_id, 0, 1), by="dead")
    assert job.outcomes() == {}


def test_a_site_is_begun_by_one_run_alone(ledger: Ledger) -> None:
    begun(ledger)
    for lease in ("one", "other"):
        ledger.leases.take(lease, by=lease, lasting=LONG)
    assert ledger.rollouts.begin_site("r1", "s1", lease="one", by="one")
    assert not ledger.rollouts.begin_site("r1", "s1", lease="other", by="other")
    assert not ledger.rollouts.begin_site("r1", "s2", lease="one", by="other")
    assert facts(ledger).working == {"s1"}


def test_a_site_that_has_ended_is_not_begun(ledger: Ledger) -> None:
    begun(ledger)
    ledger.leases.take("one", by="one", lasting=LONG)
    assert ledger.rollouts.end_site("r1", Outcome(subject="s1", status=Status.SKIPPED), lease="one", by="one")
    assert not ledger.rollouts.begin_site("r1", "s1", lease="one", by="one")
