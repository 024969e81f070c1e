"""Rollouts to sites that pull: the same plan, waves, verdicts and record as when the platform applies by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from blocks.arc import ArcSubscription
from edge.errors import EdgeError
from edge.ledger import Ledger
from edge.model.order import Blocks
from edge.model.outcome import Status
from edge.model.placement import CatchUpState
from edge.model.rollout import Delivery, OnBrokenBudget, Rollout, RolloutState, Strategy
from edge.model.site import OfflinePolicy, Site
from edge.settings import Settings
from tasks.catching_up import begun_rollouts, look_for, open_catching_up
from tests.contract.rollout_world import MISSING, RolloutWorld, refs, write_stamp
from tests.contract.test_gitops import connect

SITES = ("site-0001", "site-0002")
PLAIN, ARC = "site-0003", "site-0004"
PULLED = Strategy(waves=("100%",), site_deadline_s=20, delivery=Delivery.GITOPS)
BACK = PULLED.model_copy(update={"on_broken_budget": OnBrokenBudget.ROLL_BACK})


@pytest.fixture(scope="module")
def pulling(lab_factory: Any) -> Any:
    """A lab whose clock runs fast, so that retries and deadlines of sites are short."""
    lab = lab_factory("--sites", "4", "--clock-rate", "20")
    for site in lab.sites:
        lab.ask("PUT", f"/lab/sites/{site.name}/flux")
    return lab


@pytest.fixture
def world(pulling: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RolloutWorld]:
    gitops, azure = pulling.gitops, pulling.azure
    for name, value in {
        "EDGE_HOME": str(tmp_path / "home"),
        "EDGE_GITOPS_URL": gitops.url,
        "EDGE_GITOPS_CA_FILE": gitops.ca_file,
        "EDGE_GITOPS_USERNAME": gitops.username,
        "EDGE_GITOPS_PASSWORD": Path(gitops.password_file).read_text(),
        "EDGE_ARC_SUBSCRIPTION": azure.subscription_id,
        "EDGE_ARC_RESOURCE_GROUP": azure.resource_group,
        "EDGE_ARC_LOCATION": azure.location,
        "EDGE_ARC_ENDPOINT": azure.endpoint,
        "EDGE_ARC_CA_FILE": pulling.ca_file,
        "PREFECT__RUNTIME__TASK_RUN__RUN_COUNT": "2",  # no task is tried again after five seconds
        **vars(azure.env),
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with Ledger.open(Settings().ledger) as ledger:
        made = RolloutWorld(pulling, ledger)
        made.add(*SITES)
        yield made


def statuses(rollout: Rollout) -> list[Status | None]:
    return [row.status for row in rollout.sites]


def data(world: RolloutWorld, site: str, name: str) -> Any:
    with world.client(site) as client:
        return client.get(refs(name)[1])["data"]


def catch_up(world: RolloutWorld) -> list[Rollout]:
    with disable_run_logger(), open_catching_up(Blocks()) as job:
        for site in job.away():
            look_for.fn(job, (site,))
        return [world.go_on(rollout) for rollout in begun_rollouts(job)]


def test_a_revision_goes_in_waves_and_a_bad_one_is_taken_back_to_the_one_before(
    world: RolloutWorld, tmp_path: Path
) -> None:
    good = world.roll_out(world.order(write_stamp(tmp_path / "1", "waves", "1.0.0", colour="red"), PULLED, SITES))
    assert good.state is RolloutState.SUCCEEDED, good.sites
    assert [wave.sites for wave in good.plan.waves] == [SITES[:1], SITES[1:]]
    assert {str(data(world, site, "waves")) for site in SITES} == {"{'colour': 'red'}"}
    bad = write_stamp(tmp_path / "2", "waves", "1.1.0", image=MISSING, colour="blue")
    rollout = world.roll_out(world.order(bad, BACK, SITES))
    assert (rollout.state, statuses(rollout)) == (RolloutState.ROLLED_BACK, [Status.ROLLED_BACK, Status.HELD]), (
        rollout.sites
    )
    assert data(world, SITES[0], "waves") == {"colour": "red"}
    placed = {one.site: one.version for one in world.ledger.placements.of_stamp("waves")}
    assert placed == dict.fromkeys(SITES, "1.0.0")
    assert world.ledger.placements.failed("waves", rollout.plan.digest) == {SITES[0]}


def test_a_site_with_flux_that_was_away_is_told_when_it_is_back(world: RolloutWorld, tmp_path: Path) -> None:
    world.add(PLAIN, when_offline=OfflinePolicy.EXPECTED)
    world.lab.fault(PLAIN, "offline")
    try:
        stamp = write_stamp(tmp_path / "s", "plain", "1.0.0", colour="red")
        rollout = world.roll_out(world.order(stamp, PULLED, (SITES[0], PLAIN)))
        assert statuses(rollout) == [Status.SUCCEEDED, Status.EXPECTED_OFFLINE], rollout.sites
    finally:
        world.lab.lift(PLAIN)
    assert [statuses(one) for one in catch_up(world)] == [[Status.SUCCEEDED]]
    assert data(world, PLAIN, "plain") == {"colour": "red"}


def test_a_site_on_arc_pulls_by_itself_and_catching_up_only_confirms_it(world: RolloutWorld, tmp_path: Path) -> None:
    world.add(ARC, when_offline=OfflinePolicy.EXPECTED)
    arc = ArcSubscription.from_settings(Settings())
    target = arc.target(Site(name=ARC))
    with arc.client() as clusters, world.client(ARC) as client:
        connect(client, arc, clusters)
    world.ledger.sites.put(world.ledger.sites.get(ARC).model_copy(update={"arc_id": target.resource_id}))
    world.lab.fault(ARC, "offline")
    short = PULLED.model_copy(update={"site_deadline_s": 2.0})
    try:
        stamp = write_stamp(tmp_path / "s", "on-arc", "1.0.0", colour="red")
        rollout = world.roll_out(world.order(stamp, short, (SITES[0], ARC)))
        assert statuses(rollout) == [Status.SUCCEEDED, Status.EXPECTED_OFFLINE], rollout.sites
    finally:
        world.lab.lift(ARC)
    _until(lambda: data(world, ARC, "on-arc") == {"colour": "red"})
    with world.client(ARC) as client:
        before = client.get(refs("on-arc")[1])["metadata"]["resourceVersion"]
        assert [statuses(one) for one in catch_up(world)] == [[Status.SUCCEEDED]]
        assert client.get(refs("on-arc")[1])["metadata"]["resourceVersion"] == before
    entry = world.ledger.catch_ups.get(ARC, "on-arc")
    assert entry is not None
    assert entry.state is CatchUpState.DONE


def _until(holds: Any) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            if holds():
                return
        except EdgeError:  # it is not there yet
            pass
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.05)
