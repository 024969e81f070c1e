"""What a registration does to a device on record: it is replaced, or another key only claims its name.

The key of a registration is what `edge.policy.proof.claim_key` says: whoever proves that it holds its key goes before
those who do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, select, update

from edge.errors import NotFound
from edge.ledger.challenges import answer_challenge, answer_of
from edge.ledger.tables import claims, devices
from edge.ledger.writer import Transaction
from edge.model.base import Value
from edge.model.device import Device, DeviceClaim, DeviceState, Origin, Registration
from edge.policy.proof import claim_key, registration_digest

UNPROVEN = "unproven:"
MAX_CLAIMS = 16
"""For each device. Every try of onboarding looks at all of them, and anybody who may send events can make one."""
_GET = select(devices).where(devices.c.device_id == bindparam("a"))
_LOCK = _GET.with_for_update()
_OPEN_AGAIN = (DeviceState.QUARANTINED, DeviceState.FAILED)


class Incoming(Value):
    """A registration on its way in. What costs time is worked out before the transaction that others wait for."""

    registration: Registration
    key: str
    digest: str
    at: datetime
    received_at: datetime
    via: Origin

    @classmethod
    def of(cls, registration: Registration, *, at: datetime, received_at: datetime, via: Origin) -> Incoming:
        """Work out the key and the digest."""
        digest = registration_digest(registration) if registration.proof else ""
        key = claim_key(registration)
        return cls(registration=registration, key=key, digest=digest, at=at, received_at=received_at, via=via)

    @property
    def stored(self) -> dict[str, Any]:
        """What stands in the row of a device or a claim. Only what was sent, so that its digest can be made again."""
        return {
            "registration": self.registration.model_dump(mode="json", exclude_unset=True),
            "key": self.key,
            "via": self.via,
        }


def register(given: Incoming, txn: Transaction) -> Device:
    """Store it; answers the device as it is on record afterwards."""
    device = _registered(given, txn)
    proof = given.registration.proof
    # Only a signature that holds answers: otherwise whoever sees a nonce could spoil it for the device.
    if proof is not None and not given.key.startswith((UNPROVEN, "unreadable:")):
        answer_challenge(txn, proof.nonce, device=device, answer=given.digest, at=given.received_at)
    return device


def row_of(connection: Connection, device_id: str, *, locked: bool = False) -> RowMapping:
    """The device's row, locked until the end of the transaction if asked. Raises NotFound."""
    row = connection.execute(_LOCK if locked else _GET, {"a": device_id}).mappings().one_or_none()
    if row is None:
        raise NotFound("No such device", device=device_id)
    return row


def device_of(row: RowMapping) -> Device:
    """The row's device."""
    return Device.model_validate({column: value for column, value in row.items() if column != "key"})


def change(txn: Transaction, device_id: str, changes: Mapping[str, Any]) -> Device:
    """Write the changes, if any; answers the device."""
    if changes:
        txn.connection.execute(update(devices).where(devices.c.device_id == device_id).values(**changes))
    return device_of(row_of(txn.connection, device_id))


def claims_of(connection: Connection, device_id: str) -> tuple[DeviceClaim, ...]:
    """What was registered under the id with another key, oldest first."""
    wanted = select(claims).where(claims.c.device_id == device_id).order_by(claims.c.first_at, claims.c.key)
    return tuple(DeviceClaim.model_validate(dict(row)) for row in connection.execute(wanted).mappings())


def drop_claims(txn: Transaction, device_id: str, *keys: str) -> None:
    """Forget what these keys claim."""
    txn.connection.execute(delete(claims).where(claims.c.device_id == device_id, claims.c.key.in_(keys)))


def _registered(given: Incoming, txn: Transaction) -> Device:
    try:
        known = row_of(txn.connection, given.registration.device_id, locked=True)
    except NotFound:
        return _add(txn, given)
    device = device_of(known)
    if known["key"] == given.key:
        return _again(txn, given, device)
    if known["key"] == f"{UNPROVEN}{given.key}":
        return _proven(txn, given, device)
    anew = _claim(txn, given) and given.at > device.registered_at
    return change(txn, device.device_id, _reopened(txn, device, DeviceState.QUARANTINED)) if anew else device


