"""`edge trust revoke-key` and `edge trust restore-key`: a device's key lets nobody in any more, or does again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from edge.cli.context import open_ledger
from edge.cli.output import JsonFlag, emit, speaks
from edge.errors import IdentityRefused, InvalidInput, NotFound
from edge.model.admission import RevokedKey
from edge.model.device import Device, DeviceState, Registration
from edge.policy.identity import key_fingerprint

if TYPE_CHECKING:
    from edge.ledger import Ledger

SHORTEST = 8
"""So many characters of a key must be told."""

DeviceArg = Annotated[str, typer.Argument(metavar="DEVICE", help="The device's id.")]


@speaks
def revoke_key(
    device: DeviceArg,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands on record.")],
    key: Annotated[
        str, typer.Option("--key", help="Another key that claims the id; without it, the one on record.")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Let nobody in any more with the key of a device, whatever its issuer says.

    A device that is connected stays connected: it cannot register, renew or reset.
    """
    if not reason.strip():
        raise InvalidInput("Say why", field="--reason", value=reason)
    now = datetime.now(UTC)
    with open_ledger() as ledger:
        found = ledger.devices.get(device)
        registration = claimed(ledger, device, key) if key else found.registration
        known = ledger.revocations.revoked([_fingerprint(registration)])
        revoked = ledger.revocations.revoke_key(
            _fingerprint(registration), device_id=device, reason=reason.strip(), at=now
        )
    on_record = _own(found) == revoked.fingerprint
    data = {**revoked.model_dump(mode="json"), "state": found.state.value, "new": not known, "on_record": on_record}
    said = escape("\n".join(_revoked(found, revoked, known=bool(known), on_record=on_record)))
    emit(data, said, as_json=as_json)


@speaks
def restore_key(
    device: DeviceArg,
    key: Annotated[str, typer.Option("--key", help="Another key of the device; without it, the one on record.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Take the revocation of a device's key back. What its issuer revoked stays revoked."""
    with open_ledger() as ledger:
        found = ledger.devices.get(device)
        revoked = _to_restore(ledger, found, key)
        ledger.revocations.restore_key(revoked.fingerprint)
    left = found.state in (DeviceState.DECOMMISSIONING, DeviceState.DECOMMISSIONED)
    follows = f"`edge device {'reset' if left else 'retry'} {device}` looks at it anew" if not _is_in(found) else ""
    said = [f"The key {revoked.fingerprint} of {device} is believed again (it was revoked: {revoked.reason})", follows]
    data = {**revoked.model_dump(mode="json"), "state": found.state.value, "restored": True}
    emit(data, escape("\n".join(filter(None, said))), as_json=as_json)


def claimed(ledger: Ledger, device: str, key: str) -> Registration:
    """What claims the device's id with this key, or with the only one that begins so. Raises NotFound, InvalidInput."""
    if len(key) < SHORTEST:
        remedy = f"Give at least {SHORTEST} characters"
        raise InvalidInput("A key cannot be told by so little", remedy=remedy, field="key", value=key)
    claims = ledger.devices.claims(device)
    found = [claim for claim in claims if claim.key == key]
    found = found or [one for one in claims if key in {one.key[: len(key)], one.key.rpartition(":")[2][: len(key)]}]
    if len(found) != 1:
        what = "Several keys begin so" if found else "Nobody claimed the device with this key"
        raise NotFound(what, remedy=f"`edge device claims {device}` shows the keys", device=device, key=key)
    return found[0].registration


def _fingerprint(registration: Registration) -> str:
    try:
        return key_fingerprint(registration)
    except IdentityRefused as error:
        remedy = "Nobody comes in with it as it is"
        raise InvalidInput(error.what, remedy=remedy, field="certificate", device=registration.device_id) from error


def _own(device: Device) -> str:
    try:
        return key_fingerprint(device.registration)
    except IdentityRefused:
        return ""


def _is_in(device: Device) -> bool:
    return device.state is DeviceState.CONNECTED


def _revoked(device: Device, revoked: RevokedKey, *, known: bool, on_record: bool) -> list[str]:
    name = device.device_id
    since = f" since {revoked.at:%Y-%m-%d %H:%M} ({revoked.reason}); nothing was changed" if known else ""
    said = [f"The key {revoked.fingerprint} of {name} is revoked{since}"]
    if not on_record:
        said.append(f"It only claimed the id; {name} is on record with another key, which is believed as before")
    elif _is_in(device):
        said.append(f"{name} stays connected. It cannot register, renew its certificate or reset itself any more")
        said.append(f"`edge device decommission {name}` ends its access to its site and to Azure")
    else:
        said.append(f"{name} is {device.state}; with this key it does not come in")
    return said


def _to_restore(ledger: Ledger, device: Device, key: str) -> RevokedKey:
    name, wanted = device.device_id, key or _own(device)
    keys = ledger.revocations.keys()
    mine = [one for one in keys if one.device_id == name or one.fingerprint == _own(device)]
    found = [one for one in mine if wanted and one.fingerprint.startswith(wanted.rpartition(":")[2])]
    if len(found) == 1:
        return found[0]
    others = ", ".join(one.fingerprint for one in mine)
    remedy = f"Name one with --key: {others}" if others else "`edge trust show` shows the keys that are revoked"
    raise NotFound("No such key of the device is revoked", remedy=remedy, device=name, key=wanted or "(unreadable)")
