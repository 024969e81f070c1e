"""How a device did, as the ledger has it: for those on which nothing is to be done, and for whoever asks later."""

from __future__ import annotations

from edge.errors import IdentityRefused, NotYet
from edge.ledger import Ledger
from edge.model.device import Device, DeviceState
from edge.model.outcome import Cause, Outcome, Status
from edge.model.step import StepRecord
from edge.policy.onboarding import attempt_key

LEAVING = (DeviceState.DECOMMISSIONING, DeviceState.DECOMMISSIONED)
_LEFT_ALONE = Cause(
    code="decommissioned",
    message="The device is being decommissioned, or is; it is left alone",
    remedy="A new voucher and a new registration bring it back",
)
_STATUS = {DeviceState.QUARANTINED: Status.QUARANTINED, DeviceState.FAILED: Status.FAILED}


def last_attempt(ledger: Ledger, device: Device) -> StepRecord | None:
    """How often the device was tried with its certificate, and how the last try ended; None: never."""
    key = attempt_key(device)
    records = ledger.steps.records(key.work, key.subject)
    return records[0] if records else None


def recorded_outcome(ledger: Ledger, device: Device) -> Outcome:
    """How the device did so far; one that is on its way is held."""
    if device.state is DeviceState.CONNECTED:
        return Outcome(subject=device.device_id, status=Status.SUCCEEDED)
    if device.state in LEAVING:
        return Outcome(subject=device.device_id, status=Status.HELD, cause=_LEFT_ALONE)
    if device.state not in _STATUS:
        cause = Cause.of(NotYet("The device is on its way", device=device.device_id, state=device.state))
        return Outcome(subject=device.device_id, status=Status.HELD, cause=cause)
    attempt = last_attempt(ledger, device)
    told = (attempt.cause if attempt else None) or Cause(code=IdentityRefused.code, message=device.reason)
    return Outcome(subject=device.device_id, status=_STATUS[device.state], cause=told)
