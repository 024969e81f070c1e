"""Start, recognise and end processes on this machine. One is known by pid and start time: a reused pid is never hit."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge.model.base import Value

GRACE_S = 10.0

_children: dict[int, subprocess.Popen[bytes]] = {}


class Started(Value):
    """A process that was started here: its pid, and when the system says it started."""

    pid: int
    since: str


def spawn(argv: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path | None = None) -> Started:
    """Start a program in a process group of its own, its output going to the end of `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(  # noqa: S603 - callers start our own programs
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[child.pid] = child
    return Started(pid=child.pid, since=start_time(child.pid) or "")


def this_process() -> Started:
    """The process that asks."""
    return Started(pid=os.getpid(), since=start_time(os.getpid()) or "")


def start_time(pid: int) -> str | None:
    """When the process started, in the system's own words; None when there is no such process, or only its remains."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] == "Z" else fields[19]
    asked = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607 - a number
    return asked.stdout.strip() or None


def is_running(process: Started) -> bool:
    """Whether this very process still runs."""
    _reap(process.pid)
    return bool(process.since) and start_time(process.pid) == process.since


def end(process: Started, *, grace_s: float = GRACE_S) -> bool:
    """Ask the process's group to end, and after `grace_s` seconds make it. False when it was not running."""
    if not is_running(process):
        return False
    for sign, patience in ((signal.SIGTERM, grace_s), (signal.SIGKILL, GRACE_S)):
        _signal_group(process.pid, sign)
        if _gone_within(process, patience):
            return True
    return True


def _signal_group(pid: int, sign: int) -> None:
    try:
        os.killpg(pid, sign)
    except ProcessLookupError:
        return


def _gone_within(process: Started, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not is_running(process):
            return True
        time.sleep(0.05)
    return False


def _reap(pid: int) -> None:
    """Take the exit status of a child of ours, so that it does not stay behind as a zombie."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]


def free_port() -> int:
    """A port of the loopback address where nobody listens just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
