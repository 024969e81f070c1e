"""What a process used, as the operating system counts it, and how a figure is put."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge.errors import Permanent
from edge.model.base import Value

TICKS = os.sysconf("SC_CLK_TCK")


class Figure(Value):
    """One line of the budget table. `met` is None where there is no budget."""

    what: str
    budget: str
    measured: str
    beside: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        """The word in the table."""
        return {True: "yes", False: "NO", None: ""}[self.met]


class Used(Value):
    """Wall-clock and CPU seconds, and peak resident memory in MiB, of one finished process."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def run_measured(argv: Sequence[str], env: Mapping[str, str], log: Path) -> Used:
    """Run a Python program to its end and answer what it used. Raises Permanent when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("wb") as out:
        child = subprocess.Popen([sys.executable, *argv], env=dict(env), stdout=out, stderr=subprocess.STDOUT)  # noqa: S603 - our own
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise Permanent(
            "A measured program failed", program=" ".join(argv), said=log.read_text(errors="replace")[-1500:]
        )
    return Used(
        wall_s=time.monotonic() - started,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mib=usage.ru_maxrss / 1024,
    )


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a running process and its children that have ended have used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS
