"""Where the time of onboardings went, from the rows of the step log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge.cli.device_timings import bar
from edge.errors import InvalidInput
from edge.model.device import Device, DeviceFacts, DeviceState, Registration
from edge.model.outcome import Cause
from edge.model.step import StepKey, StepRecord, StepState
from edge.model.timing import FleetTimings, SpanTiming
from edge.policy.durations import parse_duration, short_seconds
from edge.policy.fleet_timing import fleet_timings
from edge.policy.onboarding import attempt_key, onboarding_work

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def device(name: str, **more: Any) -> Device:
    registration = Registration(device_id=name, certificate="", facts=DeviceFacts(serial="1"))
    return Device(
        device_id=name, registration=registration, registered_at=START, **{"state": DeviceState.CONNECTED, **more}
    )


def row(of: Device, step: str, begin: float, end: float | None, **more: Any) -> StepRecord:
    """A row that began and ended so many seconds after the registration; done unless said otherwise."""
    key = StepKey(work=onboarding_work(of), subject=of.device_id, step=step)
    ended = None if end is None else START + timedelta(seconds=end)
    state = more.pop("state", StepState.DONE)
    started = START + timedelta(seconds=begin)
    return StepRecord(key=key, **{"tries": 1, **more}, state=state, started_at=started, ended_at=ended)


def whole(of: Device, connect_s: float = 100.0, queue_s: float = 5.0) -> list[StepRecord]:
    spent = {"precheck_s": 2, "slot_s": 0.0, "resource_s": connect_s - 12, "agents_s": 8.5, "call_in_s": 1.5}
    at = queue_s + 2
    return [
        row(of, "identity", queue_s, queue_s + 1),
        row(of, "assign", queue_s + 1, queue_s + 2),
        row(of, "connect", at, at + connect_s, detail={**spent, "latency_s": 0.2, "decision": "new"}),
        row(of, "baseline", at + connect_s, at + connect_s + 3),
        row(of, "verify", at + connect_s + 3, at + connect_s + 4),
    ]


def found(records: list[StepRecord], *devices: Device, step: str = "") -> FleetTimings:
    return fleet_timings(records, {one.device_id: one for one in devices}, step=step)


def spans(timings: FleetTimings) -> dict[str, SpanTiming]:
    return {span.name: span for span in timings.spans}


def test_spans_come_in_the_order_of_onboarding_with_connects_phases_inside() -> None:
    one = device("dev-1")
    timings = found(whole(one), one)
    assert [(span.name, span.part_of, span.median_s) for span in timings.spans] == [
        ("queue", "", 5.0),
        ("identity", "", 1.0),
        ("assign", "", 1.0),
        ("connect", "", 100.0),
        ("precheck", "connect", 2.0),
        ("slot", "connect", 0.0),
        ("resource", "connect", 88.0),
        ("agents", "connect", 8.5),
        ("call_in", "connect", 1.5),
        ("baseline", "", 3.0),
        ("verify", "", 1.0),
        ("whole", "", 111.0),
    ]
    assert all(span.waits_for for span in timings.spans)


def test_quantiles_are_over_devices_and_the_slowest_is_named() -> None:
    fleet = [device(f"dev-{number:02}") for number in range(1, 21)]
    records = [record for number, one in enumerate(fleet, 1) for record in whole(one, connect_s=100.0 + number)]
    connect = spans(found(records, *fleet))["connect"]
    assert (connect.devices, connect.median_s, connect.p95_s, connect.longest_s) == (20, 110.0, 119.0, 120.0)
    assert (connect.slowest, connect.total_s, connect.tries) == ("dev-20", 2210.0, 20)


def test_earlier_tries_and_pauses_are_a_span_of_their_own() -> None:
    one = device("dev-1")
    records = [
        row(one, "identity", 5, 6),
        row(one, "assign", 6, 7),
        row(one, "connect", 67, 80, tries=3),  # two tries and their pauses took the minute before
        row(one, "baseline", 80, 81),
    ]
    timings = spans(found(records, one))
    assert (timings["tried again"].median_s, timings["connect"].median_s, timings["connect"].tries) == (60.0, 13.0, 3)
    assert "whole" not in timings


def test_a_first_step_that_was_tried_again_says_nothing_of_the_queue() -> None:
    one = device("dev-1")
    assert "queue" not in spans(found([row(one, "identity", 50, 51, tries=2)], one))


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        pytest.param({"generation": 2}, False, id="a-later-life"),
        pytest.param({"registered_at": START + timedelta(days=60)}, False, id="certificate-renewed-since"),
        pytest.param({}, True, id="first-life"),
    ],
)
def test_the_queue_is_known_of_a_first_registration_only(other: dict[str, Any], kept: bool) -> None:
    one = device("dev-1").model_copy(update=other)
    names = spans(found(whole(one), one))
    assert ("queue" in names, "whole" in names) == (kept, kept)


def test_failures_are_counted_by_step_and_cause_most_devices_first() -> None:
    fleet = [device(f"dev-{number}") for number in range(1, 5)]
    refused = Cause(code="identity-refused", reason="expired", message="It expired", remedy="Renew it")
    broken = Cause(code="server-fault", message="500", transient=True)
    failed = {"state": StepState.FAILED, "tries": 2}
    records = [
        row(fleet[0], "connect", 5, 9, cause=broken, **failed),
        *(row(one, "identity", 1, 2, cause=refused, **failed) for one in fleet[1:3]),
        row(fleet[3], "identity", 1, None, state=StepState.INTENDED),
    ]
    timings = found(records, *fleet)
    assert [(one.step, one.code, one.reason, one.devices, one.transient) for one in timings.failures] == [
        ("identity", "identity-refused", "expired", 2, False),
        ("connect", "server-fault", "", 1, True),
    ]
    identity = spans(timings)["identity"]
    assert (identity.devices, identity.failed, identity.open, identity.tries) == (0, 2, 1, 5)
    assert (identity.median_s, identity.longest_s, identity.slowest) == (None, None, "")


def test_one_step_is_shown_with_what_is_inside_of_it() -> None:
    one = device("dev-1")
    timings = found(whole(one), one, step="connect")
    assert [span.name for span in timings.spans] == ["connect", "precheck", "slot", "resource", "agents", "call_in"]


def test_devices_that_are_not_asked_for_are_left_out() -> None:
    one, other = device("dev-1"), device("dev-2")
    timings = found([*whole(one), *whole(other)], one)
    assert (timings.devices, spans(timings)["verify"].devices) == (1, 1)


def test_nothing_onboarded_is_nothing_measured() -> None:
    assert found([], device("dev-1")) == FleetTimings(devices=0, spans=(), failures=())


def test_a_step_of_another_version_is_shown_after_the_known_ones() -> None:
    one = device("dev-1")
    assert [span.name for span in found([row(one, "old", 1, 2), row(one, "assign", 2, 3)], one).spans][1:3] == [
        "assign",
        "old",
    ]


def test_the_longest_bar_is_the_span_that_costs_most() -> None:
    one = device("dev-1")
    timings = found(whole(one), one)
    bars = {span.name: bar(span, timings.spans) for span in timings.spans}
    assert (bars["connect"], bars["whole"], bars["slot"]) == ("█" * 24, "", "")
    assert bars["resource"] == "█" * 21


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1_800), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600), ("0s", 0)],
    ids=str,
)
def test_lengths_of_time_are_read(text: str, seconds: int) -> None:
    assert parse_duration(text, field="--since").total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "7 days", "9999999d", "٧d"], ids=range(8))
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_duration(text, field="--since")
    assert caught.value.where["field"] == "--since"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.041, "0.04 s"), (12.34, "12.3 s"), (92.4, "92 s"), (1_320, "22 min"), (11_160, "3.1 h")],
    ids=str,
)
def test_seconds_are_shown_in_as_much_detail_as_matters(seconds: float | None, text: str) -> None:
    assert short_seconds(seconds) == text


def attempt(of: Device, cause: Cause) -> StepRecord:
    return row(of, "attempt", 0, 9, state=StepState.FAILED, cause=cause).model_copy(update={"key": attempt_key(of)})


def test_what_refused_a_device_before_a_step_began_counts_for_that_step() -> None:
    one, two = device("dev-1", state=DeviceState.QUARANTINED), device("dev-2", state=DeviceState.FAILED)
    no_rule = Cause(code="identity-refused", message="No rule (device dev-1). Add a rule", remedy="Add a rule")
    slow = Cause(code="timed-out", message="Too slow", transient=True)
    rows = [row(one, "identity", 1, 2), row(two, "identity", 1, 2, state=StepState.FAILED, cause=slow)]
    attempts = [attempt(one, no_rule), attempt(two, slow), attempt(device("dev-3"), slow)]
    timings = fleet_timings(rows, {"dev-1": one, "dev-2": two}, attempts=attempts)
    told = [(failure.step, failure.code, failure.devices, failure.message) for failure in timings.failures]
    assert told == [
        ("assign", "identity-refused", 1, "No rule (device dev-1)"),
        ("identity", "timed-out", 1, "Too slow"),
    ]
    assert fleet_timings(rows, {"dev-1": one}, attempts=attempts, step="connect").failures == ()


def test_a_try_that_came_through_in_the_end_is_no_failure() -> None:
    one = device("dev-1")
    through = attempt(one, Cause(code="x", message="x")).model_copy(update={"state": StepState.DONE, "cause": None})
    assert fleet_timings(whole(one), {"dev-1": one}, attempts=[through]).failures == ()


def test_a_device_with_two_lives_is_one_device() -> None:
    first, second = device("dev-1"), device("dev-1", generation=2)
    timings = fleet_timings([*whole(first), *whole(second)], {"dev-1": second})
    assert (timings.devices, spans(timings)["connect"].devices, spans(timings)["connect"].tries) == (1, 1, 2)
