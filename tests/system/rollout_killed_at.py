"""A rollout in a process that dies by SIGKILL just before its ledger commits for the n-th time.

`python rollout_killed_at.py STAMP N SITE...` - with N = 0 it lives to its end and prints how many commits there were.
Every intended and every done step is one commit when one thread works, so commits are the boundaries between steps.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from edge.model.rollout import Strategy
from edge.model.site import SiteSelector
from flows.roll_out_stamp import roll_out_stamp


def main() -> None:
    stamp, fatal, sites = sys.argv[1], int(sys.argv[2]), tuple(sys.argv[3:])
    commits = 0

    @event.listens_for(Engine, "commit")
    def count(_connection: Any) -> None:
        nonlocal commits
        commits += 1
        if commits == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    strategy = Strategy(canary="1", waves=("100%",), concurrency=1)
    state = roll_out_stamp(stamp, SiteSelector(names=sites), strategy=strategy, return_state=True)
    sys.stdout.write(f"\n{commits} {state.message}\n")
    sys.exit(0 if state.is_completed() else 1)


if __name__ == "__main__":
    main()
