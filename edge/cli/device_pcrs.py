"""`edge device pcrs`: a device's boot as a reference set, so that a known good one can be put into the policy."""

from __future__ import annotations

from typing import Annotated

import typer
import yaml

from edge.cli.context import open_ledger
from edge.cli.output import JsonFlag, emit, speaks
from edge.errors import InvalidInput
from edge.model.device import Device
from edge.policy.tpm import quoted
from edge.policy.tpm_pcrs import Pcrs, as_reference

DeviceIdArg = Annotated[str, typer.Argument(metavar="DEVICE", help="The device's id.")]
NameOption = Annotated[str, typer.Option("--name", help="Name of the reference set; by default model and firmware.")]
PcrOption = Annotated[list[int] | None, typer.Option("--pcr", help="Only this PCR; may be given several times.")]


@speaks
def show_pcrs(device: DeviceIdArg, name: NameOption = "", pcr: PcrOption = None, as_json: JsonFlag = False) -> None:
    """Print the PCR values of a device's registration as a reference set of the admission policy (YAML).

    Its quote must hold. Whether the device is a good one is for you to know: take one that you installed yourself.
    """
    with open_ledger() as ledger:
        found = ledger.devices.get(device)
    facts = found.registration.facts
    pcrs = _pcrs(found)
    missing = sorted(set(pcr or ()) - {index for _, index in pcrs})
    if missing:
        raise InvalidInput("The device did not quote this PCR", field="--pcr", value=missing[0])
    told = name or f"{facts.model} {facts.firmware}".strip() or found.device_id
    reference = as_reference(told[:63], facts.model, pcrs, only=pcr or ())
    data = {"bootReferences": [reference.model_dump(mode="json")]}
    if as_json:
        emit(data, "", as_json=True)
    else:
        # Not through the console, which breaks long lines: the text is to be copied as it is.
        typer.echo(yaml.safe_dump(data, sort_keys=False, width=200), nl=False)


def _pcrs(device: Device) -> Pcrs:
    attestation = device.registration.attestation
    if attestation is None:
        raise InvalidInput("The device registered itself without an attestation", device=device.device_id)
    return quoted(attestation)[1]
