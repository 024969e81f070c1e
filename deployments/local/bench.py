"""The budget table, measured on this machine against the lab, with the bare client's figure beside it.

Every figure is measured in the run that prints it. Loads go to the loopback address only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from deployments.local.bench_onboarding import measure_onboarding
from deployments.local.bench_processes import Figure
from deployments.local.bench_rollout import measure_rollouts
from deployments.local.bench_suites import measure_suites
from deployments.local.demo import Say

COLUMNS = ("what", "budget", "measured", "beside it", "met")


class Part(StrEnum):
    """What can be measured on its own."""

    SUITES = "suites"
    ROLLOUT = "rollout"
    ONBOARDING = "onboarding"


def measure(parts: tuple[Part, ...], sites: int, devices: int, say: Say) -> Iterator[Figure]:
    """The figures of the parts, for a fleet of `sites` and a burst of `devices`."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        if Part.SUITES in parts:
            say("demonstration and unit tier")
            yield from measure_suites()
        if Part.ROLLOUT in parts:
            yield from measure_rollouts(Path(folder) / "rollout", sites, say)
        if Part.ONBOARDING in parts:
            yield from measure_onboarding(Path(folder) / "onboarding", devices, say)
