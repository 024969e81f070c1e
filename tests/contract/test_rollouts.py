"""Rollouts over a small fleet, decision by decision: what they do at sites, and how they end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.errors import InvalidInput
from edge.model.outcome import Status
from edge.model.placement import CatchUpState, HoldKind, SiteHold
from edge.model.rollout import Approval, Control, OnBrokenBudget, OnMeeting, RolloutState, Strategy, WaveSpec
from edge.model.site import OfflinePolicy
from tests.contract.rollout_world import MISSING, RolloutWorld, as_bytes, refs, write_stamp

SITES = ("site-0001", "site-0002", "site-0003")
AWAY = "site-0004"
QUICK = Strategy(waves=("100%",), site_deadline_s=90)
SHORT = QUICK.model_copy(update={"site_deadline_s": 2.0})


@pytest.fixture(scope="module")
def fleet_lab(lab_factory: Any) -> Any:
    return lab_factory("--sites", "4")


@pytest.fixture
def world(fleet_lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RolloutWorld]:
    with RolloutWorld.at(fleet_lab, tmp_path / "home", monkeypatch) as made:
        made.add(*SITES)
        yield made


def statuses(rollout: Any) -> dict[str, Status]:
    return {row.site: row.status for row in rollout.sites}


def test_a_bad_version_is_stopped_in_its_canary_and_the_site_is_as_before(world: RolloutWorld, tmp_path: Path) -> None:
    good = world.roll_out(world.order(write_stamp(tmp_path / "1", "back", "1.0.0", colour="red"), QUICK, SITES))
    assert good.state is RolloutState.SUCCEEDED, good
    with world.client("site-0001") as client:
        before = as_bytes(client, "back")
        bad = write_stamp(tmp_path / "2", "back", "1.1.0", image=MISSING, colour="blue", more="yes")
        back = SHORT.model_copy(update={"on_broken_budget": OnBrokenBudget.ROLL_BACK})
        rollout = world.roll_out(world.order(bad, back, SITES))
        assert as_bytes(client, "back") == before
    assert rollout.state is RolloutState.ROLLED_BACK, rollout.sites
    assert statuses(rollout) == dict(zip(SITES, (Status.ROLLED_BACK, Status.HELD, Status.HELD), strict=True))
    placed = {one.site: one.version for one in world.ledger.placements.of_stamp("back")}
    assert placed == dict.fromkeys(SITES, "1.0.0")


def test_a_version_that_failed_on_a_site_is_not_tried_there_again_unless_it_is_named(
    world: RolloutWorld, tmp_path: Path
) -> None:
    stamp = write_stamp(tmp_path / "s", "tried", "1.0.0", image=MISSING)
    assert world.roll_out(world.order(stamp, SHORT, SITES[:1])).state is RolloutState.STOPPED
    again = world.roll_out(world.order(stamp, SHORT, SITES[:1]))
    assert statuses(again) == {"site-0001": Status.SKIPPED}
    named = SHORT.model_copy(update={"force": ("site-0001",)})
    assert statuses(world.roll_out(world.order(stamp, named, SITES[:1]))) == {"site-0001": Status.FAILED}


def test_a_site_that_was_away_is_queued_and_catches_up(world: RolloutWorld, tmp_path: Path) -> None:
    world.add(AWAY, when_offline=OfflinePolicy.EXPECTED)
    world.lab.fault(AWAY, "offline")
    stamp = write_stamp(tmp_path / "s", "late", "1.0.0")
    try:
        rollout = world.roll_out(world.order(stamp, QUICK, (*SITES, AWAY)))
        assert rollout.state is RolloutState.SUCCEEDED
        assert statuses(rollout)[AWAY] is Status.EXPECTED_OFFLINE
    finally:
        world.lab.lift(AWAY)
    (item,) = world.ledger.catch_ups.open()
    assert (item.site, item.version, item.state) == (AWAY, "1.0.0", CatchUpState.QUEUED)
    done = world.roll_out(world.order(stamp, QUICK, [AWAY]))
    assert statuses(done) == {AWAY: Status.SUCCEEDED}
    assert world.ledger.catch_ups.open() == ()


def test_what_the_next_version_does_not_have_is_taken_away(world: RolloutWorld, tmp_path: Path) -> None:
    folder = write_stamp(tmp_path / "s", "thinner", "1.0.0")
    world.roll_out(world.order(folder, QUICK, SITES[:1]))
    objects = write_stamp(folder, "thinner", "1.1.0") / "all" / "objects.yaml"
    objects.write_text("\n---\n".join(objects.read_text().split("\n---\n")[::2]))
    assert world.roll_out(world.order(folder, QUICK, SITES[:1])).state is RolloutState.SUCCEEDED
    with world.client("site-0001") as client:
        assert set(client.look(refs("thinner"))) == {refs("thinner")[0], refs("thinner")[2]}


def test_a_wave_waits_for_a_person_and_goes_on_where_it_was(world: RolloutWorld, tmp_path: Path) -> None:
    gated = QUICK.model_copy(update={"waves": (WaveSpec(approval=(Approval.BEFORE,)),)})
    rollout = world.roll_out(world.order(write_stamp(tmp_path / "s", "asked", "1.0.0"), gated, SITES), patience_s=0)
    assert (rollout.state, bool(rollout.waiting)) == (RolloutState.RUNNING, True)
    assert statuses(rollout) == dict(zip(SITES, (Status.SUCCEEDED, None, None), strict=True))
    world.ledger.rollouts.decide(rollout.plan.rollout_id, True, by="ada")
    assert world.go_on(rollout.plan.rollout_id).state is RolloutState.SUCCEEDED


def test_a_no_stops_the_rollout_and_holds_the_rest(world: RolloutWorld, tmp_path: Path) -> None:
    gated = QUICK.model_copy(update={"waves": (WaveSpec(approval=(Approval.BEFORE,)),)})
    rollout = world.roll_out(world.order(write_stamp(tmp_path / "s", "refused", "1.0.0"), gated, SITES), patience_s=0)
    world.ledger.rollouts.decide(rollout.plan.rollout_id, False, by="ada", reason="not today")
    ended = world.go_on(rollout.plan.rollout_id)
    assert ended.state is RolloutState.STOPPED
    assert [row.status for row in ended.sites] == [Status.SUCCEEDED, Status.HELD, Status.HELD]


def test_a_paused_rollout_begins_no_site_and_a_cancelled_one_ends(world: RolloutWorld, tmp_path: Path) -> None:
    slow = QUICK.model_copy(update={"waves": (WaveSpec(approval=(Approval.BEFORE,)),)})
    rollout_id = world.roll_out(
        world.order(write_stamp(tmp_path / "s", "paused", "1.0.0"), slow, SITES), patience_s=0
    ).plan.rollout_id
    world.ledger.rollouts.decide(rollout_id, True, by="ada")
    world.ledger.rollouts.control(rollout_id, Control.PAUSE, by="ada")
    paused = world.go_on(rollout_id, patience_s=0)
    assert [row.status for row in paused.sites] == [Status.SUCCEEDED, None, None]
    world.ledger.rollouts.control(rollout_id, Control.CANCEL, by="ada")
    assert world.go_on(rollout_id).state is RolloutState.CANCELLED
    world.ledger.rollouts.control(rollout_id, Control.RETRY_FAILED, by="ada")
    assert world.go_on(rollout_id).state is RolloutState.SUCCEEDED


def test_only_what_failed_is_tried_again(world: RolloutWorld, tmp_path: Path) -> None:
    stamp = write_stamp(tmp_path / "s", "again", "1.0.0")
    world.lab.fault("site-0002", "offline")
    lenient = QUICK.model_copy(update={"failure_budget": "1"})
    try:
        rollout = world.roll_out(world.order(stamp, lenient, SITES))
    finally:
        world.lab.lift("site-0002")
    assert rollout.state is RolloutState.FAILED
    ended = {row.site: row.ended_at for row in rollout.sites}
    world.ledger.rollouts.control(rollout.plan.rollout_id, Control.RETRY_FAILED, by="ada")
    retried = world.go_on(rollout.plan.rollout_id)
    assert retried.state is RolloutState.SUCCEEDED
    assert [row.site for row in retried.sites if row.ended_at != ended[row.site]] == ["site-0002"]


def test_a_site_that_says_not_now_is_waited_for(world: RolloutWorld, tmp_path: Path) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    world.ledger.holds.put(SiteHold(site="site-0001", kind=HoldKind.ROLLOUTS, until=soon, reason="stocktaking"))
    rollout = world.roll_out(world.order(write_stamp(tmp_path / "s", "locked", "1.0.0"), QUICK, SITES[:1]))
    assert rollout.state is RolloutState.SUCCEEDED
    assert rollout.sites[0].started_at is not None
    assert rollout.sites[0].started_at >= soon


def test_two_rollouts_that_meet_wait_or_refuse_by_rule(world: RolloutWorld, tmp_path: Path) -> None:
    gated = QUICK.model_copy(update={"waves": (WaveSpec(approval=(Approval.BEFORE,)),)})
    first = world.roll_out(world.order(write_stamp(tmp_path / "1", "first", "1.0.0"), gated, SITES), patience_s=0)
    other = write_stamp(tmp_path / "2", "other", "1.0.0")
    refusing = QUICK.model_copy(update={"on_meeting": OnMeeting.REFUSE})
    with pytest.raises(InvalidInput, match=first.plan.rollout_id):
        world.roll_out(world.order(other, refusing, SITES[1:]))
    waiting = world.roll_out(world.order(other, QUICK, SITES[1:]), patience_s=0)
    assert first.plan.rollout_id in waiting.waiting
    world.ledger.rollouts.decide(first.plan.rollout_id, True, by="ada")
    world.go_on(first.plan.rollout_id)
    assert world.go_on(waiting.plan.rollout_id).state is RolloutState.SUCCEEDED


def test_a_version_that_goes_back_is_refused_unless_it_is_asked_for(world: RolloutWorld, tmp_path: Path) -> None:
    new, old = (write_stamp(tmp_path / version, "older", version) for version in ("2.0.0", "1.0.0"))
    world.roll_out(world.order(new, QUICK, SITES[:1]))
    with pytest.raises(InvalidInput, match=r"2\.0\.0"):
        world.roll_out(world.order(old, QUICK, SITES[:1]))
    back = world.roll_out(world.order(old, QUICK, SITES[:1], allow_downgrade=True))
    assert back.state is RolloutState.SUCCEEDED


def test_no_site_is_begun_after_the_budget_broke(world: RolloutWorld, tmp_path: Path) -> None:
    stamp = write_stamp(tmp_path / "s", "halted", "1.0.0")
    one_by_one = Strategy(canary="0", waves=("100%",), concurrency="1", site_deadline_s=90)
    for site in SITES:
        world.lab.fault(site, "offline")
    try:
        rollout = world.roll_out(world.order(stamp, one_by_one, SITES))
    finally:
        for site in SITES:
            world.lab.lift(site)
    assert rollout.state is RolloutState.STOPPED
    assert sorted(row.status or "" for row in rollout.sites) == [Status.FAILED, Status.HELD, Status.HELD]
    assert not [one for one in threading.enumerate() if one.name == "rollout-lease"], "leases end with the rollout"
