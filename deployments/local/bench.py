"""`make bench`: the budget table, measured on this machine against the lab, with the bare client's figure beside it.

Every figure is measured in this run; what cannot be measured here says so. Loads go to the loopback address only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from deployments.local.bench_onboarding import measure_onboarding
from deployments.local.bench_processes import Figure
from deployments.local.bench_rollout import measure_rollouts
from deployments.local.bench_suites import measure_suites
from edge.cli.output import console, table

COLUMNS = ("what", "budget", "measured", "beside it", "met")


def main() -> None:
    """Entry point of `make bench`. Exits with 1 when a budget is not met."""
    parser = argparse.ArgumentParser(description="Measure the budgets.")
    parser.add_argument("--sites", type=int, default=1000, help="sites of the rollout (default 1000)")
    parser.add_argument("--devices", type=int, default=500, help="devices of the burst (default 500)")
    parser.add_argument("--only", choices=("suites", "rollout", "onboarding"), help="measure just this part")
    arguments = parser.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        if arguments.only in (None, "suites"):
            figures += measure_suites()
        if arguments.only in (None, "rollout"):
            figures += measure_rollouts(Path(folder) / "rollout", arguments.sites)
        if arguments.only in (None, "onboarding"):
            figures += measure_onboarding(Path(folder) / "onboarding", arguments.devices)
    rows = [(figure.what, figure.budget, figure.measured, figure.beside, figure.verdict) for figure in figures]
    console.print(table("Budgets, measured", COLUMNS, rows))
    sys.exit(0 if all(figure.met is not False for figure in figures) else 1)


if __name__ == "__main__":
    main()
