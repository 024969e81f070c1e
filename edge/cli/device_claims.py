"""`edge device claims` and `edge device adopt`: two keys for one device's id, and which of them a person believes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from cryptography import x509

from edge.cli.context import device_admission, open_ledger
from edge.cli.output import JsonFlag, emit, speaks, table
from edge.cli.trust_keys import claimed
from edge.errors import EdgeError, IdentityRefused, InvalidInput
from edge.model.admission import Evidence, Trust
from edge.model.device import Device, DeviceState, Origin, Registration
from edge.policy.admission import admit, carried_voucher
from edge.policy.identity import UNREADABLE, key_fingerprint
from edge.policy.proof import claim_key

if TYPE_CHECKING:
    from edge.ledger import Ledger

DeviceArg = Annotated[str, typer.Argument(metavar="DEVICE", help="The device's id.")]
SHOWN = 12
"""So many characters of a key are shown in tables: enough to name it by."""
COLUMNS = ("", "key", "issuer", "serial", "holds its key", "via", "first seen", "last seen", "would it come in")


@speaks
def claims(device: DeviceArg, as_json: JsonFlag = False) -> None:
    """Show every key that was registered under a device's id, and what each of them proves."""
    with open_ledger() as ledger:
        found = ledger.devices.get(device)
        items = _items(ledger, found)
    title = f"{device} is {found.state}" + (f": {found.reason}" if found.reason else "")
    data = {"device": device, "state": found.state.value, "reason": found.reason, "claims": items}
    emit(data, table(title, COLUMNS, [_row(item) for item in items]), as_json=as_json)


@speaks
def adopt(
    device: DeviceArg,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The claim's key, or how it begins.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Believe another key for a device's id: what it registered is then on record, and the other is the claim.

    Nothing is onboarded by that: `edge device retry` looks at the device anew.
    """
    with open_ledger() as ledger:
        found = ledger.devices.get(device)
        chosen = claimed(ledger, device, key)
        if found.state is DeviceState.CONNECTED:
            remedy = f"`edge device decommission {device}` first"
            raise IdentityRefused("A connected device keeps its key", remedy=remedy, device=device)
        _confirm(chosen, yes=yes)
        after = ledger.devices.adopt(device, claim_key(chosen))
        items = _items(ledger, after)
    rivals = [item["key"] for item in items[1:] if item["verdict"] == "yes" and _differs(item, items[0])]
    said = [f"{device} is on record with the key {items[0]['key']}", *_follows(device, rivals)]
    emit(
        {"device": device, "state": after.state.value, "rivals": rivals, "claims": items},
        "\n".join(said),
        as_json=as_json,
    )


def _confirm(chosen: Registration, *, yes: bool) -> None:
    proves = claim_key(chosen).startswith("un")
    warned = " It proves nothing: whoever has a copy of the certificate can have sent it." if proves else ""
    question = f"Believe that {chosen.device_id} has the key {claim_key(chosen)}?{warned}"
    if not yes and not typer.confirm(question, err=True):
        raise typer.Abort


def _follows(device: str, rivals: list[str]) -> Iterator[str]:
    for key in (rival.rpartition(":")[2][:SHOWN] for rival in rivals):
        yield f"The key {key} is as good, so {device} stays contested until it is revoked:"
        yield f"  edge trust revoke-key {device} --key {key} --reason ..."
    yield f"Then `edge device retry {device}` looks at it anew" if rivals else f"Next: `edge device retry {device}`"


def _differs(item: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(item["fingerprint"] != other["fingerprint"])


def _items(ledger: Ledger, device: Device) -> list[dict[str, Any]]:
    """What is on record first, then the claims, oldest first."""
    trust = _trust()
    seen = device.last_contact or device.registered_at
    own = _item(ledger, trust, device, device.registration, device.via)
    items = [{**own, "on_record": True, "first_at": device.registered_at.isoformat(), "last_at": seen.isoformat()}]
    for claim in ledger.devices.claims(device.device_id):
        times = {"first_at": claim.first_at.isoformat(), "last_at": claim.last_at.isoformat()}
        items.append({**_item(ledger, trust, device, claim.registration, claim.via), "on_record": False, **times})
    return items


def _item(
    ledger: Ledger, trust: Trust | str, device: Device, registration: Registration, via: Origin
) -> dict[str, Any]:
    key = claim_key(registration)
    return {
        "key": key,
        "fingerprint": key.rpartition(":")[2] if not key.startswith("unreadable:") else "",
        "issuer": _issuer(registration),
        "serial": registration.facts.serial,
        "proven": not key.startswith(("unproven:", "unreadable:")),
        "via": via.value,
        "verdict": trust if isinstance(trust, str) else _verdict(ledger, trust, device, registration, via),
    }


def _trust() -> Trust | str:
    """Whom the platform trusts, or why that cannot be said: what was claimed is worth showing all the same."""
    try:
        return device_admission().trust()
    except InvalidInput as error:
        return f"cannot be said: {error.what}"


def _verdict(ledger: Ledger, trust: Trust, device: Device, registration: Registration, via: Origin) -> str:
    """`yes`, or why this registration would be refused now. Nothing is recorded by asking."""
    now, known = datetime.now(UTC), ledger.ownerships.of_serial(registration.facts.serial)
    try:
        voucher = carried_voucher(registration, trust, known=known, now=now)
        carried = (voucher,) if voucher and voucher.ownership_id not in {one.ownership_id for one in known} else ()
        evidence = Evidence(
            via=via,
            generation=device.generation,
            challenge=ledger.challenges.get(registration.proof.nonce) if registration.proof else None,
            ownerships=(*known, *carried),
            revocation_lists=ledger.revocations.lists(),
            revoked_keys=ledger.revocations.revoked([key_fingerprint(registration)]),
        )
        admit(registration, trust, evidence, now=now)
    except EdgeError as error:
        reason = error.where.get("reason", error.code)
        return f"no ({reason}): {error.what}"
    return "yes"


def _issuer(registration: Registration) -> str:
    try:
        return x509.load_pem_x509_certificates(registration.certificate.encode())[0].issuer.rfc4514_string()
    except UNREADABLE:
        return "(no certificate can be read)"


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    return (
        "on record" if item["on_record"] else "claim",
        item["key"].rpartition(":")[2][:SHOWN],
        item["issuer"],
        item["serial"],
        "proven" if item["proven"] else "not proven",
        item["via"],
        item["first_at"][:16].replace("T", " "),
        item["last_at"][:16].replace("T", " "),
        item["verdict"],
    )
