"""Sites that were away: by which versions they come, through which gates, and whether it was soon enough."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge.errors import InvalidInput
from edge.model.outcome import Cause, Outcome, Status
from edge.model.placement import CatchUp, CatchUpState
from edge.model.rollout import Approval, Joiners, OnMeeting, Strategy, VersionPath, WaveSpec, Window
from edge.model.site import Site, SiteSelector
from edge.model.stamp import Component, Stamp
from edge.policy.catching_up import (
    CatchUpReport,
    catch_up_strategy,
    closes_as,
    due_by,
    is_due,
    objective_met,
    objective_report,
    path_of,
)
from edge.policy.next_act import HELD_BACK, NO_WINDOW
from edge.policy.rollout import FAILED_BEFORE, plan_rollout
from edge.policy.strategy import check_strategy

NOW = datetime(2026, 5, 2, 12, 0, tzinfo=UTC)
JUMP, STEPS = VersionPath.JUMP, VersionPath.STEPS


def stamp(version: str, *, required_step: bool = False) -> Stamp:
    return Stamp(
        name="press",
        version=version,
        namespaces=("press",),
        components=(Component(name="app", path="app"),),
        required_step=required_step,
        digest="0" * 64,
    )


KNOWN = [
    stamp("2.0.0", required_step=True),
    stamp("1.10.0", required_step=True),
    stamp("1.9.0", required_step=True),
    stamp("2.1.0"),
    stamp("1.0.0", required_step=True),
    stamp("3.0.0-rc.1", required_step=True),
    stamp("3.0.0", required_step=True),
]


@pytest.mark.parametrize(
    ("have", "want", "path", "expected"),
    [
        (None, "3.0.0", STEPS, ("3.0.0",)),
        ("3.0.0", "3.0.0", STEPS, ()),
        ("1.9.0", "1.10.0", JUMP, ("1.10.0",)),
        ("2.0.0", "2.5.0", JUMP, ("2.5.0",)),
        ("1.0.0", "2.5.0", STEPS, ("1.9.0", "1.10.0", "2.0.0", "2.5.0")),
        ("1.9.0", "2.0.0", STEPS, ("1.10.0", "2.0.0")),
        ("2.0.0", "3.0.0", STEPS, ("3.0.0-rc.1", "3.0.0")),
        ("2.0.0", "2.5.0", STEPS, ("2.5.0",)),
    ],
    ids=[
        "never had it",
        "has it",
        "jump with nothing between",
        "jump from a required step",
        "over each required step, by number and not by letter",
        "the wanted one is a step itself",
        "what came before a release is a step to it",
        "steps that are none",
    ],
)
def test_the_way_to_a_version(have: str | None, want: str, path: VersionPath, expected: tuple[str, ...]) -> None:
    assert path_of(have, want, KNOWN, path) == expected


def test_a_jump_over_a_required_step_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"must not jump over 1\.10\.0, 2\.0\.0") as caught:
        path_of("1.9.0", "2.5.0", KNOWN, JUMP)
    assert caught.value.where["field"] == "strategy.catch_up.path"


@pytest.mark.parametrize("path", VersionPath)
def test_a_site_that_is_ahead_is_not_taken_back(path: VersionPath) -> None:
    with pytest.raises(InvalidInput, match=r"newer version, 3\.0\.0"):
        path_of("3.0.0", "3.0.0-rc.1", KNOWN, path)


def item(**fields: Any) -> CatchUp:
    made = {
        "site": "a",
        "stamp": "press",
        "version": "1.0.0",
        "digest": "0" * 64,
        "rollout_id": "r",
        "objective_s": 3600.0,
        "queued_at": NOW - timedelta(days=30),
    }
    return CatchUp.model_validate({**made, **fields})


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


DONE, FAILED, RUNNING = CatchUpState.DONE, CatchUpState.FAILED, CatchUpState.RUNNING
QUARANTINED, SUPERSEDED = CatchUpState.QUARANTINED, CatchUpState.SUPERSEDED


@pytest.mark.parametrize(
    ("fields", "due"),
    [
        ({}, False),
        ({"returned_at": ago(5)}, True),
        ({"returned_at": ago(-5)}, False),
        ({"returned_at": ago(5), "state": RUNNING}, False),
        ({"returned_at": ago(5), "state": DONE}, False),
        ({"returned_at": ago(5), "state": SUPERSEDED}, False),
        ({"returned_at": ago(5), "state": QUARANTINED}, False),
        ({"returned_at": ago(5), "state": QUARANTINED, "approved_by": "maria"}, True),
    ],
    ids=["away", "back", "back when its lock ends", "begun", "done", "superseded", "quarantined", "approved"],
)
def test_when_a_catch_up_is_due(fields: dict[str, Any], due: bool) -> None:
    assert is_due(item(**fields), NOW) is due


@pytest.mark.parametrize(
    ("fields", "met"),
    [
        ({}, None),
        ({"returned_at": ago(59)}, None),
        ({"returned_at": ago(61)}, False),
        ({"returned_at": ago(90), "ended_at": ago(31), "state": DONE}, True),
        ({"returned_at": ago(90), "ended_at": ago(29), "state": DONE}, False),
        ({"returned_at": ago(5), "ended_at": ago(1), "state": FAILED}, False),
        ({"returned_at": ago(90), "state": QUARANTINED}, False),
        ({"returned_at": ago(90), "state": SUPERSEDED}, None),
    ],
    ids=["away", "open", "too late", "in time", "done too late", "failed", "quarantined too long", "superseded"],
)
def test_whether_an_objective_was_met(fields: dict[str, Any], met: bool | None) -> None:
    assert objective_met(item(**fields), NOW) is met


def test_the_clock_of_an_objective_runs_from_the_return() -> None:
    assert due_by(item()) is None
    assert due_by(item(returned_at=ago(10))) == NOW + timedelta(minutes=50)


def test_catch_ups_are_reported_against_their_objectives() -> None:
    items = [
        item(),
        item(returned_at=ago(10)),
        item(returned_at=ago(100)),
        item(returned_at=ago(10), state=QUARANTINED),
        item(returned_at=ago(90), ended_at=ago(80), state=DONE),
        item(returned_at=ago(90), ended_at=ago(60), state=DONE),
        item(returned_at=ago(90), ended_at=ago(0), state=DONE),
        item(returned_at=ago(90), state=SUPERSEDED),
    ]
    assert objective_report(items, NOW) == CatchUpReport(
        away=1, open=2, met=2, missed=2, quarantined=1, median_s=1800, p95_s=5400
    )
    assert objective_report([], NOW) == CatchUpReport()


def test_late_sites_pass_the_same_gates() -> None:
    strategy = Strategy(
        canary="0",
        waves=(WaveSpec(size="1", soak_s=60), WaveSpec(approval=(Approval.BEFORE,))),
        failure_budget="10%",
        mandatory=SiteSelector(names=("a",)),
        windows=(Window(cron="0 2 * * *", duration_s=3600),),
        self_test_s=60,
        joiners=Joiners.CATCH_UP,
        force=("a", "c"),
    )
    cohort = [Site(name=name) for name in "abcd"]
    plan = plan_rollout(stamp("1.0.0"), cohort, strategy, {}, 1)
    late = catch_up_strategy(plan, ["c", "d"])
    same = {"failure_budget", "windows", "self_test_s", "site_deadline_s", "preflight", "delivery", "canary", "prune"}
    assert late.model_dump(include=same) == strategy.model_dump(include=same)
    assert late.waves == (WaveSpec(approval=(Approval.BEFORE,)),)
    assert (late.mandatory, late.joiners, late.force) == (None, Joiners.IGNORE, ("c",))
    assert catch_up_strategy(plan, ["a"]).waves == (WaveSpec(),)
    check_strategy(late, cohort[2:], NOW)


def ended(status: Status, *, code: str = "not-yet", reason: str = "") -> Outcome:
    return Outcome(subject="s", status=status, cause=Cause(code=code, message="", reason=reason))


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome(subject="s", status=Status.SUCCEEDED), CatchUpState.DONE),
        (ended(Status.FAILED), CatchUpState.FAILED),
        (ended(Status.ROLLED_BACK), CatchUpState.FAILED),
        (ended(Status.QUARANTINED), CatchUpState.QUARANTINED),
        (Outcome(subject="s", status=Status.HELD), CatchUpState.FAILED),
        (ended(Status.SKIPPED, reason=FAILED_BEFORE), CatchUpState.FAILED),
        (ended(Status.SKIPPED, reason=NO_WINDOW), CatchUpState.FAILED),
        (ended(Status.SKIPPED, reason=HELD_BACK), None),
        (ended(Status.EXPECTED_OFFLINE, code="site-unreachable"), None),
        (ended(Status.FAILED, code="site-silent"), None),
    ],
    ids=[
        "succeeded",
        "failed",
        "rolled back",
        "quarantined",
        "held by another's failure",
        "failed before",
        "never a window",
        "locked",
        "away again",
        "away again, unexpectedly",
    ],
)
def test_what_a_try_means_for_the_queue(outcome: Outcome, expected: CatchUpState | None) -> None:
    assert closes_as(outcome) is expected


@pytest.mark.parametrize(
    ("strategy", "canary"),
    [
        (Strategy(canary="2"), "2"),
        (Strategy(canary="0", waves=(WaveSpec(size="1", canary=True), WaveSpec())), "1"),
        (Strategy(canary="0", waves=(WaveSpec(),)), "0"),
    ],
    ids=["its canary", "a wave that is one", "none"],
)
def test_late_sites_have_a_canary_when_the_others_had_one(strategy: Strategy, canary: str) -> None:
    plan = plan_rollout(stamp("2.0.0"), [Site(name=name) for name in "abc"], strategy, {}, 1)
    late = catch_up_strategy(plan, ["b", "c"])
    assert (late.canary, late.on_meeting) == (canary, OnMeeting.WAIT)
    check_strategy(late, [Site(name=name) for name in "bc"], NOW)
