"""What system tests look at from outside: which processes belong to a state folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ProcessesOf = Callable[[Path], dict[int, str]]
PATIENCE_S = 60.0


@pytest.fixture
def processes_of() -> ProcessesOf:
    """The processes whose environment or command line names a folder: command line by pid (Linux)."""
    proc = Path("/proc")
    if not (proc / "self" / "environ").exists():
        pytest.skip("processes are looked up in /proc, which this system does not have")

    def find(home: Path) -> dict[int, str]:
        found = {}
        for folder in proc.glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes()
                said = command + b"\0" + (folder / "environ").read_bytes()
            except OSError:
                continue
            if str(home).encode() in said:
                found[int(folder.name)] = command.replace(b"\0", b" ").decode(errors="replace")
        return found

    return find


@pytest.fixture
def until() -> Callable[[Callable[[], Any], str], Any]:
    """Ask again and again until the answer is true, and return it; fails with `what` when that takes too long."""

    def wait(ask: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            found = ask()
            if found:
                return found
            time.sleep(0.1)
        return pytest.fail(f"not within {PATIENCE_S:.0f} s: {what}")

    return wait
