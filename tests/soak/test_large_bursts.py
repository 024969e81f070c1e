"""Large bursts, run by `make soak` and not by `make test`: minutes, and numbers for docs/measurements.md.

The lab's clock runs so fast that what Azure takes 90 s for passes in a few real ones.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from deployments.local.platform import LocalPlatform
from edge.ledger import Ledger
from edge.model.device import DeviceState
from tasks.onboarding_outcome import recorded_outcome
from tests.bad_devices import BAD_WAYS
from tests.burst import (
    Burst,
    await_ended,
    check_left,
    make_burst,
    onboarding_steps,
    reason_of,
    set_faults,
    strict_rules,
)
from tests.conftest import RunningPlatform
from tests.kills import Killer

CLOCK_RATE = 30.0
WITHIN_S = 1800.0
pytestmark = pytest.mark.timeout(2 * WITHIN_S)
SETTINGS = {"EDGE_ARC_KEY_BITS": "2048", "EDGE_ARC_ANSWER_S": "15", "EDGE_GATEWAY_RESEND_AFTER_S": "60"}


@pytest.mark.parametrize(
    ("devices", "rate", "kills"),
    [
        pytest.param(200, None, 0, id="200-as-they-come"),
        pytest.param(200, None, 4, id="200-with-workers-killed"),
        pytest.param(500, 2.5, 0, id="500-at-a-set-rate-and-slow-puts"),
    ],
)
def test_a_large_burst_ends_well(devices: int, rate: float | None, kills: int, tmp_path: Path) -> None:
    local = LocalPlatform(tmp_path, clock_rate=CLOCK_RATE)
    settings = {**SETTINGS, "EDGE_ASSIGNMENT": str(strict_rules(tmp_path))}
    settings |= {"EDGE_GATEWAY_RATE": str(rate)} if rate else {}
    settings |= {"EDGE_CLAIM_S": "15", "EDGE_GATEWAY_RESEND_AFTER_S": "15"} if kills else {}
    try:
        addresses = local.start(sites=devices, scenario="slow-azure" if rate else None, settings=settings)
        with Ledger.open(addresses.ledger_url) as ledger:
            _soak(RunningPlatform(tmp_path, addresses), local, ledger, kills)
    finally:
        local.stop()


def _soak(platform: RunningPlatform, local: LocalPlatform, ledger: Ledger, kills: int) -> None:
    addresses, lab = platform.addresses, platform.lab
    token = addresses.gateway_token_file.read_text()
    burst = make_burst(addresses.lab, addresses.lab["sites"], local.home, seed=7, share=0.1, ways=BAD_WAYS)
    burst.tell_revoked(ledger)
    set_faults(lab.ask, burst)
    lasting = {member.name for member in burst.lasting()}
    names = [member.name for member in burst.members if member.name not in lasting]
    killer = Killer(local, random.Random(kills), ledger, names, kills=kills)
    with killer.at_work():
        burst.send(addresses.gateway, token)
        seconds = await_ended(ledger, names, also=lasting, within_s=WITHIN_S)
    _tell(ledger, burst, seconds, killer)
    burst.judge_doubles(ledger)
    _check(ledger, burst)
    check_left(addresses, ledger, burst)
    before = onboarding_steps(ledger)
    burst.send(addresses.gateway, token)
    assert ledger.inbox.pending() == ()
    assert onboarding_steps(ledger) == before
    tried = platform.edge("device", "retry", "--all-failed", "--json", timeout=WITHIN_S)
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert {ledger.devices.get(member.name).state for member in burst.good} == {DeviceState.CONNECTED}


def _check(ledger: Ledger, burst: Burst) -> None:
    states = {device.device_id: device for device in ledger.devices.list()}
    told = {m.name: reason_of(recorded_outcome(ledger, states[m.name])) for m in burst.bad}
    assert told == {m.name: m.refused for m in burst.bad}
    ended = {m.name: states[m.name].state for m in burst.members}
    wanted = {m.name: DeviceState.QUARANTINED if m.refused else DeviceState.CONNECTED for m in burst.members}
    wanted |= {m.name: DeviceState.FAILED for m in burst.lasting()}
    assert ended == wanted


def _tell(ledger: Ledger, burst: Burst, seconds: float, killer: Killer) -> None:
    count = Counter(device.state.value for device in ledger.devices.list())
    again = sum(record.tries > 1 for record in ledger.steps.fleet("attempt:"))
    said = ", ".join(f"{number} {state}" for state, number in sorted(count.items()))
    rate = len(burst.members) / seconds
    killed = f"{killer.runs_killed} times all runs killed, {killer.workers_killed} times the worker"
    sys.stdout.write(f"\n{len(burst.members)} devices in {seconds:.0f} s, {rate:.1f} a second: {said}; ")
    sys.stdout.write(f"{again} tried more than once; {killed}\n")
