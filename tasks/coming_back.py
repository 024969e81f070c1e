"""A decommissioned device that comes with a new owner's word is let begin another life."""

from __future__ import annotations

from datetime import UTC, datetime

from edge.ledger import Ledger
from edge.model.device import Device
from edge.model.step import StepState
from edge.policy.decommission import LOSS, REVOKED_WHY, leave_key, may_return


def comes_back(ledger: Ledger, device: Device) -> Device:
    """The device as REGISTERED in its next life when a new ownership lets it, else as it is.

    Its key is believed again if decommissioning was what revoked it.
    """
    owned = may_return(
        device,
        ledger.ownerships.of_serial(device.registration.facts.serial),
        lost=was_lost(ledger, device),
        now=datetime.now(UTC),
    )
    if owned is None:
        return device
    return begin_anew(ledger, device, f"it comes back on {owned.ownership_id}")


def begin_anew(ledger: Ledger, device: Device, reason: str) -> Device:
    """Begin another life of a device, whose key is believed again if decommissioning was what revoked it."""
    known = ledger.revocations.keys()
    for revoked in known:
        if revoked.device_id == device.device_id and revoked.reason.startswith(REVOKED_WHY):
            ledger.revocations.restore_key(revoked.fingerprint)
    return ledger.devices.begin_anew(device.device_id, reason=reason, generation=device.generation)


def was_lost(ledger: Ledger, device: Device) -> bool:
    """Whether an operator said, in this life of the device, that it will not be seen again."""
    key = leave_key(device, LOSS)
    records = ledger.steps.records(key.work, key.subject)
    return any(one.key.step == LOSS and one.state is StepState.DONE for one in records)
