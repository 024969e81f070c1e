"""The demonstration: devices register themselves at the gateway, are onboarded, and get the shipped stamp in waves.

Nothing here knows what the answers will be: it does what a factory and an operator would do, and reads the ledger.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from deployments.local.platform import Addresses
from edge.errors import NotYet, Permanent
from edge.lab.device import LabDevice, ask_for_challenge, gateway_client, register_all
from edge.ledger import Ledger
from edge.model.base import Value
from edge.model.device import Device, DeviceState
from edge.model.outcome import Status
from edge.model.rollout import SiteProgress
from edge.policy.onboarding import onboarding_work

STAMP = "factory-line"
ONBOARDED_WITHIN_S = 240.0
ENDED = (DeviceState.CONNECTED, DeviceState.QUARANTINED)
GOOD = (Status.SUCCEEDED, Status.EXPECTED_OFFLINE)

Say = Callable[[str], None]
Bar = Callable[[int], None]


class DemoResult(Value):
    """The table that the demonstration ends with: a row per site. Times in it are seconds."""

    title: str
    stamped: int
    expected_offline: int
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    good: bool


def run_demo(addresses: Addresses, *, say: Say, onboarded: Bar) -> DemoResult:
    """Register the devices, wait for them, roll the stamp out, and tell what happened at each site."""
    started = time.monotonic()
    here = [site for site in addresses.lab["sites"] if not site["offline"]]
    away = [site for site in addresses.lab["sites"] if site["offline"]]
    for site in away:
        say(f"importing {site['name']}, which is known to be away, from its kubeconfig")
        _edge(addresses, "site", "import", site["name"], "--kubeconfig", site["kubeconfig"],
              "--region", site["region"], "--tenant", "factory", "--when-offline", "expected")  # fmt: skip
    with Ledger.open(addresses.ledger_url) as ledger:
        say(f"registering {len(here)} devices at the gateway")
        register(addresses, here)
        await_devices(ledger, len(here), onboarded)
        say(f"rolling {STAMP} out to all sites")
        _edge(addresses, "stamp", "roll-out", STAMP, watch=True)
        return _result(ledger, addresses, time.monotonic() - started)


def register(addresses: Addresses, sites: Sequence[dict[str, Any]]) -> None:
    """Let the devices of these sites register themselves, each with a proof of its key."""
    with gateway_client(addresses.gateway, addresses.gateway_token_file.read_text()) as gateway:
        devices = (LabDevice.of_lab(addresses.lab, site) for site in sites)
        for _ in register_all(gateway, devices):
            pass


def registration(addresses: Addresses, site: dict[str, Any]) -> dict[str, Any]:
    """The event of one of the lab's devices, in CloudEvents' structured form; it answers a challenge of the gateway."""
    device = LabDevice.of_lab(addresses.lab, site)
    with gateway_client(addresses.gateway, addresses.gateway_token_file.read_text()) as gateway:
        return device.event(ask_for_challenge(gateway, device))


def await_devices(ledger: Ledger, count: int, onboarded: Bar, within_s: float = ONBOARDED_WITHIN_S) -> None:
    """Wait until as many devices are connected or refused. Raises NotYet when `within_s` seconds are over."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        ended = [device for device in ledger.devices.list() if device.state in ENDED]
        onboarded(len(ended))
        if len(ended) >= count:
            return
        time.sleep(0.3)
    raise NotYet("Not all devices were onboarded", waiting=", ".join(_said(device) for device in ledger.devices.list()))


def _said(device: Device) -> str:
    return f"{device.device_id} {device.state} {device.reason}".strip()


def _edge(addresses: Addresses, *arguments: str, watch: bool = False) -> None:
    """Run an `edge` command as a user would; with `watch` its progress is shown."""
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "edge", *arguments],
        env={**os.environ, **addresses.environment},
        stdout=subprocess.PIPE,
        stderr=None if watch else subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1) or (done.returncode == 1 and not watch):
        raise Permanent("A command failed", command=f"edge {' '.join(arguments)}", said=(done.stderr or done.stdout))


def _result(ledger: Ledger, addresses: Addresses, seconds: float) -> DemoResult:
    rollout = ledger.rollouts.get(ledger.rollouts.list(limit=1)[0].plan.rollout_id)
    devices = {device.site: device for device in ledger.devices.list() if device.site}
    waves = {wave.index: wave.name for wave in rollout.plan.waves}
    rows = tuple(_row(ledger, devices.get(row.site), row, waves[row.wave]) for row in rollout.sites)
    stamped = sum(row.status is Status.SUCCEEDED for row in rollout.sites)
    away = sum(row.status is Status.EXPECTED_OFFLINE for row in rollout.sites)
    said = f"{stamped} sites stamped, {away} expected-offline, in {seconds:.0f} s"
    return DemoResult(
        title=f"{said}. Prefect UI: {addresses.prefect_ui}",
        stamped=stamped,
        expected_offline=away,
        columns=("site", "tenant", "region", "onboarding", "s", "wave", rollout.plan.stamp, "s", "why"),
        rows=rows,
        good=all(row.status in GOOD for row in rollout.sites),
    )


def _row(ledger: Ledger, device: Device | None, row: SiteProgress, wave: str) -> tuple[str, ...]:
    site = ledger.sites.get(row.site)
    onboarding = (str(device.state), _took(ledger, device)) if device else ("by kubeconfig", "")
    stamped = (wave, str(row.status), f"{row.seconds:.1f}", row.cause.code if row.cause else "")
    return (site.name, site.tenant, site.region, *onboarding, *stamped)


def _took(ledger: Ledger, device: Device) -> str:
    steps = [step for step in ledger.steps.records(onboarding_work(device)) if step.ended_at]
    if not steps:
        return ""
    ends = [step.ended_at for step in steps if step.ended_at]
    return f"{(max(ends) - min(step.started_at for step in steps)).total_seconds():.1f}"
