"""`edge device`: what has registered itself, and where it is in its life."""

from __future__ import annotations

from typing import Annotated

import typer

from edge.cli import (
    device_claims,
    device_explain,
    device_import,
    device_inventory,
    device_life,
    device_pcrs,
    device_retry,
    device_timings,
    device_update,
)
from edge.cli.context import open_ledger
from edge.cli.output import JsonFlag, emit, speaks, table
from edge.model.device import Device, DeviceClaim, DeviceState

app = typer.Typer(help="Devices.")
app.command("inventory")(device_inventory.inventory)
app.command("annotate")(device_inventory.annotate)
app.command("decommission")(device_life.decommission)
app.command("proof")(device_life.proof)
app.command("reset")(device_life.reset)
app.command("replace")(device_life.replace)
app.command()(device_explain.explain)
app.command()(device_timings.timings)
app.command("import")(device_import.import_devices)
app.command("retry")(device_retry.retry)
app.command("claims")(device_claims.claims)
app.command("adopt")(device_claims.adopt)
app.command("pcrs")(device_pcrs.show_pcrs)
app.command("update")(device_update.update)
app.command("updates")(device_update.updates)

State = Annotated[DeviceState | None, typer.Option("--state", help="Only devices in this state.")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Only devices of this tenant.")]
DeviceIdArg = Annotated[str, typer.Argument(metavar="DEVICE", help="The device's id.")]


@app.command("list")
@speaks
def list_devices(state: State = None, tenant: Tenant = None, as_json: JsonFlag = False) -> None:
    """Show the devices that have registered themselves."""
    with open_ledger() as ledger:
        found = ledger.devices.list(state=state, tenant=tenant)
    columns = ("device", "state", "tenant", "site", "registered", "last contact", "reason")
    drawn = table(f"{len(found)} devices", columns, [_row(device) for device in found])
    emit([device.model_dump(mode="json") for device in found], drawn, as_json=as_json)


@app.command()
@speaks
def show(device: DeviceIdArg, as_json: JsonFlag = False) -> None:
    """Show one device: its state, its facts, and what else was registered under its id."""
    with open_ledger() as ledger:
        found = ledger.devices.get(device)
        claims = ledger.devices.claims(device)
    data = {**found.model_dump(mode="json"), "claims": [claim.model_dump(mode="json") for claim in claims]}
    emit(data, table(found.device_id, ("field", "value"), _lines(found, claims)), as_json=as_json)


def _row(device: Device) -> tuple[object, ...]:
    registered = f"{device.registered_at:%Y-%m-%d %H:%M:%S}"
    contact = f"{device.last_contact:%Y-%m-%d %H:%M:%S}" if device.last_contact else None
    return (device.device_id, device.state, device.tenant, device.site, registered, contact, device.reason)


def _lines(device: Device, claims: tuple[DeviceClaim, ...]) -> list[tuple[object, object]]:
    facts = device.registration.facts
    lines: list[tuple[object, object]] = [
        ("state", device.state),
        ("reason", device.reason),
        ("tenant", device.tenant),
        ("site", device.site),
        ("registered", device.registered_at),
        ("last contact", device.last_contact),
        ("serial", facts.serial),
        ("model", facts.model),
        ("architecture", facts.architecture),
        ("location", facts.location),
    ]
    lines += [(f"hardware {name}", value) for name, value in sorted(facts.hardware.items())]
    return lines + [("also claimed by key", f"{claim.key} since {claim.first_at}") for claim in claims]
