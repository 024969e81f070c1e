"""Processes by their id and their time of start, so that a reused id is never taken for the process it once named."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TypedDict


class ProcessId(TypedDict):
    """One process of this machine."""

    pid: int
    started: str


def this_process() -> ProcessId:
    """The process that asks."""
    return {"pid": os.getpid(), "started": started(os.getpid())}


def alive(process: ProcessId) -> bool:
    """Whether exactly this process still runs."""
    return bool(process["started"]) and started(process["pid"]) == process["started"]


def started(pid: int) -> str:
    """A text that is the same for as long as this process lives; "" when there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        try:
            words = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if words[0] == "Z" else words[19]
    if Path("/proc/self").exists():
        return ""
    found = subprocess.run(  # noqa: S603 - a fixed command and a number
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return found.stdout.strip()
