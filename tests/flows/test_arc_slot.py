"""The bound on concurrent connects over all workers: a slot of a limit on a real Prefect server."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

TWO_AT_ONCE = """
from edge.errors import NotYet
from tasks.arc_slot import ConnectSlots, connect_slot

with connect_slot("one-at-a-time", wait_s=30):
    try:
        with connect_slot("one-at-a-time", wait_s=1):
            print("two at once")
    except NotYet as full:
        print(full.code)
with connect_slot("one-at-a-time", wait_s=30):
    print("free again")
with connect_slot("no-such-limit", wait_s=1):
    print("not bounded")

run, other = ConnectSlots("one-at-a-time", wait_s=30, keep_s=60), ConnectSlots("one-at-a-time", wait_s=1)
for _ in range(3):
    with run.slot():
        pass
try:
    with other.slot():
        print("not kept")
except NotYet as full:
    print("kept for the run", full.code)
run.close()
with connect_slot("one-at-a-time", wait_s=1):
    print("given back")
with other.slot():
    pass
other.close()
"""


def test_a_connect_waits_for_a_slot_and_gives_it_back(platform: Any, prefect: Any) -> None:
    prefect.ask("POST", "/v2/concurrency_limits/", {"name": "one-at-a-time", "limit": 1})
    done = subprocess.run(
        [sys.executable, "-c", TWO_AT_ONCE],
        env=platform.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    bounded, kept = ["not-yet", "free again", "not bounded"], ["kept for the run not-yet", "given back"]
    assert done.stdout.splitlines() == bounded + kept
