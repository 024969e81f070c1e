"""How long the demonstration and the unit tier take. The whole test suite is timed by whoever runs it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from deployments.local.bench_processes import Figure, run_measured

DEMO_S, UNIT_S = 120.0, 20.0


def measure_suites() -> list[Figure]:
    """Run the demonstration and the unit tier once each."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-demo-") as home:
        env = {**os.environ, "EDGE_HOME": home}
        demo = run_measured(["-m", "edge", "platform", "demo"], env, Path(home) / "bench.log").wall_s
        unit = run_measured(["-m", "pytest", "tests/unit", "-q"], env, Path(home) / "unit.log").wall_s
    return [
        Figure(what="demo, once installed", budget="2 min", measured=f"{demo:.0f} s", met=demo <= DEMO_S),
        Figure(what="unit tier", budget="20 s", measured=f"{unit:.0f} s", met=unit <= UNIT_S),
    ]
