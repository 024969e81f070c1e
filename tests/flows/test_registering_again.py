"""A device that was refused comes again, and a name that somebody else took first is given to whom it belongs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deployments.local.demo import register
from edge.lab.ca import Authority
from edge.ledger import Ledger
from edge.model.device import DeviceState

DEVICE, SITE = "dev-0005", "site-0005"


def test_the_true_device_comes_in_though_an_impostor_was_first(
    platform: Any, ledger: Ledger, until: Any, tmp_path: Path
) -> None:
    entry = next(dict(site) for site in platform.addresses.lab["sites"] if site["device_id"] == DEVICE)
    Authority.open(tmp_path / "foreign", "Foreign").device(tmp_path, DEVICE, "0815")
    lab = {**platform.addresses.lab, "manufacturer": {"devices": str(tmp_path)}}
    impostor = (tmp_path / f"{DEVICE}.crt").read_text()

    register(platform.addresses.model_copy(update={"lab": lab}), [entry])
    until(lambda: ledger.devices.get(DEVICE).state is DeviceState.QUARANTINED, "the impostor is refused")
    assert ledger.devices.get(DEVICE).registration.certificate == impostor

    register(platform.addresses, [entry])
    until(lambda: ledger.devices.get(DEVICE).state is DeviceState.CONNECTED, "the true device is in")
    assert ledger.devices.get(DEVICE).site == SITE
    assert [claim.registration.certificate for claim in ledger.devices.claims(DEVICE)] == [impostor]
    assert ("device.adopted", DEVICE) in [(entry.action, entry.subject) for entry in ledger.audit.entries()]
