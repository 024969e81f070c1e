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
SMALL_KEY_BITS = 2048
START_S, RATE = 8.0, 5.0
POLL_S = 0.05
WITHIN_S = 60.0
BURST_WITHIN_S = 900.0


def measure_onboarding(home: Path, devices: int, say: Say) -> list[Figure]:
    """Single registrations one after another, then a burst; and beside it a burst of devices that get smaller keys."""
    say(f"single registrations, then a burst of {devices}")
    delays, seconds = _measure(home / "usual", SINGLES, devices, {})
    say(f"a burst of {devices} with agents' keys of {SMALL_KEY_BITS} bits")
    _, small_s = _measure(home / "small", 0, devices, {"EDGE_ARC_KEY_BITS": str(SMALL_KEY_BITS)})
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
            beside=f"{devices / small_s:.1f} devices/s with agents' keys of {SMALL_KEY_BITS} bits instead of 4096",
            met=devices / seconds >= RATE,
        ),
    ]


def _measure(home: Path, singles: int, devices: int, settings: dict[str, str]) -> tuple[list[float], float]:
    """Seconds until a run started, for each single registration, and seconds that the burst took."""
    platform = LocalPlatform(home)
    try:
        addresses = platform.start(sites=singles + devices, scenario=None, settings=settings)
        sites = addresses.lab["sites"]
        with Ledger.open(addresses.ledger_url) as ledger:
            delays = [_until_started(addresses, sites[number]) for number in range(singles)]
            await_devices(ledger, singles, lambda _: None)
            started = time.monotonic()
            register(addresses, sites[singles:])
            await_devices(ledger, singles + devices, lambda _: None, within_s=BURST_WITHIN_S)
            return delays, time.monotonic() - started
    finally:
        platform.stop()


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
