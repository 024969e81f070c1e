"""`edge stamp validate` and `plan`: what they print, their exit codes, and that they change nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edge.cli.stamp import app
from edge.ledger import Ledger
from edge.model.site import OfflinePolicy, Site

Edge = Callable[..., Result]
SHIPPED = Path(__file__).parents[2] / "stamps" / "factory-line"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def edge(url: str, monkeypatch: pytest.MonkeyPatch) -> Edge:
    """Runs a command without a Prefect server, as `edge stamp …` does."""
    monkeypatch.setenv("EDGE_LEDGER_URL", url)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def fleet(url: str) -> None:
    """A ledger with four sites, one of them often away."""
    with Ledger.open(url) as ledger:
        for number in range(4):
            policy = OfflinePolicy.EXPECTED if number == 0 else OfflinePolicy.NORMAL
            region = "north" if number < 2 else "south"
            ledger.sites.put(Site(name=f"mill-{number}", region=region, when_offline=policy))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A copy of the shipped stamp to break."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "own"))


def test_a_sound_stamp_is_shown_with_objects_and_parameters(edge: Edge) -> None:
    shown = edge("validate", "factory-line")
    assert shown.exit_code == 0
    assert "StatefulSet" in shown.stdout
    assert "line_count" in shown.stdout
    assert "[1-9]|1[0-9]|20" in shown.stdout
    said = json.loads(edge("validate", SHIPPED, "--json").stdout)
    assert (said["name"], said["version"]) == ("factory-line", "1.0.0")
    assert said["objects"][0] == {"phase": 1, "kind": "Namespace", "namespace": "", "name": "factory-line"}


@pytest.mark.parametrize(
    ("file", "text", "field"),
    [
        ("stamp.yaml", "kind: Stamp\nkind: Stamp\n", "file"),
        ("stamp.yaml", "a: &a [x]\nb: *a\n", "file"),
        ("base/namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: kube-system}\n", "file"),
        ("base/more.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: default}\n", "file"),
        ("base/more.yaml", "apiVersion: v1\nmetadata: {name: x}\n", "field"),
        ("base/more.yaml", "x: '" + "a" * 50_000_000 + "'", "file"),
    ],
    ids=["duplicate key", "alias", "foreign namespace", "namespace escape", "no kind", "50 MB"],
)
def test_bad_input_is_refused_with_exit_code_two(edge: Edge, own: Path, file: str, text: str, field: str) -> None:
    (own / file).write_text(text)
    refused = edge("validate", own, "--json")
    assert refused.exit_code == 2
    said = json.loads(refused.stderr)
    assert said["code"] == "invalid-input"
    assert field in said["where"]
    assert refused.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "./nothing-here"],
        ["validate", "no-such-name"],
        ["validate", "factory-line", "--set", "colour=red"],
        ["validate", "factory-line", "--set", "line_count=21"],
        ["plan", "factory-line", "--set", "log_level=loud"],
        ["plan", "factory-line", "--site", "nobody"],
        ["plan", "factory-line", "--region", "west"],
        ["plan", "factory-line", "--strategy", "./nothing-here"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("fleet")
def test_a_wrong_argument_is_refused_with_exit_code_two(edge: Edge, arguments: list[str]) -> None:
    assert edge(*arguments).exit_code == 2


@pytest.mark.usefixtures("fleet")
def test_a_plan_shows_waves_and_objects(edge: Edge) -> None:
    shown = edge("plan", "factory-line")
    assert shown.exit_code == 0
    assert "4 sites in 3 waves" in shown.stdout
    assert "StatefulSet" in shown.stdout
    said = json.loads(edge("plan", "factory-line", "--set", "line_count=5", "--json").stdout)
    assert [(wave["name"], wave["sites"]) for wave in said["waves"]] == [
        ("canary", ["mill-1"]),
        ("wave-1", ["mill-0"]),
        ("wave-2", ["mill-2", "mill-3"]),
    ]
    assert said["parameters"] == {"line_count": "5"}
    assert said["goes_on"] is False


@pytest.mark.usefixtures("fleet")
def test_a_plan_takes_a_strategy_and_a_choice_of_sites(edge: Edge, tmp_path: Path) -> None:
    strategy = tmp_path / "strategy.yaml"
    strategy.write_text("canary: '0'\nwaves: ['1']\nfailure_budget: '50%'\n")
    said = json.loads(edge("plan", SHIPPED, "--region", "south", "--strategy", strategy, "--json").stdout)
    assert [wave["sites"] for wave in said["waves"]] == [["mill-2"], ["mill-3"]]
    assert [wave["failure_budget"] for wave in said["waves"]] == [1, 1]


@pytest.mark.usefixtures("fleet")
def test_a_plan_changes_nothing(edge: Edge, url: str) -> None:
    first, second = (edge("plan", "factory-line", "--json").stdout for _ in range(2))
    assert first == second
    with Ledger.open(url) as ledger:
        assert ledger.rollouts.list() == ()
        assert ledger.stamps.list() == ()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("canary: [", id="malformed"),
        pytest.param("canary: '1'\ncanary: '2'\n", id="key-twice"),
        pytest.param("canary: '1'\n---\ncanary: '2'\n", id="documents"),
        pytest.param("waves: &w ['1']\nmore: *w\n", id="alias"),
        pytest.param("- canary\n", id="list"),
        pytest.param("concurrency: 0\n", id="value"),
        pytest.param("# " + "x" * 50_000_000, id="50-mb"),
    ],
)
@pytest.mark.usefixtures("fleet")
def test_a_hostile_strategy_is_refused_by_plan_and_roll_out(edge: Edge, url: str, tmp_path: Path, text: str) -> None:
    strategy = tmp_path / "strategy.yaml"
    strategy.write_text(text)
    for command in ("plan", "roll-out"):
        refused = edge(command, "factory-line", "--strategy", strategy, "--json")
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert json.loads(refused.stderr)["where"]["file"] == str(strategy)
    with Ledger.open(url) as ledger:
        assert (ledger.rollouts.list(), ledger.stamps.list()) == ((), ())


@pytest.mark.usefixtures("fleet")
def test_a_wrong_strategy_is_refused_with_its_file_and_field(edge: Edge, tmp_path: Path) -> None:
    strategy = tmp_path / "strategy.yaml"
    strategy.write_text("canary: '1'\ncolour: red\n")
    refused = edge("plan", "factory-line", "--strategy", strategy, "--json")
    assert refused.exit_code == 2
    assert json.loads(refused.stderr)["where"] == {"field": "colour", "value": "'red'", "file": str(strategy)}
