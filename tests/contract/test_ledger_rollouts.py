"""Stamps and rollouts on record."""

from __future__ import annotations

import pytest

from edge.errors import LedgerMismatch, NotFound, SiteSilent
from edge.ledger import Ledger
from edge.model.outcome import Cause, Outcome, Status
from edge.model.rollout import RolloutPlan, RolloutState, Strategy, Wave
from edge.model.stamp import Component, Stamp

STAMP = Stamp(
    name="line",
    version="1.0.0",
    namespaces=("line",),
    components=(Component(name="base", path="base"),),
    manifests={"base/a.yaml": "kind: ConfigMap\nname: ${x}\n"},
    digest="a" * 64,
)
OTHER = STAMP.model_copy(update={"digest": "b" * 64})


def plan(rollout_id: str = "r1", version: str = "1.0.0", sites: tuple[str, ...] = ("s1", "s2", "s3")) -> RolloutPlan:
    waves = (
        Wave(index=0, name="canary", sites=sites[:1], failure_budget=0),
        Wave(index=1, name="wave 1", sites=sites[1:], failure_budget=1),
    )
    return RolloutPlan(
        rollout_id=rollout_id, stamp="line", version=version, digest="a" * 64, strategy=Strategy(), waves=waves
    )


def unfinished(ledger: Ledger, *sites: str) -> str | None:
    found = ledger.rollouts.unfinished("line", "1.0.0", "a" * 64, sites)
    return found.plan.rollout_id if found else None


def test_a_stamp_comes_back_with_its_files(ledger: Ledger) -> None:
    ledger.stamps.record(STAMP)
    assert ledger.stamps.get("line", "1.0.0") == STAMP
    assert ledger.stamps.list() == (STAMP,)


def test_the_same_stamp_again_changes_nothing(ledger: Ledger) -> None:
    ledger.stamps.record(STAMP)
    ledger.stamps.record(STAMP)
    assert [entry.action for entry in ledger.audit.entries()] == ["stamp.recorded"]


def test_a_version_never_changes_its_content(ledger: Ledger) -> None:
    ledger.stamps.record(STAMP)
    with pytest.raises(LedgerMismatch) as refused:
        ledger.stamps.record(OTHER)
    assert refused.value.where["given"] == "b" * 64
    assert ledger.stamps.get("line", "1.0.0") == STAMP


def test_versions_are_listed_as_they_were_recorded(ledger: Ledger) -> None:
    for version in ("1.10.0", "1.9.0"):
        ledger.stamps.record(STAMP.model_copy(update={"version": version}))
    ledger.stamps.record(STAMP.model_copy(update={"name": "another"}))
    assert [stamp.version for stamp in ledger.stamps.list("line")] == ["1.10.0", "1.9.0"]


