"""Processes that are started are recognised again, ended with what they started, and never mistaken for another."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.processes import Started, end, free_port, is_running, spawn, start_time

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
POLITE = "import time; print('up', flush=True); time.sleep(60)"
PARENT = (
    "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    "print(child.pid, flush=True); time.sleep(60)"
)

Run = Callable[[str], Started]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "out.log"


@pytest.fixture
def run(log: Path) -> Iterator[Run]:
    """Runs a program of one line and waits until it has said something."""
    started: list[Started] = []

    def go(code: str) -> Started:
        before = log.stat().st_size if log.exists() else 0
        started.append(spawn([sys.executable, "-c", code], env=os.environ, log=log))
        while is_running(started[-1]) and log.stat().st_size == before:
            time.sleep(0.01)
        return started[-1]

    yield go
    for process in started:
        end(process, grace_s=0)


def test_a_process_is_known_while_it_runs_and_gone_when_it_ended(run: Run) -> None:
    process = run(POLITE)
    assert is_running(process)
    assert end(process)
    assert not is_running(process)
    assert not end(process), "there is nothing to end any more"


def test_a_process_that_ignores_the_polite_signal_is_made_to_end(run: Run) -> None:
    process = run(STUBBORN)
    assert end(process, grace_s=0.1)
    assert not is_running(process)


def test_what_a_process_started_ends_with_it(run: Run, log: Path) -> None:
    process = run(PARENT)
    child = int(log.read_text())
    assert start_time(child) is not None
    assert end(process)
    until = time.monotonic() + 10
    while start_time(child) is not None and time.monotonic() < until:
        time.sleep(0.01)
    assert start_time(child) is None


def test_a_pid_that_now_belongs_to_another_is_left_alone() -> None:
    own = Started(pid=os.getpid(), since="a time long before this process")
    assert not is_running(own)
    assert not end(own), "this very process would be ended by a mistake"


def test_a_process_that_was_never_seen_to_run_is_not_taken_for_running() -> None:
    assert not is_running(Started(pid=2**22 + 1, since=""))
    assert not is_running(Started(pid=os.getpid(), since=""))


def test_output_is_added_to_the_log(run: Run, log: Path) -> None:
    run("print('first', flush=True)")
    run("import sys; print('second', file=sys.stderr, flush=True)")
    assert log.read_text().split() == ["first", "second"]


def test_a_free_port_can_be_listened_at() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))
