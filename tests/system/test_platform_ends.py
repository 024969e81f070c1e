"""Whatever happens to `edge platform`, it leaves no process behind, and two of them do not meet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

EDGE = (sys.executable, "-m", "edge", "platform")


@pytest.fixture
def home(tmp_path: Path, processes_of: Any) -> Iterator[Path]:
    """A state folder of its own; what still belongs to it afterwards is killed."""
    yield tmp_path / "home"
    for pid in processes_of(tmp_path / "home"):
        os.kill(pid, signal.SIGKILL)


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "EDGE_HOME": str(home)}


def platform_of(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*EDGE, *arguments]
    return subprocess.run(command, env=environment(home), capture_output=True, text=True, check=False, timeout=200)


def _heed_ctrl_c() -> None:
    """As in a terminal. What is started in the background ignores it, and hands that on to what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("sign", "part", "code"),
    [
        pytest.param(signal.SIGTERM, "edge.lab", 143, id="SIGTERM-when-the-lab-starts"),
        pytest.param(signal.SIGINT, "prefect server start", 130, id="Ctrl-C-when-the-server-starts"),
        pytest.param(signal.SIGTERM, "prefect.engine", 143, id="SIGTERM-during-a-run"),
    ],
)
def test_an_interrupted_demonstration_leaves_no_process(
    home: Path, processes_of: Any, until: Any, sign: signal.Signals, part: str, code: int
) -> None:
    log = home.with_name("demo.log")
    with log.open("wb") as out:
        demo = subprocess.Popen(
            [*EDGE, "demo", "--sites", "3"],
            env=environment(home),
            stdout=out,
            stderr=out,
            preexec_fn=_heed_ctrl_c,  # noqa: PLW1509 - this process has no other thread that could hold a lock
        )
    until(lambda: [line for line in processes_of(home).values() if part in line], f"{part} runs")
    demo.send_signal(sign)
    assert demo.wait(timeout=60) == code, log.read_text()
    until(lambda: processes_of(home) == {}, "no process is left")
    assert "Traceback" not in log.read_text()


def test_a_platform_runs_once_in_its_folder_beside_others_until_it_is_ended(
    home: Path, platform: Any, processes_of: Any
) -> None:
    up = platform_of(home, "up", "--sites", "1", "--json")
    assert up.returncode == 0, up.stderr
    said, running = json.loads(up.stdout), processes_of(home)
    assert said["environment"]["EDGE_HOME"] == str(home)
    again = platform_of(home, "up", "--json")
    assert (again.returncode, again.stdout) == (1, "")
    assert "runs already" in json.loads(again.stderr)["error"]
    assert processes_of(home) == running, "what runs is left alone"
    for api in (said["prefect_api"], platform.addresses.prefect_api):
        assert httpx.get(f"{api}/health", timeout=10).is_success
    down = platform_of(home, "down", "--json")
    assert json.loads(down.stdout)["ended"] == ["gateway", "worker", "prefect-server", "lab"]
    assert processes_of(home) == {}
    assert httpx.get(f"{platform.addresses.prefect_api}/health", timeout=10).is_success, "the other one goes on"
    assert json.loads(platform_of(home, "down", "--json").stdout)["ended"] == []


def test_a_platform_that_cannot_start_ends_what_it_had_started(home: Path, processes_of: Any) -> None:
    home.mkdir()
    (home / "prefect").write_text("a file where the server wants its folder")
    up = platform_of(home, "up", "--sites", "1", "--json")
    assert (up.returncode, up.stdout) == (1, "")
    said = json.loads(up.stderr.splitlines()[-1])
    assert said["where"]["part"] == "prefect-server"
    assert processes_of(home) == {}


@pytest.mark.parametrize("content", ["{", "[]", '{"started": {"worker": {"pid": "x"}}}'], ids=["cut", "list", "pid"])
def test_a_state_file_that_cannot_be_read_is_told_and_nothing_starts(
    home: Path, processes_of: Any, content: str
) -> None:
    home.mkdir()
    (home / "platform.json").write_text(content)
    up = platform_of(home, "up", "--json")
    assert (up.returncode, up.stdout) == (1, "")
    assert str(home / "platform.json") in up.stderr
    assert processes_of(home) == {}
