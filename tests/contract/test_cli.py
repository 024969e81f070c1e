"""What every command has in common: help, JSON also for errors, exit codes, and words instead of tracebacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from edge.cli.main import app, main


def commands(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it."""
    topics = getattr(command, "commands", None)
    if topics is None:
        yield path, command
        return
    for name, inner in topics.items():
        yield from commands(inner, *path, name)


ALL = dict(commands(get_command(app)))


def test_the_commands_that_were_promised_are_there() -> None:
    promised = {
        "lab": ("up", "down", "fault"),
        "site": ("import", "list", "show"),
        "device": ("list", "show"),
        "stamp": ("validate", "plan", "roll-out"),
        "rollout": ("list", "status"),
        "audit": ("verify",),
        "gateway": ("serve",),
        "platform": ("up", "down", "demo", "bench"),
    }
    assert {(topic, name) for topic, names in promised.items() for name in names} <= set(ALL)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_for_all_it_takes_and_speaks_json(path: tuple[str, ...]) -> None:
    command = ALL[path]
    assert command.help
    options = [name for parameter in command.params for name in parameter.opts]
    assert "--json" in options
    silent = [parameter.name for parameter in command.params if not getattr(parameter, "help", None)]
    assert silent == []
    shown = CliRunner().invoke(app, [*path, "--help"])
    assert shown.exit_code == 0
    assert command.help.splitlines()[0][:30] in " ".join(shown.stdout.split())


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[object, str, str]]:
    """Runs the command as the shell does; answers its exit code, and what it wrote to both streams."""

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["edge", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code or 0, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["site", "import", "mill", "--json"], "--kubeconfig", id="missing-option"),
        pytest.param(["site", "show", "--json"], "name", id="missing-argument"),
        pytest.param(["device", "list", "--state", "lost", "--json"], "lost", id="no-such-choice"),
        pytest.param(["site", "list", "--colour", "red", "--json"], "--colour", id="no-such-option"),
        pytest.param(["site", "paint", "--json"], "paint", id="no-such-command"),
        pytest.param(["lab", "up", "--sites", "few", "--json"], "--sites", id="no-number"),
    ],
)
def test_a_wrong_use_is_told_as_json_when_json_is_asked_for(edge: Any, arguments: list[str], said: str) -> None:
    code, out, err = edge(*arguments)
    assert (code, out) == (2, "")
    told = json.loads(err)
    assert told["code"] == "invalid-input"
    assert said.lower() in told["error"].lower()


def test_a_wrong_use_is_told_to_people_otherwise(edge: Any) -> None:
    code, _, err = edge("site", "list", "--colour", "red")
    assert code == 2
    assert "--colour" in err
    assert not err.lstrip().startswith("{")


def test_a_good_use_ends_with_zero(edge: Any) -> None:
    code, out, _ = edge("stamp", "validate", "factory-line", "--json")
    assert (code, json.loads(out)["name"]) == (0, "factory-line")


def test_wrong_input_ends_with_two_also_with_json(edge: Any) -> None:
    code, out, err = edge("stamp", "validate", "no-such-stamp", "--json")
    assert (code, out, json.loads(err)["code"]) == (2, "", "invalid-input")


def test_nothing_is_drawn_for_a_terminal_when_none_watches(tmp_path: Path) -> None:
    environment = {**os.environ, "EDGE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "edge", "stamp", "validate", "factory-line"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout + done.stderr