def _add(txn: Transaction, given: Incoming) -> Device:
    device_id = given.registration.device_id
    row = {**given.stored, "device_id": device_id, "state": DeviceState.REGISTERED, "reason": ""}
    txn.connection.execute(insert(devices), {**row, "registered_at": given.at})
    detail = {"key": given.key, "serial": given.registration.facts.serial, "via": given.via}
    txn.audit("device.registered", device_id, detail)
    return device_of(row_of(txn.connection, device_id))


def _again(txn: Transaction, given: Incoming, device: Device) -> Device:
    if given.at <= device.registered_at or _is_an_operators(device, given) or _is_sent_again(txn, given, device):
        return device
    changes = {**given.stored, "registered_at": given.at, **_reopened(txn, device, DeviceState.QUARANTINED)}
    if device.registration != given.registration:
        txn.audit("device.registered-again", device.device_id, {"key": given.key})
    return change(txn, device.device_id, changes)


def _is_an_operators(device: Device, given: Incoming) -> bool:
    """Whether the record is an operator's word, and who comes now proves nothing: a certificate is no secret."""
    return given.key.startswith(UNPROVEN) and device.via is Origin.IMPORT and given.via is not Origin.IMPORT


def _is_sent_again(txn: Transaction, given: Incoming, device: Device) -> bool:
    """Whether an earlier registration of the device comes again as if it were new.

    The device signs its nonce and not the event's time, so it is the challenges that say what came first. One that is
    known no more was answered long ago.
    """
    new, old = given.registration.proof, device.registration.proof
    if new is None or old is None or new.nonce == old.nonce:
        return False
    answered = answer_of(txn.connection, new.nonce)
    if answered is None:
        return answer_of(txn.connection, old.nonce) is not None
    return answered == given.digest


def _proven(txn: Transaction, given: Incoming, device: Device) -> Device:
    """The holder of the key has come: whatever time the other claimed, nobody had proven anything."""
    txn.audit("device.proven", device.device_id, {"key": given.key, "via": given.via})
    drop_claims(txn, device.device_id, given.key)
    reopened = _reopened(txn, device, *_OPEN_AGAIN)
    return change(txn, device.device_id, {**given.stored, "registered_at": given.at, **reopened})


def _reopened(txn: Transaction, device: Device, *states: DeviceState) -> dict[str, Any]:
    """What changes of a device in one of the states, which is to be looked at again; nothing of another."""
    if device.state not in states:
        return {}
    txn.audit("device.moved", device.device_id, {"from": device.state, "state": DeviceState.REGISTERED})
    return {"state": DeviceState.REGISTERED, "reason": ""}


def _claim(txn: Transaction, given: Incoming) -> bool:
    """Remember the claim; answers whether it says anything new."""
    device_id = given.registration.device_id
    known = claims_of(txn.connection, device_id)
    for claim in known:
        if claim.key == given.key:
            if given.at <= claim.last_at:
                return False
            same = (claims.c.device_id == device_id, claims.c.key == given.key)
            txn.connection.execute(update(claims).where(*same).values(**given.stored, last_at=given.at))
            return True
    drop_claims(txn, device_id, f"{UNPROVEN}{given.key}", *_in_the_way(known))
    row = {**given.stored, "device_id": device_id, "first_at": given.at, "last_at": given.at}
    txn.connection.execute(insert(claims), row)
    txn.audit("device.claimed", device_id, {"key": given.key, "via": given.via})
    return True


def _in_the_way(known: Sequence[DeviceClaim]) -> list[str]:
    """What is forgotten to make room for one more: what proves nothing before what does, the oldest first.

    The true device is not kept out by that: when it asks again, its claim is the newest.
    """
    oldest_first = sorted(known, key=lambda claim: (":" not in claim.key, claim.last_at))
    return [claim.key for claim in oldest_first[: max(0, len(known) - MAX_CLAIMS + 1)]]
