"""Onboarding budgets: how soon a registration's run starts, and how fast a burst of devices comes in."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import httpx

from deployments.local.bench_processes import Figure
from deployments.local.demo import Say, await_devices, register
from deployments.local.platform import Addresses, LocalPlatform
from edge.errors import NotYet
from edge.ledger import Ledger

SINGLES = 20
START_S, RATE = 8.0, 5.0
POLL_S = 0.05
WITHIN_S = 60.0
BURST_WITHIN_S = 900.0


def measure_onboarding(home: Path, devices: int, say: Say) -> list[Figure]:
    """Single registrations one after another, then a burst of the rest."""
    platform = LocalPlatform(home)
    try:
        addresses = platform.start(sites=devices + SINGLES, scenario=None)
        sites = addresses.lab["sites"]
        with Ledger.open(addresses.ledger_url) as ledger:
            delays = [_until_started(addresses, sites[number]) for number in range(SINGLES)]
            await_devices(ledger, SINGLES, lambda _: None)
            say(f"burst of {devices} registrations")
            seconds = _burst(ledger, addresses, sites[SINGLES:])
    finally:
        platform.stop()
    p95 = statistics.quantiles(delays, n=20)[-1]
    return [
        Figure(
            what="registration accepted to its onboarding run started, p95",
            budget=f"{START_S:.0f} s",
            measured=f"{p95:.1f} s",
            beside=f"median {statistics.median(delays):.1f} s of {SINGLES}",
            met=p95 <= START_S,
        ),
        Figure(
            what=f"burst of {devices} registrations",
            budget=f"{RATE:.0f} devices/s",
            measured=f"{devices / seconds:.1f} devices/s",
            beside=f"{seconds:.0f} s in all",
            met=devices / seconds >= RATE,
        ),
    ]


def _until_started(addresses: Addresses, site: dict[str, Any]) -> float:
    """Seconds from the gateway's answer to a new run of onboarding being at work."""
    before = _runs_at_work(addresses)
    register(addresses, [site])
    accepted = time.monotonic()
    while time.monotonic() - accepted < WITHIN_S:
        if _runs_at_work(addresses) > before:
            return time.monotonic() - accepted
        time.sleep(POLL_S)
    raise NotYet("No onboarding run was started", device=site["device_id"])


def _runs_at_work(addresses: Addresses) -> int:
    """How many onboarding runs have begun so far."""
    asked = {
        "flows": {"name": {"any_": ["onboard-device"]}},
        "flow_runs": {"start_time": {"is_null_": False}},
    }
    answer = httpx.post(f"{addresses.prefect_api}/flow_runs/count", json=asked, timeout=10)
    answer.raise_for_status()
    return int(answer.json())


def _burst(ledger: Ledger, addresses: Addresses, sites: list[dict[str, Any]]) -> float:
    started = time.monotonic()
    register(addresses, sites)
    await_devices(ledger, SINGLES + len(sites), lambda _: None, within_s=BURST_WITHIN_S)
    return time.monotonic() - started
