"""Stamps and rollouts on record."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from edge.errors import InvalidInput, LedgerMismatch, NotFound, SiteSilent
from edge.ledger import Ledger
from edge.ledger.engine import open_engine
from edge.ledger.tables import stamps
from edge.model.check import HttpCheck
from edge.model.outcome import Cause, Outcome, Status
from edge.model.placement import FailedVersion, HoldKind, SiteHold
from edge.model.rollout import (
    Approval,
    Control,
    RolloutFacts,
    RolloutState,
)
from edge.model.rule import Waiver
from edge.model.site import Site, SiteState
from edge.model.stamp import Component, ComponentKind, ParameterValues, Requirements, Stamp
from tests.contract.conftest import START, Clock
from tests.contract.ledger_rollouts import actions, begun, ended, facts, plan

STAMP = Stamp(
    name="line",
    version="1.0.0",
    namespaces=("line",),
    components=(Component(name="base", path="base"),),
    manifests={"base/a.yaml": "kind: ConfigMap\nname: ${x}\n"},
    digest="a" * 64,
)
OTHER = STAMP.model_copy(update={"digest": "b" * 64})


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


def test_a_stamp_with_everything_in_it_comes_back_as_it_was(book: Ledger) -> None:
    waiver = Waiver(code="no-latest", owner="me", reason="for a week", expires=START)
    component = Component(name="web", path="web", kind=ComponentKind.KUSTOMIZE, depends_on=("base",))
    full = STAMP.model_copy(
        update={
            "components": (*STAMP.components, component),
            "values": ParameterValues(regions={"emea": {"x": "1"}}),
            "requires": Requirements(kinds=("Certificate.cert-manager.io",)),
            "checks": (HttpCheck(name="up", namespace="line", service="web", port="http"),),
            "waivers": (waiver,),
            "required_step": True,
            "files": {"web/kustomization.yaml": "resources: []\n"},
        }
    )
    book.stamps.record(full)
    assert book.stamps.get("line", "1.0.0") == full


def test_a_stamp_that_was_recorded_before_there_was_more_to_it_is_still_readable(
    ledger: Ledger, ledger_url: str
) -> None:
    ledger.stamps.record(STAMP)
    old = ("name", "version", "description", "namespaces", "cluster_kinds", "parameters", "manifests", "digest")
    content = {**STAMP.model_dump(mode="json", include=set(old)), "components": [{"name": "base", "path": "base"}]}
    engine = open_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(update(stamps).values(content=content))
    engine.dispose()
    assert ledger.stamps.get("line", "1.0.0") == STAMP


def test_facts_say_what_has_ended_what_is_at_work_and_what_failed_before(ledger: Ledger) -> None:
    for name, state in (("s1", SiteState.CONNECTED), ("s3", SiteState.DECOMMISSIONED)):
        ledger.sites.put(Site(name=name, state=state))
    begun(ledger)
    ended(ledger, "s1", Status.FAILED)
    ledger.rollouts.site_started("r1", "s2")
    for rollout_id, site in (("r0", "s2"), ("r1", "s1")):
        failed = FailedVersion(
            site=site, stamp="line", version="1.0.0", digest="a" * 64, rollout_id=rollout_id, at=START
        )
        ledger.placements.fail(failed)
    ledger.holds.put(SiteHold(site="s2", kind=HoldKind.ROLLOUTS, until=START + timedelta(hours=1), reason="busy"))
    ledger.holds.put(SiteHold(site="s1", kind=HoldKind.ROLLOUTS, until=START, reason="over"))
    ledger.rollouts.precached("r1", ["s2", "s3"])
    assert ledger.rollouts.working() == {"s2": "r1"}
    found = facts(ledger)
    assert found.outcomes == {"s1": Outcome(subject="s1", status=Status.FAILED)}
    assert [sorted(each) for each in (found.working, found.gone, found.precached)] == [["s2"], ["s3"], ["s2", "s3"]]
    assert found.locked == {"s2": START + timedelta(hours=1)}
    assert found.failed_here == {"s2"}, "what this rollout brought about itself is not 'before'"
    assert RolloutFacts.model_validate(found.model_dump()) == found


def test_facts_of_no_rollout_are_not_found(book: Ledger) -> None:
    with pytest.raises(NotFound):
        facts(book, "r9")


def test_a_wave_begins_and_ends_once(book: Ledger) -> None:
    begun(book)
    for _ in range(2):
        book.rollouts.wave_started("r1", 0)
    before = facts(book).waves[0]
    for _ in range(2):
        book.rollouts.wave_ended("r1", 0)
    times = facts(book).waves[0]
    assert before.ended_at is None
    assert times.started_at == before.started_at
    assert times.ended_at is not None
    assert actions(book) == ["rollout.started", "rollout.wave-started", "rollout.wave-ended"]


def test_a_wave_whose_sites_were_all_left_alone_ends_without_a_beginning(book: Ledger) -> None:
    begun(book)
    book.rollouts.wave_ended("r1", 1)
    assert facts(book).waves[1].started_at is None
    with pytest.raises(InvalidInput):
        book.rollouts.wave_started("r1", 7)


def test_what_it_waits_for_is_said_and_costs_nothing_when_it_is_known(ledger: Ledger, clock: Clock) -> None:
    begun(ledger)
    until = START + timedelta(hours=2)
    ledger.rollouts.waiting("r1", "soaking", until)
    rollout = ledger.rollouts.get("r1")
    assert (rollout.waiting, rollout.wake_at) == ("soaking", until)
    assert ledger.rollouts.list()[0].waiting == "soaking"
    assert ledger.rollouts.due(START) == ()
    assert ledger.rollouts.due(until) == ("r1",)
    ledger.rollouts.waiting("r1", "", None)
    assert ledger.rollouts.due(START) == ("r1",)
    assert actions(ledger) == ["rollout.started"]


def test_a_rollout_that_waits_for_a_person_is_due_once_that_person_has_spoken(ledger: Ledger) -> None:
    begun(ledger)
    gate = ledger.rollouts.ask("r1", 1, Approval.BEFORE)
    assert ledger.rollouts.ask("r1", 1, Approval.BEFORE) == gate
    assert ledger.rollouts.due(START) == ()
    ledger.rollouts.decide("r1", True, by="ann", reason="looks good")
    assert ledger.rollouts.due(START) == ("r1",)
    ledger.rollouts.control("r1", Control.PAUSE, by="ann")
    assert ledger.rollouts.due(START) == ()
    ledger.rollouts.control("r1", Control.CANCEL, by="ann")
    assert ledger.rollouts.due(START) == ("r1",)


def test_a_rollout_moves_between_open_states_and_ends_from_any(book: Ledger) -> None:
    begun(book)
    for _ in range(2):
        book.rollouts.move("r1", RolloutState.ROLLING_BACK)
    with pytest.raises(InvalidInput):
        book.rollouts.move("r1", RolloutState.STOPPED)
    book.rollouts.finish("r1", RolloutState.ROLLED_BACK)
    with pytest.raises(LedgerMismatch):
        book.rollouts.move("r1", RolloutState.RUNNING)
    assert actions(book) == ["rollout.started", "rollout.moved", "rollout.finished"]


@pytest.mark.parametrize("state", [RolloutState.PAUSED, RolloutState.ROLLING_BACK])
def test_a_rollout_that_is_paused_or_rolling_back_is_unfinished(book: Ledger, state: RolloutState) -> None:
    begun(book)
    book.rollouts.move("r1", state)
    assert unfinished(book, "s1", "s2", "s3") == "r1"


def test_who_else_has_a_site_is_the_rollout_that_was_started_first(book: Ledger) -> None:
    for rollout_id in ("r0", "r2", "r1"):
        begun(book, rollout_id)
    book.rollouts.finish("r0", RolloutState.SUCCEEDED)
    assert book.rollouts.active_on(["s1", "s9"], but="r1") == {"s1": "r2"}
    assert book.rollouts.active_on(["s1"], but="r2") == {"s1": "r1"}


def test_sites_that_a_dead_run_began_are_begun_again(book: Ledger) -> None:
    begun(book)
    ended(book, "s1", Status.SUCCEEDED)
    book.rollouts.site_started("r1", "s2")
    assert book.rollouts.abandon("r1", ["s1", "s2", "s3"]) == ("s2",)
    assert facts(book).working == frozenset()
    assert book.rollouts.get("r1").sites[0].status is Status.SUCCEEDED
    assert book.audit.entries()[-1].detail == {"sites": 1, "first": "s2"}
