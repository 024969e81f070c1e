"""Several processes on one ledger, and processes that are killed in the middle of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url, text

from edge.ledger import Ledger
from edge.model.step import StepState

# Eight threads run steps whose effect is a line in a file, and say which steps are done once the ledger has said so.
WORKER = """
import os, sys, threading
from edge.ledger import Ledger
from edge.model.step import StepKey

url, folder, name, subjects = sys.argv[1:]
ledger = Ledger.open(url)
say = threading.Lock()

def effect(subject, step):
    line = os.open(os.path.join(folder, "effects"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(line, f"{name} {subject} {step}\\n".encode())
    os.close(line)
    return {"by": name}

def work(place):
    for number in range(place, int(subjects), 8):
        subject = f"s{number}"
        for step in ("apply", "health"):
            ledger.steps.once(StepKey(work=name, subject=subject, step=step), lambda: effect(subject, step))
            ledger.audit.append(name, "step.done", f"{subject}/{step}")
            with say:
                os.write(1, f"{subject} {step}\\n".encode())

threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
ledger.close()
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database; PostgreSQL only where `EDGE_TEST_POSTGRES_URL` names a server."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
        return
    given = os.environ.get("EDGE_TEST_POSTGRES_URL")
    if given is None:
        pytest.skip("EDGE_TEST_POSTGRES_URL is not set")
    server, name = make_url(given).set(drivername="postgresql+psycopg"), f"edge_{uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


def start(url: str, folder: Path, name: str, subjects: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WORKER, url, str(folder), name, str(subjects)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def kill_after(process: subprocess.Popen[bytes], lines: int) -> set[tuple[str, str]]:
    """Kill the process when it has said that many lines; answers all that it said."""
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    said += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    whole = [line.decode().split() for line in said if line.endswith(b"\n")]
    return {(subject, step) for subject, step in whole}


def effects(folder: Path, name: str) -> list[tuple[str, str]]:
    lines = [line.split() for line in (folder / "effects").read_text().splitlines()]
    return [(subject, step) for who, subject, step in lines if who == name]


def test_killed_processes_lose_nothing_that_they_said_and_repeat_nothing_that_is_done(url: str, tmp_path: Path) -> None:
    subjects, names = 60, ("one", "two")
    said: dict[str, set[tuple[str, str]]] = {name: set() for name in names}
    kills = 0
    for lines in (1, 7, 23):
        running = [start(url, tmp_path, name, subjects) for name in names]
        for name, process in zip(names, running, strict=True):
            said[name] |= kill_after(process, lines)
            kills += 1
        with Ledger.open(url, migrate=False) as ledger:
            ledger.audit.verify()
            for name in names:
                records = ledger.steps.records(name)
                done = {(row.key.subject, row.key.step) for row in records if row.state is StepState.DONE}
                assert said[name] <= done
                assert {row.state for row in records} <= {StepState.DONE, StepState.INTENDED}
                assert set(effects(tmp_path, name)) <= {(row.key.subject, row.key.step) for row in records}
    for name in names:
        process = start(url, tmp_path, name, subjects)
        process.communicate()
        assert process.returncode == 0
    with Ledger.open(url, migrate=False) as ledger:
        for name in names:
            records = ledger.steps.records(name)
            assert [row.state for row in records] == [StepState.DONE] * (2 * subjects)
            ran = effects(tmp_path, name)
            assert len(set(ran)) == 2 * subjects
            # Each kill cuts off at most one step in each of the eight threads.
            assert len(ran) - len(set(ran)) <= 8 * kills / len(names)
            for row in records:
                assert ran.count((row.key.subject, row.key.step)) <= row.tries
        assert ledger.audit.verify().count >= sum(len(lines) for lines in said.values())


def test_processes_that_open_a_fresh_ledger_at_once_all_succeed(url: str, tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(4)]
    running = [start(url, tmp_path, name, 10) for name in names]
    for process in running:
        process.communicate()
    assert [process.returncode for process in running] == [0, 0, 0, 0]
    with Ledger.open(url, migrate=False) as ledger:
        assert ledger.audit.verify().count == 4 * 20
        for name in names:
            assert len(ledger.steps.records(name)) == 20