def test_a_stamp_that_was_never_recorded_is_not_found(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        ledger.stamps.get("line", "9.9.9")


def test_a_rollout_starts_with_a_row_per_site_in_the_order_of_the_plan(ledger: Ledger) -> None:
    rollout = ledger.rollouts.start(plan(sites=("s9", "s2", "s1")))
    assert rollout.state is RolloutState.RUNNING
    assert [(row.site, row.wave, row.status) for row in rollout.sites] == [
        ("s9", 0, None),
        ("s2", 1, None),
        ("s1", 1, None),
    ]
    assert ledger.rollouts.get("r1") == rollout


def test_the_same_plan_again_answers_the_progress(ledger: Ledger) -> None:
    ledger.rollouts.start(plan())
    ledger.rollouts.site_ended("r1", Outcome(subject="s1", status=Status.SUCCEEDED))
    again = ledger.rollouts.start(plan())
    assert [row.status for row in again.sites] == [Status.SUCCEEDED, None, None]
    assert [entry.action for entry in ledger.audit.entries()] == ["rollout.started", "rollout.site-ended"]


def test_another_plan_under_the_same_id_is_refused(ledger: Ledger) -> None:
    ledger.rollouts.start(plan())
    with pytest.raises(LedgerMismatch):
        ledger.rollouts.start(plan(sites=("s1", "s2")))
    assert len(ledger.rollouts.get("r1").sites) == 3


def test_a_rollout_that_is_running_is_found_by_its_content_and_its_sites(ledger: Ledger) -> None:
    ledger.rollouts.start(plan())
    ledger.rollouts.start(plan("r2", version="2.0.0"))
    assert unfinished(ledger, "s3", "s1", "s2") == "r1"
    assert unfinished(ledger, "s1", "s2") is None
    assert ledger.rollouts.unfinished("line", "1.0.0", "b" * 64, ["s1", "s2", "s3"]) is None
    ledger.rollouts.finish("r1", RolloutState.SUCCEEDED)
    assert unfinished(ledger, "s1", "s2", "s3") is None


def test_the_latest_of_several_unfinished_rollouts_is_found(ledger: Ledger) -> None:
    for rollout_id in ("r2", "r1"):
        ledger.rollouts.start(plan(rollout_id))
    assert unfinished(ledger, "s1", "s2", "s3") == "r1"


def test_a_site_says_when_it_began_and_how_it_ended(ledger: Ledger) -> None:
    ledger.rollouts.start(plan())
    ledger.rollouts.site_started("r1", "s1")
    cause = Cause.of(SiteSilent("No answer", remedy="Look at the link", site="s1"))
    ledger.rollouts.site_ended("r1", Outcome(subject="s1", status=Status.FAILED, cause=cause, seconds=2.5))
    row = ledger.rollouts.get("r1").sites[0]
    assert (row.status, row.cause, row.seconds) == (Status.FAILED, cause, 2.5)
    assert row.started_at is not None
    assert row.ended_at is not None
    assert row.started_at < row.ended_at
    assert ledger.audit.entries()[-1].detail == {"status": "failed", "cause": "site-silent", "seconds": 2.5}


def test_a_later_outcome_replaces_an_earlier_one_and_both_are_on_the_trail(ledger: Ledger) -> None:
    ledger.rollouts.start(plan())
    away = Outcome(subject="s1", status=Status.EXPECTED_OFFLINE)
    for outcome in (away, away, Outcome(subject="s1", status=Status.SUCCEEDED)):
        ledger.rollouts.site_ended("r1", outcome)
    assert ledger.rollouts.get("r1").sites[0].status is Status.SUCCEEDED
    trail = [entry.detail["status"] for entry in ledger.audit.entries() if entry.action == "rollout.site-ended"]
    assert trail == ["expected-offline", "succeeded"]


def test_a_site_or_a_rollout_that_is_not_there_is_not_found(ledger: Ledger) -> None:
    ledger.rollouts.start(plan())
    with pytest.raises(NotFound):
        ledger.rollouts.site_started("r1", "stranger")
    with pytest.raises(NotFound):
        ledger.rollouts.site_ended("r1", Outcome(subject="stranger", status=Status.SUCCEEDED))
    with pytest.raises(NotFound):
        ledger.rollouts.get("r9")
    with pytest.raises(NotFound):
        ledger.rollouts.finish("r9", RolloutState.SUCCEEDED)


def test_only_sites_that_were_never_started_are_held(ledger: Ledger) -> None:
    ledger.rollouts.start(plan())
    ledger.rollouts.site_ended("r1", Outcome(subject="s1", status=Status.FAILED))
    ledger.rollouts.site_started("r1", "s2")
    assert ledger.rollouts.hold_rest("r1") == ("s3",)
    assert ledger.rollouts.hold_rest("r1") == ()
    assert [row.status for row in ledger.rollouts.get("r1").sites] == [Status.FAILED, None, Status.HELD]
    assert ledger.rollouts.tally("r1") == {Status.FAILED: 1, None: 1, Status.HELD: 1}


def test_a_rollout_ends_once(ledger: Ledger) -> None:
    ledger.rollouts.start(plan())
    for _ in range(2):
        ledger.rollouts.finish("r1", RolloutState.STOPPED)
    with pytest.raises(LedgerMismatch):
        ledger.rollouts.finish("r1", RolloutState.SUCCEEDED)
    rollout = ledger.rollouts.get("r1")
    assert rollout.state is RolloutState.STOPPED
    assert rollout.ended_at is not None
    assert [entry.action for entry in ledger.audit.entries()] == ["rollout.started", "rollout.finished"]


def test_rollouts_are_listed_newest_first_and_counted_by_version(ledger: Ledger) -> None:
    for rollout_id, version in (("r1", "1.0.0"), ("r2", "2.0.0"), ("r3", "1.0.0")):
        ledger.rollouts.start(plan(rollout_id, version=version))
    assert [rollout.plan.rollout_id for rollout in ledger.rollouts.list(2)] == ["r3", "r2"]
    assert ledger.rollouts.count("line", "1.0.0") == 2
    assert ledger.rollouts.count("line", "3.0.0") == 0
