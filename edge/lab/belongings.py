"""What a device of the lab carries beside its certificate: a voucher of its owner, a TPM. Made when first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.errors import InvalidInput
from edge.lab.ca import Authority
from edge.lab.device import LabDevice
from edge.lab.tpm import SoftTpm

BOOT = {0: (b"lab firmware 1",), 2: (b"lab option roms",), 4: (b"lab boot loader 1",), 7: (b"secure boot on",)}
"""What the devices of the lab measure when they boot, by PCR: all of them the same."""


def equipped(said: Mapping[str, Any], site: Mapping[str, Any], *, tenant: str = "", tpm: bool = False) -> LabDevice:
    """A device of the lab that `said` describes, with a voucher for the tenant and a TPM when these are wanted."""
    device = LabDevice.of_lab(said, site)
    if tpm:
        stem = Path(said["manufacturer"]["devices"]) / device.device_id
        device.tpm = SoftTpm.open(stem, _authority(said, "tpm_ca_file"), device.facts.serial)
        device.tpm.boot(BOOT)
    return device


def _authority(said: Mapping[str, Any], file: str) -> Authority:
    found = said["manufacturer"].get(file)
    if not found:
        raise InvalidInput("This lab has no such authority", field=file, remedy="Start it anew with `edge lab up`")
    return Authority.open(Path(found).with_suffix(""), "Lab")
