"""Why a device is where it is, and what to do: from what is on record, without asking anybody."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from edge.errors import InvalidInput
from edge.model.admission import Ownership
from edge.model.assignment import AssignmentRules
from edge.model.base import Value
from edge.model.device import Device, DeviceState, Reservation
from edge.model.explanation import Explanation, RulesSaid, StepSaid
from edge.model.outcome import Cause
from edge.model.site import Site
from edge.model.step import StepRecord, StepState
from edge.policy.assignment import assign
from edge.policy.owner import likely_owner

_NEXT = {
    DeviceState.REGISTERED: "Wait: the gateway starts its onboarding. If it does not, see that gateway and worker run",
    DeviceState.ONBOARDING: "Wait: a run works on it",
    DeviceState.CONNECTED: "",
    DeviceState.QUARANTINED: "When the reason is gone, let it be tried again: edge device retry {device}",
    DeviceState.FAILED: "When the reason is gone, let it be tried again: edge device retry {device}",
    DeviceState.DECOMMISSIONING: "Go on with: edge device decommission {device}",
    DeviceState.DECOMMISSIONED: "A new voucher or list entry and a new registration bring it back",
}
_PASSES = "It is tried again later by itself; at once with: edge device retry {device}"
"""Of a failure that may pass; no later run takes up any other."""


class OnRecord(Value):
    """What the ledger holds of one device. `others` are the other devices at its site."""

    device: Device
    steps: tuple[StepRecord, ...] = ()
    attempt: StepRecord | None = None
    ownerships: tuple[Ownership, ...] = ()
    reservation: Reservation | None = None
    site: Site | None = None


def explain(known: OnRecord, rules: RulesSaid, *, now: datetime) -> Explanation:
    """All of it in one value. `rules` is what `ask_rules` answered."""
    device = known.device
    owner = likely_owner(known.ownerships, device, now=now)
    stopped_by = _stopped_by(known)
    return Explanation(
        device_id=device.device_id,
        state=device.state,
        reason=device.reason,
        generation=device.generation,
        site=known.site,
        owner=owner,
        other_owners=tuple(one for one in known.ownerships if one != owner),
        reservation=known.reservation,
        rules=rules,
        steps=tuple(_said(record) for record in known.steps),
        stopped_by=stopped_by,
        advice=tuple(_advice(device, stopped_by, rules, known)),
    )


def ask_rules(known: OnRecord, rules: AssignmentRules, source: str, *, now: datetime) -> RulesSaid:
    """What these rules say of the device, whatever they said before."""
    owner = likely_owner(known.ownerships, known.device, now=now)
    try:
        found = assign(known.device.registration, rules, owner.tenant if owner else None)
    except InvalidInput as error:
        return RulesSaid(source=source, why=str(error))
    return RulesSaid(
        source=source, answers=found.answers, rule=found.rule, choice=found.choice, site=found.site, why=found.why
    )


def _said(record: StepRecord) -> StepSaid:
    return StepSaid(
        step=record.key.step,
        state=record.state,
        tries=record.tries,
        ended_at=record.ended_at,
        detail=record.detail,
        cause=record.cause,
    )


def _stopped_by(known: OnRecord) -> Cause | None:
    """The last failure, of a device that is not in. A refusal between two steps is on the attempt's row alone."""
    if known.device.state not in (DeviceState.QUARANTINED, DeviceState.FAILED):
        return None
    if known.attempt is not None and known.attempt.cause is not None:
        return known.attempt.cause
    failed = [record for record in known.steps if record.state is StepState.FAILED and record.cause is not None]
    return _latest(failed).cause if failed else None


def _latest(records: Sequence[StepRecord]) -> StepRecord:
    return max(records, key=lambda record: record.ended_at or record.started_at)


def _advice(device: Device, stopped_by: Cause | None, rules: RulesSaid, known: OnRecord) -> Iterable[str]:
    if stopped_by is not None and stopped_by.remedy:
        yield stopped_by.remedy
    if _waits_for_a_rule(device, rules, known):
        yield f"Write a rule that matches, and try it first: edge device explain {device.device_id} --rules FILE"
    passes = device.state is DeviceState.FAILED and stopped_by is not None and stopped_by.transient
    general = _PASSES if passes else _NEXT[device.state]
    if general:
        yield general.format(device=device.device_id)


def _waits_for_a_rule(device: Device, rules: RulesSaid, known: OnRecord) -> bool:
    is_out = device.state in (DeviceState.QUARANTINED, DeviceState.FAILED, DeviceState.REGISTERED)
    return is_out and rules.site is None and bool(rules.answers) and known.site is None and known.reservation is None
