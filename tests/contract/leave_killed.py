"""Decommissions a device in processes that die by SIGKILL at their 1st, 3rd, 5th… commit, until one lives.

`python leave_killed.py LEDGER_URL CREDENTIALS DEVICE` prints how many died. Each step is a commit before its effect and
one after it, and effects have commits of their own, so every place between two effects is met.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from blocks.credentials import SiteCredentials
from edge.ledger import Ledger
from tasks.decommission import decommission
from tasks.decommission_job import LeaveJob

HOLD_S = 0.2
MOST = 40


def leave(url: str, folder: str, device: str, fatal: int) -> None:
    """One process's life."""
    commits = 0

    @event.listens_for(Engine, "commit")
    def count(_connection: Any) -> None:
        nonlocal commits
        commits += 1
        if commits == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    with Ledger.open(url) as ledger:
        job = LeaveJob(ledger, SiteCredentials(folder=Path(folder)), None, hold_s=HOLD_S)
        proof = decommission.fn(job, device, "closed", lost=False)
    os._exit(1 if proof.owed else 0)


def main() -> None:
    url, folder, device = sys.argv[1:4]
    for died in range(MOST):
        child = os.fork()  # nothing runs in threads yet: the ledger is opened in the child
        if child == 0:
            leave(url, folder, device, 2 * died + 1)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.stdout.write(f"{died}\n")
            sys.exit(os.waitstatus_to_exitcode(status))
    sys.exit("it never ended")


if __name__ == "__main__":
    main()
