"""A rollout in a process that dies by SIGKILL just before its ledger commits for the n-th time.

`python rollout_killed_at.py STAMP N SITE...` - with N = 0 it lives to its end and prints how many commits there were.
Every intended and every done step is one commit when one thread works, so commits are the boundaries between steps.
Those that only say that the run is alive come by the clock, and are not counted. Who comes next takes over after a
second: the ledger's block that says so is the driver's own.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from blocks.ledger import EdgeLedger
from edge.model.rollout import Strategy
from edge.model.site import SiteSelector
from edge.settings import Settings
from flows.roll_out_stamp import roll_out_stamp

IMPATIENT = "impatient"


class Boundaries:
    """Counts commits that say something of the rollout, and dies just before one of them."""

    def __init__(self, fatal: int) -> None:
        self.count = 0
        self._fatal = fatal
        self._said = threading.local()

    def statement(self, _connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        """Of what will be committed, or not."""
        writes = statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE"))
        if writes and "leases" not in statement:
            self._said.something = True

    def begin(self, _connection: Any) -> None:
        """A transaction."""
        self._said.something = False

    def commit(self, _connection: Any) -> None:
        """Count it."""
        if not getattr(self._said, "something", False):
            return
        self.count += 1
        if self.count == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    stamp, fatal, sites = sys.argv[1], int(sys.argv[2]), tuple(sys.argv[3:])
    EdgeLedger.from_settings(Settings(claim_s=1)).save(IMPATIENT, overwrite=True)
    boundaries = Boundaries(fatal)
    event.listen(Engine, "begin", boundaries.begin)
    event.listen(Engine, "before_cursor_execute", boundaries.statement)
    event.listen(Engine, "commit", boundaries.commit)
    strategy = Strategy(canary="1", waves=("100%",), concurrency=1)
    state = roll_out_stamp(stamp, SiteSelector(names=sites), strategy=strategy, ledger=IMPATIENT, return_state=True)
    sys.stdout.write(f"\n{boundaries.count} {state.message}\n")
    sys.exit(0 if state.is_completed() else 1)


if __name__ == "__main__":
    main()
