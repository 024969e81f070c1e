"""What a device of the lab carries beside its certificate: a voucher of its owner, a TPM. Made when first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from edge.errors import InvalidInput
from edge.lab.ca import Authority, write_secret
from edge.lab.device import LabDevice
from edge.lab.tpm import SoftTpm
from edge.policy.voucher import Voucher, issue_voucher

BOOT = {0: (b"lab firmware 1",), 2: (b"lab option roms",), 4: (b"lab boot loader 1",), 7: (b"secure boot on",)}
"""What the devices of the lab measure when they boot, by PCR: all of them the same."""
_VOUCHER_LIFE = timedelta(days=365)


def equipped(said: Mapping[str, Any], site: Mapping[str, Any], *, tenant: str = "", tpm: bool = False) -> LabDevice:
    """A device of the lab that `said` describes, with a voucher for the tenant and a TPM when these are wanted."""
    device = LabDevice.of_lab(said, site)
    if tpm:
        stem = Path(said["manufacturer"]["devices"]) / device.device_id
        device.tpm = SoftTpm.open(stem, _authority(said, "tpm_ca_file"), device.facts.serial)
        device.tpm.boot(BOOT)
    if tenant:
        device.voucher = voucher(said, device.device_id, serial=device.facts.serial, tenant=tenant)
    return device


def voucher(said: Mapping[str, Any], device_id: str, *, serial: str, tenant: str) -> str:
    """The device's voucher for this tenant: the same one each time, since another one would be another voucher."""
    maker = said["manufacturer"]
    file = Path(maker.get("vouchers", maker["devices"])) / f"{device_id}.{tenant}.jws"
    if not file.exists():
        signer = _authority(said, "voucher_ca_file")
        key = load_pem_private_key(signer.cert_file.with_suffix(".key").read_bytes(), None)
        now = datetime.now(UTC)
        content = Voucher(created_on=now, expires_on=now + _VOUCHER_LIFE, serial_number=serial, tenant=tenant)
        write_secret(file, issue_voucher(content, key, [signer.certificate]).encode())
    return file.read_text()


def _authority(said: Mapping[str, Any], file: str) -> Authority:
    found = said["manufacturer"].get(file)
    if not found:
        raise InvalidInput("This lab has no such authority", field=file, remedy="Start it anew with `edge lab up`")
    return Authority.open(Path(found).with_suffix(""), "Lab")
