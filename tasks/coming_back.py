"""A decommissioned device that comes with a new owner's word is let begin another life."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from edge.errors import IdentityRefused
from edge.ledger import Ledger
from edge.model.admission import Trust
from edge.model.device import Device, DeviceState
from edge.model.step import StepState
from edge.policy.decommission import LOSS, REVOKED_WHY, leave_key, leaving_life, may_return
from edge.policy.identity import prove_identity
from edge.policy.voucher import read_voucher


def comes_back(ledger: Ledger, device: Device, trust: Trust) -> Device:
    """The device as REGISTERED when a new ownership lets it, else as it is.

    The ownership may be on record already, or in a voucher that the device carries. It counts for the serial number in
    the device's certificate alone: with what it says of itself a device would come back on the word for another.
    """
    if device.state is not DeviceState.DECOMMISSIONED:
        return device
    now = datetime.now(UTC)
    serial = _proven_serial(device, trust, now)
    if not serial:
        return device
    _record_voucher(ledger, device, serial, trust.voucher_anchors, now)
    if may_return(device, ledger.ownerships.of_serial(serial), lost=was_lost(ledger, device), now=now) is None:
        return device
    return let_back(ledger, device)


def let_back(ledger: Ledger, device: Device) -> Device:
    """Open a decommissioned device again. Its key is believed again if decommissioning was what revoked it."""
    known = ledger.revocations.keys()
    for revoked in known:
        if revoked.device_id == device.device_id and revoked.reason.startswith(REVOKED_WHY):
            ledger.revocations.restore_key(revoked.fingerprint)
    return ledger.devices.move(device.device_id, DeviceState.REGISTERED, expected=(DeviceState.DECOMMISSIONED,))


def was_lost(ledger: Ledger, device: Device) -> bool:
    """Whether an operator said, when the device left, that it will not be seen again."""
    key = leave_key(leaving_life(device), LOSS)
    records = ledger.steps.records(key.work, key.subject)
    return any(one.key.step == LOSS and one.state is StepState.DONE for one in records)


def _proven_serial(device: Device, trust: Trust, now: datetime) -> str:
    """The serial number that a trusted manufacturer certified; empty when none did."""
    try:
        return prove_identity(device.registration, trusted=trust.anchors, now=now).identity.device_serial
    except IdentityRefused:
        return ""


def _record_voucher(ledger: Ledger, device: Device, serial: str, anchors: Sequence[str], now: datetime) -> None:
    """One that is no good brings nobody back, and admission says why if something else does."""
    if device.registration.voucher:
        with suppress(IdentityRefused):
            said = read_voucher(device.registration.voucher, anchors=anchors, now=now)
            if said.serial == serial:
                ledger.ownerships.record(said)
