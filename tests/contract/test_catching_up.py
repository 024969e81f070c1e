"""Sites that were away come to what they missed: in steps, through the same gates, and not when they surprise."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.logging import disable_run_logger
from typer.testing import CliRunner, Result

from edge.cli.main import app
from edge.model.order import Blocks
from edge.model.outcome import Status
from edge.model.placement import CatchUp, CatchUpState, FailedVersion, HoldKind, SiteHold
from edge.model.rollout import CatchUpRule, Control, Rollout, RolloutState, Strategy, VersionPath, Window
from edge.model.site import OfflinePolicy
from edge.policy.catching_up import objective_report
from tasks.catching_up import begun_rollouts, look_for, open_catching_up
from tests.contract.rollout_world import RolloutWorld, refs, write_stamp

HERE, AWAY, FAR = "site-0001", "site-0002", "site-0003"
QUICK = Strategy(canary="0", waves=("100%",), site_deadline_s=20)
CANARY = QUICK.model_copy(update={"canary": "1"})
STEPS = QUICK.model_copy(update={"catch_up": CatchUpRule(path=VersionPath.STEPS)})


@pytest.fixture(scope="module")
def fleet_lab(lab_factory: Any) -> Any:
    return lab_factory("--sites", "3")


@pytest.fixture
def world(fleet_lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RolloutWorld]:
    with RolloutWorld.at(fleet_lab, tmp_path / "home", monkeypatch) as made:
        made.add(HERE)
        made.add(AWAY, FAR, when_offline=OfflinePolicy.EXPECTED)
        yield made
        for site in (AWAY, FAR):
            fleet_lab.lift(site)


def catch_up(world: RolloutWorld, sites: Sequence[str] = (), patience_s: float = 0) -> list[Rollout]:
    """What the runbook does."""
    with disable_run_logger(), open_catching_up(Blocks()) as job:
        for site in job.away(sites):
            look_for.fn(job, (site,))
        return [world.go_on(rollout, patience_s) for rollout in begun_rollouts(job)]


def entry(world: RolloutWorld, stamp: str, site: str = AWAY) -> CatchUp:
    found = world.ledger.catch_ups.get(site, stamp)
    assert found is not None
    return found


def missed(
    world: RolloutWorld, stamp: Path | str, strategy: Strategy = QUICK, away: Sequence[str] = (AWAY,)
) -> Rollout:
    """A rollout that goes through while these sites are away. They stay away."""
    for site in away:
        world.lab.fault(site, "offline")
    rollout = world.roll_out(world.order(stamp, strategy, (HERE, *away)))
    assert rollout.state is RolloutState.SUCCEEDED, rollout.sites
    return rollout


def back(world: RolloutWorld, *sites: str) -> None:
    for site in sites or (AWAY,):
        world.lab.lift(site)


def statuses(rollout: Rollout) -> dict[str, Status | None]:
    return {row.site: row.status for row in rollout.sites}


def required(folder: Path) -> Path:
    """The stamp as a step that no site may jump over."""
    said = yaml.safe_load((folder / "stamp.yaml").read_text())
    said["spec"]["requiredStep"] = True
    (folder / "stamp.yaml").write_text(yaml.safe_dump(said))
    return folder


def three_versions(world: RolloutWorld, folder: Path, name: str, strategy: Strategy) -> None:
    """The site has the first, and misses a required step and what comes after it."""
    world.roll_out(world.order(write_stamp(folder / "1", name, "1.0.0"), strategy, (HERE, AWAY)))
    missed(world, required(write_stamp(folder / "2", name, "1.1.0", step="yes")), strategy)
    missed(world, write_stamp(folder / "3", name, "2.0.0", step="over"), strategy)
    shutil.rmtree(folder)  # workers elsewhere have only the ledger


def test_a_site_that_is_versions_behind_takes_the_required_steps_in_their_order(
    world: RolloutWorld, tmp_path: Path
) -> None:
    three_versions(world, tmp_path / "stamps", "steps", STEPS)
    assert catch_up(world) == [], "it is still away"
    assert entry(world, "steps").version == "2.0.0", "the newest takes the place of the one before"
    back(world)
    rollouts = catch_up(world)
    assert [rollout.plan.version for rollout in rollouts] == ["1.1.0", "2.0.0"]
    assert {rollout.state for rollout in rollouts} == {RolloutState.SUCCEEDED}
    done = entry(world, "steps")
    assert (done.state, done.by_rollout) == (CatchUpState.DONE, rollouts[-1].plan.rollout_id)
    report = objective_report(world.ledger.catch_ups.list(), datetime.now(UTC))
    assert (report.met, report.missed, report.away, report.open) == (1, 0, 0, 0)
    with world.client(AWAY) as client:
        assert client.get(refs("steps")[1])["data"] == {"step": "over"}


def test_no_site_jumps_over_a_required_step(world: RolloutWorld, tmp_path: Path) -> None:
    three_versions(world, tmp_path / "stamps", "jump", QUICK)
    back(world)
    assert catch_up(world) == []
    refused = entry(world, "jump")
    assert refused.state is CatchUpState.FAILED
    assert "must not jump over 1.1.0" in refused.reason


def test_a_step_that_fails_is_the_last_and_is_not_tried_again(world: RolloutWorld, tmp_path: Path) -> None:
    three_versions(world, tmp_path / "stamps", "stumble", STEPS)
    back(world)
    world.lab.fault(AWAY, "full-disk")
    (stopped,) = catch_up(world)
    assert (stopped.plan.version, stopped.state) == ("1.1.0", RolloutState.STOPPED)
    assert entry(world, "stumble").state is CatchUpState.FAILED
    assert catch_up(world) == []


def test_a_site_that_goes_away_again_is_queued_again(world: RolloutWorld, tmp_path: Path) -> None:
    missed(world, write_stamp(tmp_path / "s", "again", "1.0.0"))
    world.ledger.catch_ups.returned(AWAY, datetime.now(UTC))
    (tried,) = catch_up(world)
    assert statuses(tried) == {AWAY: Status.EXPECTED_OFFLINE}
    queued = entry(world, "again")
    assert (queued.state, queued.returned_at) == (CatchUpState.QUEUED, None)
    back(world)
    assert [statuses(one) for one in catch_up(world, [AWAY])] == [{AWAY: Status.SUCCEEDED}]


def test_the_canary_guards_late_sites_too(world: RolloutWorld, tmp_path: Path) -> None:
    missed(world, write_stamp(tmp_path / "s", "canary", "1.0.0"), CANARY, away=(AWAY, FAR))
    back(world, AWAY, FAR)
    world.lab.fault(AWAY, "full-disk")
    (stopped,) = catch_up(world)
    assert (stopped.state, statuses(stopped)) == (RolloutState.STOPPED, {AWAY: Status.FAILED, FAR: Status.HELD})
    assert {entry(world, "canary", site).state for site in (AWAY, FAR)} == {CatchUpState.FAILED}
    assert catch_up(world) == [], "one site after the other would burn"
    world.lab.lift(AWAY)
    world.ledger.rollouts.control(stopped.plan.rollout_id, Control.RETRY_FAILED, by="ada")
    assert world.go_on(stopped.plan.rollout_id).state is RolloutState.SUCCEEDED


def test_a_closed_window_keeps_late_sites_waiting(world: RolloutWorld, tmp_path: Path) -> None:
    missed(world, write_stamp(tmp_path / "s", "window", "1.0.0"))
    (item,) = world.ledger.catch_ups.open()
    opens = datetime.now(UTC) + timedelta(days=2)
    window = Window(cron=f"0 3 {opens.day} {opens.month} *", duration_s=3600)
    closed = QUICK.model_copy(update={"windows": (window,)})
    world.ledger.catch_ups.end(AWAY, "window", CatchUpState.DONE)
    plan = world.ledger.rollouts.get(item.rollout_id).plan
    later = plan.model_copy(update={"rollout_id": "by-window", "strategy": closed})
    world.ledger.rollouts.start(later)
    world.ledger.rollouts.finish("by-window", RolloutState.SUCCEEDED)
    world.ledger.catch_ups.queue(item.model_copy(update={"rollout_id": "by-window"}))
    back(world)
    (waiting,) = catch_up(world)
    assert (waiting.state, statuses(waiting)) == (RolloutState.RUNNING, {AWAY: None})
    assert waiting.wake_at is not None
    assert waiting.wake_at > datetime.now(UTC) + timedelta(hours=24)
    assert entry(world, "window").state is CatchUpState.RUNNING
    assert catch_up(world) == [], "it is under way"


def test_a_lock_lets_a_late_site_wait(world: RolloutWorld, tmp_path: Path) -> None:
    strategy = QUICK.model_copy(update={"catch_up": CatchUpRule(objective_s=60)})
    missed(world, write_stamp(tmp_path / "s", "lock", "1.0.0"), strategy)
    back(world)
    until = datetime.now(UTC) + timedelta(hours=1)
    world.ledger.holds.put(SiteHold(site=AWAY, kind=HoldKind.ROLLOUTS, until=until, reason="stocktaking"))
    (skipped,) = catch_up(world)
    assert statuses(skipped) == {AWAY: Status.SKIPPED}
    assert (entry(world, "lock").state, entry(world, "lock").returned_at) == (CatchUpState.QUEUED, until)
    assert catch_up(world) == []
    assert edge("site", "release", AWAY, "--kind", "rollouts").exit_code == 0
    assert [statuses(one) for one in catch_up(world)] == [{AWAY: Status.SUCCEEDED}]


def test_a_version_that_failed_at_the_site_is_not_tried_there_by_itself(world: RolloutWorld, tmp_path: Path) -> None:
    missed(world, write_stamp(tmp_path / "s", "memory", "1.0.0"))
    back(world)
    item = entry(world, "memory")
    said = item.model_dump(include={"site", "stamp", "version", "digest"})
    world.ledger.placements.fail(FailedVersion(**said, rollout_id="earlier", at=datetime.now(UTC), reason="not-yet"))
    (skipped,) = catch_up(world)
    assert statuses(skipped) == {AWAY: Status.SKIPPED}
    assert entry(world, "memory").state is CatchUpState.FAILED
    assert catch_up(world) == []


def edge(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def test_what_waits_for_nobody_cannot_be_approved(world: RolloutWorld, tmp_path: Path) -> None:
    missed(world, write_stamp(tmp_path / "s", "listed", "1.0.0"))
    (shown,) = json.loads(edge("catch-up", "list", "--json").stdout)["catch_ups"]
    assert (shown["site"], shown["state"], shown["due_by"], shown["objective_met"]) == (AWAY, "queued", None, None)
    for stamp, code in (("nothing", "not-found"), ("listed", "ledger-mismatch")):
        refused = edge("catch-up", "approve", AWAY, stamp, "--json")
        assert refused.exit_code == 1
        assert json.loads(refused.stderr)["code"] == code


def surprise(world: RolloutWorld) -> None:
    """Somebody deletes an object of ours and takes another over."""
    with world.client(AWAY) as client:
        client.delete(refs("surprise")[2])


def test_a_site_that_surprises_is_left_alone_until_a_person_lets_it_pass(world: RolloutWorld, tmp_path: Path) -> None:
    world.roll_out(world.order(write_stamp(tmp_path / "1", "surprise", "1.0.0", old="yes"), QUICK, (HERE, AWAY)))
    missed(world, write_stamp(tmp_path / "2", "surprise", "1.1.0"))
    back(world)
    surprise(world)
    with world.client(AWAY) as client:
        before = client.get(refs("surprise")[1])
        (quarantined,) = catch_up(world)
        assert statuses(quarantined) == {AWAY: Status.QUARANTINED}
        assert client.get(refs("surprise")[1]) == before, "nothing is changed before somebody looked"
        assert refs("surprise")[2] not in client.look(refs("surprise"))
        item = entry(world, "surprise")
        assert item.state is CatchUpState.QUARANTINED
        assert "missing" in item.reason
        assert catch_up(world) == []
        assert edge("catch-up", "approve", AWAY, "surprise", "--by", "ada").exit_code == 0
        assert [statuses(one) for one in catch_up(world)] == [{AWAY: Status.SUCCEEDED}]
        assert refs("surprise")[2] in client.look(refs("surprise"))
    assert entry(world, "surprise").approved_by == "ada"


def test_what_was_stopped_later_is_not_caught_up_with(world: RolloutWorld, tmp_path: Path) -> None:
    stamp = write_stamp(tmp_path / "s", "withdrawn", "1.0.0")
    world.lab.fault(AWAY, "offline")
    world.lab.fault(FAR, "full-disk")
    lenient = QUICK.model_copy(update={"failure_budget": "1"})
    rollout = world.roll_out(world.order(stamp, lenient, (HERE, AWAY, FAR)))
    assert rollout.state is RolloutState.FAILED, rollout.sites
    assert entry(world, "withdrawn").state is CatchUpState.QUEUED
    world.ledger.rollouts.control(rollout.plan.rollout_id, Control.RETRY_FAILED, by="ada")
    back(world)
    assert catch_up(world) == [], "whether it goes through is open"
    world.ledger.rollouts.control(rollout.plan.rollout_id, Control.CANCEL, by="ada")
    assert world.go_on(rollout.plan.rollout_id).state is RolloutState.CANCELLED
    assert catch_up(world) == []
    assert entry(world, "withdrawn").state is CatchUpState.SUPERSEDED


def test_two_runs_at_once_bring_it_once(world: RolloutWorld, tmp_path: Path) -> None:
    missed(world, write_stamp(tmp_path / "s", "once", "1.0.0"))
    back(world)
    begun: list[str] = []

    def begin() -> None:
        with disable_run_logger(), open_catching_up(Blocks()) as job:
            look_for.fn(job, (AWAY,))
            begun.extend(begun_rollouts(job))

    runs = [threading.Thread(target=begin) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(begun) == 1
    assert world.go_on(begun[0]).state is RolloutState.SUCCEEDED
    assert entry(world, "once").state is CatchUpState.DONE


def test_what_a_site_got_meanwhile_ends_its_waiting(world: RolloutWorld, tmp_path: Path) -> None:
    missed(world, write_stamp(tmp_path / "1", "overtaken", "1.0.0"))
    back(world)
    world.roll_out(world.order(write_stamp(tmp_path / "2", "overtaken", "2.0.0"), QUICK, (AWAY,)))
    assert entry(world, "overtaken").state is CatchUpState.SUPERSEDED
    assert catch_up(world) == []
