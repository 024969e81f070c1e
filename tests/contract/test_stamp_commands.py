"""`edge stamp new`, `validate`, `render`, `diff`, `plan`: what they print, their exit codes, what they leave alone."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from edge.cli.stamp import app
from edge.clients.files import read_stamp_folder
from edge.ledger import Ledger
from edge.model.site import OfflinePolicy, Site
from edge.policy.stamp import parse_stamp

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


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger's file with four sites, one of them often away."""
    file = tmp_path_factory.mktemp("filled") / "ledger.db"
    with Ledger.open(f"sqlite:///{file}") as ledger:
        for number in range(4):
            policy = OfflinePolicy.EXPECTED if number == 0 else OfflinePolicy.NORMAL
            region = "north" if number < 2 else "south"
            ledger.sites.put(Site(name=f"mill-{number}", region=region, when_offline=policy))
    return file


@pytest.fixture
def fleet(filled: Path, tmp_path: Path) -> None:
    """The ledger has the sites of `filled`."""
    with sqlite3.connect(filled) as source, sqlite3.connect(tmp_path / "ledger.db") as copy:
        source.backup(copy)
    source.close()
    copy.close()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A copy of the shipped stamp to break."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "own"))


def test_a_sound_stamp_is_shown_with_objects_and_parameters(edge: Edge) -> None:
    shown = edge("validate", "factory-line")
    assert shown.exit_code == 0
    assert "StatefulSet" in shown.stdout
    assert "line_count" in shown.stdout
    assert "minimum 1, maximum 20" in shown.stdout
    said = json.loads(edge("validate", SHIPPED, "--json").stdout)
    assert (said["name"], said["version"]) == ("factory-line", "1.1.0")
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
        ["render", "no-such-name"],
        ["render", "factory-line", "--site", "nobody"],
        ["render", "factory-line@9.9.9"],
        ["diff", "factory-line", "edge-gateway", "--set", "colour=red"],
        ["new", "Not-A-Name"],
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


@pytest.mark.parametrize("kind", ["manifests", "kustomize", "helm"])
def test_a_new_stamp_is_made_and_is_sound(edge: Edge, tmp_path: Path, kind: str) -> None:
    made = edge("new", "web", "--kind", kind, "--into", tmp_path / "mine", "--json")
    folder = tmp_path / "mine" / "web"
    assert (made.exit_code, json.loads(made.stdout)["folder"]) == (0, str(folder))
    said = json.loads(edge("validate", folder, "--json").stdout)
    assert (said["name"], said["violations"], len(said["objects"])) == ("web", [], 3)
    before = (folder / "stamp.yaml").read_bytes()
    again = edge("new", "web", "--into", tmp_path / "mine", "--json")
    assert (again.exit_code, (folder / "stamp.yaml").read_bytes()) == (2, before)


def test_a_stamp_that_breaks_a_rule_ends_with_one_and_says_the_fix(edge: Edge, own: Path) -> None:
    file = own / "line" / "dashboard.yaml"
    file.write_text(file.read_text().replace("allowPrivilegeEscalation: false", "privileged: true"))
    shown = edge("validate", own)
    assert shown.exit_code == 1
    assert "no-privileged-pods" in shown.stdout
    header = own / "stamp.yaml"
    rules = ("no-privileged-pods", "no-privilege-escalation")
    waivers = [{"code": code, "owner": "ann", "reason": "old panel", "expires": "2999-01-01"} for code in rules]
    header.write_text(f"{header.read_text()}  policies: {json.dumps({'waivers': waivers})}\n")
    assert edge("validate", own).exit_code == 0


@pytest.mark.usefixtures("fleet")
def test_objects_are_rendered_as_yaml_for_a_site_with_its_own_values(edge: Edge, own: Path) -> None:
    header = own / "stamp.yaml"
    text = header.read_text().replace(
        "  components:\n", "    plc: {secret: true, default: plc/password}\n  components:\n"
    )
    header.write_text(
        f"{text}  values: {{sites: {{mill-1: {{line_count: 7}}}}, regions: {{north: {{log_level: debug}}}}}}\n"
    )
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: plc, namespace: factory-line}\nstringData: {p: '${plc}'}\n"
    (own / "line" / "plc.yaml").write_text(secret)
    shown = edge("render", own, "--site", "mill-1")
    assert shown.exit_code == 0, shown.stderr
    found = {obj["kind"]: obj for obj in yaml.safe_load_all(shown.stdout)}
    settings = found["ConfigMap"]["data"]
    assert (settings["SITE_NAME"], settings["LINE_COUNT"], settings["LOG_LEVEL"]) == ("mill-1", "7", "debug")
    assert "<secret plc/password>" in shown.stdout or "PHNlY3JldCBwbGMvcGFzc3dvcmQ+" in shown.stdout
    given = edge("render", own, "--site", "mill-1", "--set", "line_count=3", "--json")
    assert {obj["kind"]: obj for obj in json.loads(given.stdout)}["StatefulSet"]["spec"]["replicas"] == 3


def test_two_versions_are_compared_down_to_their_fields(edge: Edge, own: Path) -> None:
    header = own / "stamp.yaml"
    header.write_text(
        header.read_text().replace("version: 1.0.0", "version: 1.1.0").replace("default: 2", "default: 3")
    )
    (own / "base" / "access.yaml").unlink()
    shown = edge("diff", "factory-line", own)
    assert shown.exit_code == 0
    assert "spec.replicas" in shown.stdout
    said = json.loads(edge("diff", "factory-line", own, "--json").stdout)
    assert [one["name"] for one in said["parameters"]["changed"]] == ["line_count"]
    assert "ServiceAccount factory-line/line-controller" in said["objects"]["removed"]
    assert "no difference" in edge("diff", own, own).stdout


@pytest.mark.usefixtures("fleet")
def test_a_recorded_version_is_rendered_and_compared(edge: Edge, url: str, own: Path) -> None:
    with Ledger.open(url) as ledger:
        ledger.stamps.record(parse_stamp(read_stamp_folder(own)))
    assert edge("render", "factory-line@1.1.0", "--site", "mill-0").exit_code == 0
    assert "no difference" in edge("diff", "factory-line@1.1.0", own).stdout


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
        pytest.param("site_deadline_s: 0\n", id="value"),
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
