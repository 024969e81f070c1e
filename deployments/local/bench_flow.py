"""One rollout in a process of its own, so that what it used can be told apart.

`python -m deployments.local.bench_flow STAMP THREADS all|none` runs the flow against the server and the blocks of the
environment, and prints what it used as the last line, as JSON. The last word is the strategy's `preflight`.
"""

from __future__ import annotations

import resource
import sys
import time

import orjson

from edge.model.rollout import Preflight, Strategy
from edge.model.site import SiteSelector
from flows.roll_out_stamp import roll_out_stamp


def main() -> None:
    """Roll the stamp out to all sites in one wave."""
    stamp, threads = sys.argv[1], int(sys.argv[2])
    checks = Preflight(sys.argv[3])
    strategy = Strategy(canary="0", waves=("100%",), concurrency=threads, preflight=checks)
    started = time.monotonic()
    state = roll_out_stamp(stamp, SiteSelector(), strategy=strategy, return_state=True)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    said = {
        "wall_s": time.monotonic() - started,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
        "said": state.message,
    }
    sys.stdout.write(orjson.dumps(said).decode() + "\n")
    sys.exit(0 if state.is_completed() else 1)


if __name__ == "__main__":
    main()
