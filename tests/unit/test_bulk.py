"""Many outcomes, sorted by cause; and which devices a later run takes up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from edge.errors import IdentityRefused, OperationFailed, Throttled
from edge.model.bulk import Backoff, LaterTries
from edge.model.device import Device, DeviceFacts, DeviceState, Registration
from edge.model.outcome import Cause, Outcome, Status
from edge.model.step import StepRecord, StepState
from edge.policy.bulk import by_cause, named, needing_attention, summary_markdown
from edge.policy.onboarding import attempt_key
from edge.policy.retrying import given_up, left_over

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
EXPIRED = Cause.of(IdentityRefused("It is over", remedy="Renew it", reason="expired"))
REVOKED = Cause.of(IdentityRefused("It was withdrawn", reason="revoked"))
BUSY = Cause.of(Throttled("Azure asks for fewer requests", retry_after=7.0))
QUOTA = Cause.of(OperationFailed("Quota | used up", remedy="Ask for more"))


def outcome(device: str, status: Status, cause: Cause | None = None) -> Outcome:
    return Outcome(subject=device, status=status, cause=cause)


OUTCOMES = [
    outcome("dev-1", Status.SUCCEEDED),
    outcome("dev-2", Status.QUARANTINED, EXPIRED),
    outcome("dev-4", Status.QUARANTINED, REVOKED),
    outcome("dev-5", Status.FAILED, BUSY),
    outcome("dev-3", Status.QUARANTINED, EXPIRED),
    outcome("dev-6", Status.FAILED, QUOTA),
]


def test_a_cause_carries_its_reason_and_the_servers_wish() -> None:
    assert (EXPIRED.reason, EXPIRED.transient, EXPIRED.retry_after_s) == ("expired", False, None)
    assert (BUSY.reason, BUSY.transient, BUSY.retry_after_s) == ("", True, 7.0)


def test_what_hits_most_devices_comes_first_and_each_reason_is_its_own() -> None:
    groups = [(group.name, group.devices) for group in by_cause(OUTCOMES)]
    assert groups == [
        ("identity-refused/expired", ("dev-2", "dev-3")),
        ("identity-refused/revoked", ("dev-4",)),
        ("operation-failed", ("dev-6",)),
        ("throttled", ("dev-5",)),
    ]


def test_people_are_called_for_what_does_not_pass_by_itself() -> None:
    called = [group.name for group in needing_attention(by_cause(OUTCOMES))]
    assert called == ["identity-refused/expired", "identity-refused/revoked", "operation-failed"]


def test_people_are_called_for_what_was_tried_too_often() -> None:
    called = {group.name: group.devices for group in needing_attention(by_cause(OUTCOMES), given_up=("dev-5",))}
    assert called["throttled"] == ("dev-5",)


def test_the_summary_has_a_row_for_each_cause_that_cannot_break_the_table() -> None:
    text = summary_markdown(OUTCOMES, "6 devices")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 4
    assert "Quota \\| used up" in text
    assert "It is tried again by itself" in text


def test_what_is_said_in_the_summary_is_text_and_no_markup() -> None:
    said = "Not found: [here](https://elsewhere.example) ![](x) <img src=x> `a`"
    failed = Outcome(subject="dev-1", status=Status.FAILED, cause=Cause(code="not-found", message=said))
    row = summary_markdown([failed], "1 device").splitlines()[-1]
    assert "\\[here\\](https://elsewhere.example) \\!\\[\\](x) &lt;img src=x> \\`a\\`" in row


def test_the_summary_of_a_good_run_is_its_sentence() -> None:
    assert summary_markdown([outcome("dev-1", Status.SUCCEEDED)], "1 device") == "**1 device**"


def test_many_names_are_cut_short_and_counted() -> None:
    assert named(["a", "b", "c"], most=2) == "3: a, b and 1 more"


def device(state: DeviceState) -> Device:
    registration = Registration(device_id="dev-1", certificate="c", facts=DeviceFacts(serial="s"))
    return Device(device_id="dev-1", state=state, registration=registration, registered_at=NOW)


def attempt(cause: Cause | None, tries: int = 4) -> StepRecord:
    state = StepState.FAILED if cause else StepState.INTENDED
    key = attempt_key(device(DeviceState.FAILED))
    ended = NOW if cause else None
    return StepRecord(key=key, state=state, tries=tries, started_at=NOW, ended_at=ended, cause=cause)


@pytest.mark.parametrize(
    ("state", "tried", "minutes", "taken"),
    [
        pytest.param(DeviceState.FAILED, attempt(BUSY), 14, False, id="may-pass-too-soon"),
        pytest.param(DeviceState.FAILED, attempt(BUSY), 15, True, id="may-pass-due"),
        pytest.param(DeviceState.FAILED, attempt(BUSY, 12), 59, False, id="may-pass-third-run-too-soon"),
        pytest.param(DeviceState.FAILED, attempt(QUOTA), 600, False, id="does-not-pass"),
        pytest.param(DeviceState.FAILED, None, 600, False, id="failed-before-any-try-was-counted"),
        pytest.param(DeviceState.ONBOARDING, attempt(None), 14, False, id="run-just-died"),
        pytest.param(DeviceState.ONBOARDING, attempt(None), 15, True, id="run-died"),
        pytest.param(DeviceState.REGISTERED, None, 59, False, id="registered-lately"),
        pytest.param(DeviceState.REGISTERED, None, 60, True, id="nobody-came"),
        pytest.param(DeviceState.QUARANTINED, attempt(EXPIRED), 6000, False, id="quarantined"),
        pytest.param(DeviceState.CONNECTED, attempt(None), 6000, False, id="connected"),
        pytest.param(DeviceState.DECOMMISSIONED, attempt(BUSY), 6000, False, id="decommissioned"),
        pytest.param(DeviceState.DECOMMISSIONING, attempt(BUSY), 6000, False, id="decommissioning"),
    ],
)
def test_a_later_run_takes_up(state: DeviceState, tried: StepRecord | None, minutes: int, taken: bool) -> None:
    now = NOW + timedelta(minutes=minutes)
    assert left_over(device(state), tried, now, LaterTries(), Backoff()) is taken


def test_only_what_may_pass_is_given_up_after_too_many_tries() -> None:
    attempts = {"a": attempt(BUSY, 40), "b": attempt(BUSY, 39), "c": attempt(QUOTA, 99)}
    assert given_up(attempts, LaterTries(most=40)) == ("a",)
