"""Why a device is where it is, and what to do about it, from what is on record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from edge.model.admission import Ownership, OwnershipKind
from edge.model.assignment import AssignmentRules
from edge.model.device import Device, DeviceFacts, DeviceState, Registration, Reservation
from edge.model.explanation import Explanation
from edge.model.outcome import Cause
from edge.model.site import Site
from edge.model.step import StepKey, StepRecord, StepState
from edge.policy.explain import OnRecord, ask_rules, explain

NOW = datetime(2026, 3, 1, tzinfo=UTC)
REFUSED = Cause(code="identity-refused", reason="expired", message="It expired", remedy="Renew the certificate")
RULES = AssignmentRules.model_validate({"rules": [{"name": "a", "when": "device.model == 'm1'", "site": "site-a"}]})


def known(state: DeviceState, model: str = "m1", **more: Any) -> OnRecord:
    facts = DeviceFacts(serial="SN-1", model=model)
    registration = Registration(device_id="dev-1", certificate="", facts=facts)
    return OnRecord(device=Device(device_id="dev-1", state=state, registration=registration, registered_at=NOW), **more)


def record(step: str, state: StepState, cause: Cause | None = None, minute: int = 0) -> StepRecord:
    at = NOW.replace(minute=minute)
    key = StepKey(work="onboarding:x", subject="dev-1", step=step)
    return StepRecord(key=key, state=state, tries=1, started_at=at, ended_at=at, cause=cause)


def explained(of: OnRecord, rules: AssignmentRules = RULES) -> Explanation:
    return explain(of, ask_rules(of, rules, "the rules in force", now=NOW), now=NOW)


def test_a_connected_device_is_explained_by_its_rule_and_its_steps() -> None:
    steps = (record("identity", StepState.DONE), record("assign", StepState.DONE))
    found = explained(known(DeviceState.CONNECTED, site=Site(name="site-a"), steps=steps))
    assert (found.rules.rule, found.rules.why) == ("a", "Rule 'a' matches: device.model == 'm1' is true")
    assert [(step.step, step.state) for step in found.steps] == [("identity", "done"), ("assign", "done")]
    assert (found.stopped_by, found.advice) == (None, ())


def test_a_quarantined_device_is_explained_by_what_stopped_it() -> None:
    found = explained(known(DeviceState.QUARANTINED, steps=(record("identity", StepState.FAILED, REFUSED),)))
    assert found.stopped_by == REFUSED
    assert found.advice == (
        "Renew the certificate",
        "When the reason is gone, let it be tried again: edge device retry dev-1",
    )


def test_what_the_whole_try_ended_with_counts_more_than_a_step_before() -> None:
    between = Cause(code="identity-refused", message="No assignment rule matches this device", remedy="Add a rule")
    attempt = record("attempt", StepState.FAILED, between, minute=2)
    found = explained(known(DeviceState.QUARANTINED, model="other", attempt=attempt))
    assert found.stopped_by == between
    assert found.advice[:2] == (
        "Add a rule",
        "Write a rule that matches, and try it first: edge device explain dev-1 --rules FILE",
    )


def test_of_several_failed_steps_the_last_one_stopped_it() -> None:
    later = Cause(code="server-fault", message="500", transient=True)
    steps = (record("identity", StepState.FAILED, REFUSED, 1), record("connect", StepState.FAILED, later, 2))
    assert explained(known(DeviceState.FAILED, steps=steps)).stopped_by == later


def test_an_old_failure_of_a_device_that_is_in_stops_nothing() -> None:
    assert (
        explained(known(DeviceState.CONNECTED, attempt=record("attempt", StepState.FAILED, REFUSED))).stopped_by is None
    )


@pytest.mark.parametrize("state", DeviceState)
def test_a_device_is_explained_in_any_state(state: DeviceState) -> None:
    found = explained(known(state))
    assert (found.state, found.rules.site is not None) == (state, True)
    assert bool(found.advice) == (state is not DeviceState.CONNECTED)


def test_a_rule_that_gives_no_usable_name_is_said_and_not_raised() -> None:
    bad = AssignmentRules.model_validate({"rules": [{"name": "a", "when": "true", "site": "${device.location}"}]})
    found = explained(known(DeviceState.FAILED), bad)
    assert (found.rules.site, found.rules.answers) == (None, ())
    assert "no usable name" in found.rules.why


def owned(name: str, **more: Any) -> Ownership:
    kind = OwnershipKind.LIST
    return Ownership(ownership_id=name, serial="SN-1", tenant=name, kind=kind, created_at=NOW, **more)


def test_the_owner_is_told_apart_from_other_words_on_the_serial_number() -> None:
    ended, free = owned("old", ended_at=NOW), owned("acme")
    found = explained(known(DeviceState.REGISTERED, ownerships=(ended, free)))
    assert (found.owner, found.other_owners) == (free, (ended,))


def test_a_rule_is_asked_with_the_owner() -> None:
    rules = AssignmentRules.model_validate(
        {"rules": [{"name": "a", "when": "true", "site": "s", "tenant": "${owner.tenant}"}]}
    )
    assert explained(known(DeviceState.REGISTERED), rules).rules.site is None
    site = explained(known(DeviceState.REGISTERED, ownerships=(owned("acme"),)), rules).rules.site
    assert site is not None
    assert site.tenant == "acme"


def test_no_rule_is_asked_for_where_a_place_is_kept() -> None:
    kept = Reservation(device_id="dev-1", site="site-b", replaces="dev-0", made_at=NOW)
    found = explained(known(DeviceState.REGISTERED, model="other", reservation=kept))
    assert not [advice for advice in found.advice if "Write a rule" in advice]


@pytest.mark.parametrize(
    ("transient", "advice"),
    [
        pytest.param(True, "It is tried again later by itself; at once with: edge device retry dev-1", id="may-pass"),
        pytest.param(False, "When the reason is gone, let it be tried again: edge device retry dev-1", id="for-good"),
    ],
)
def test_only_a_failure_that_may_pass_is_said_to_be_tried_again_by_itself(transient: bool, advice: str) -> None:
    cause = Cause(code="rejected", message="No room", transient=transient)
    found = explained(known(DeviceState.FAILED, steps=(record("connect", StepState.FAILED, cause),)))
    assert found.advice == (advice,)
