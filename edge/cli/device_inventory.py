"""`edge device inventory` and `edge device annotate`: what there is, until when it is under warranty and certified."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any

import typer

from edge.cli.context import open_ledger
from edge.cli.output import JsonFlag, emit, speaks, table
from edge.errors import InvalidInput
from edge.model.device import Device, DeviceState, Inventory
from edge.model.firmware import Component
from edge.policy.life import warranty_warning
from edge.policy.renewal import certificate_end, ends_soon

_COLUMNS = (
    "device",
    "state",
    "site",
    "model",
    "hardware",
    "firmware",
    "os",
    "warranty until",
    "last contact",
    "certificate ends",
)


@speaks
def inventory(
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only devices of this tenant.")] = None,
    expiring: Annotated[
        bool, typer.Option("--expiring", help="Only devices in use whose certificate ends within 30 days.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the devices with hardware, versions, warranty, last contact and the end of their certificate."""
    now = datetime.now(UTC)
    with open_ledger() as ledger:
        found = ledger.devices.list(tenant=tenant)
        known = ledger.inventory.list()
        versions = {component: ledger.firmware.confirmed(component) for component in Component}
    if expiring:
        found = tuple(device for device in found if _in_use(device) and ends_soon(device.registration, now=now))
    items = [_item(device, known.get(device.device_id), versions, now) for device in found]
    drawn = table(f"{len(items)} devices", _COLUMNS, [_row(item) for item in items])
    emit(items, drawn, as_json=as_json)


@speaks
def annotate(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The device's id.")],
    vendor: Annotated[str | None, typer.Option(help="Who made or sold it.")] = None,
    asset_tag: Annotated[str | None, typer.Option(help="Its number in the books.")] = None,
    purchased_on: Annotated[str | None, typer.Option(help="Day of purchase, YYYY-MM-DD.")] = None,
    warranty_until: Annotated[str | None, typer.Option(help="Last day of its warranty, YYYY-MM-DD.")] = None,
    note: Annotated[str | None, typer.Option(help="Anything else.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write down what is known of a device beyond what it says of itself; what is not named stays as it is."""
    given = {
        "vendor": vendor,
        "asset_tag": asset_tag,
        "purchased_on": _day(purchased_on, "--purchased-on"),
        "warranty_until": _day(warranty_until, "--warranty-until"),
        "note": note,
    }
    with open_ledger() as ledger:
        ledger.devices.get(device)
        known = ledger.inventory.get(device)
        kept = ledger.inventory.put(
            Inventory.model_validate({**known.model_dump(), **{k: v for k, v in given.items() if v is not None}})
        )
    data = kept.model_dump(mode="json")
    emit(data, table(device, ("field", "value"), list(data.items())), as_json=as_json)


def _day(text: str | None, option: str) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput("This is no day", remedy="Write YYYY-MM-DD", field=option, value=text) from error


def _in_use(device: Device) -> bool:
    return device.state not in (DeviceState.DECOMMISSIONING, DeviceState.DECOMMISSIONED, DeviceState.QUARANTINED)


def _item(
    device: Device, known: Inventory | None, versions: dict[Component, dict[str, str]], now: datetime
) -> dict[str, Any]:
    """One device. A version that an update confirmed is newer than what the device said when it registered."""
    facts, until = device.registration.facts, known.warranty_until if known else None
    end = certificate_end(device.registration)
    noted = known.model_dump(mode="json", exclude={"device_id"}) if known else {}
    return {
        "device": device.device_id,
        "state": device.state.value,
        "tenant": device.tenant,
        "site": device.site,
        "serial": facts.serial,
        "model": facts.model,
        "hardware": {"architecture": facts.architecture, **facts.hardware},
        "firmware": versions[Component.FIRMWARE].get(device.device_id, facts.firmware),
        "os": versions[Component.OS].get(device.device_id, facts.os),
        **noted,
        "warranty_until": until.isoformat() if until else None,
        "warranty": warranty_warning(until, now.date()),
        "last_contact": device.last_contact.isoformat() if device.last_contact else None,
        "certificate_ends": end.isoformat() if end else None,
        "certificate_ends_soon": ends_soon(device.registration, now=now),
    }


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    hardware = ", ".join(
        value if name == "architecture" else f"{name} {value}" for name, value in item["hardware"].items()
    )
    warranty = " ".join(filter(None, (item["warranty_until"], f"({item['warranty']})" if item["warranty"] else "")))
    ends = (item["certificate_ends"] or "unreadable")[:10] + (" (soon)" if item["certificate_ends_soon"] else "")
    contact = (item["last_contact"] or "")[:16].replace("T", " ")
    return (
        item["device"],
        item["state"],
        item["site"],
        item["model"],
        hardware,
        item["firmware"],
        item["os"],
        warranty,
        contact,
        ends,
    )
