"""`edge site import`, `list` and `show`: what is taken in, what is refused, and where the credential ends up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from edge.cli.site import app

Edge = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def edge(home: Path, monkeypatch: pytest.MonkeyPatch) -> Edge:
    """Runs `edge site …` without a Prefect server."""
    monkeypatch.setenv("EDGE_HOME", str(home))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def kubeconfig(lab: Any) -> Path:
    """The lab's kubeconfig of one site."""
    return Path(lab.site("site-0001").kubeconfig)


@pytest.fixture
def changed(kubeconfig: Path, tmp_path: Path) -> Callable[[Callable[[Any, Any], None]], Path]:
    """Writes the kubeconfig anew after a change of its user and its cluster."""

    def write(change: Callable[[Any, Any], None]) -> Path:
        said = yaml.safe_load(kubeconfig.read_text())
        change(said["users"][0]["user"], said["clusters"][0]["cluster"])
        file = tmp_path / "changed.kubeconfig"
        file.write_text(yaml.safe_dump(said))
        return file

    return write


def kept(home: Path) -> list[str]:
    """The names of the files in the credentials folder."""
    return sorted(file.name for file in (home / "credentials").glob("*")) if home.exists() else []


def listed(edge: Edge, *options: str) -> list[str]:
    return [site["name"] for site in json.loads(edge("list", *options, "--json").stdout)]


def test_an_imported_site_is_connected_and_its_credential_is_its_owners_alone(
    edge: Edge, home: Path, kubeconfig: Path
) -> None:
    done = edge("import", "mill", "--kubeconfig", kubeconfig, "--tenant", "acme", "--label", "line=a=b", "--json")
    assert done.exit_code == 0, done.stderr
    (site,) = json.loads(done.stdout)
    assert (site["name"], site["tenant"], site["state"]) == ("mill", "acme", "connected")
    assert site["labels"] == {"line": "a=b"}
    file = home / "credentials" / "mill.kubeconfig"
    assert kept(home) == [file.name]
    assert file.stat().st_mode & 0o777 == 0o600
    token = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"]
    assert token in file.read_text()
    assert token not in done.stdout + edge("show", "mill").stdout
    assert token.encode() not in (home / "ledger.db").read_bytes()


def test_a_site_that_is_imported_again_takes_the_new_credential(edge: Edge, home: Path, kubeconfig: Path) -> None:
    assert edge("import", "mill", "--kubeconfig", kubeconfig).exit_code == 0
    (home / "credentials" / "mill.kubeconfig").write_text("spoilt")
    again = edge("import", "mill", "--kubeconfig", kubeconfig, "--region", "north")
    assert again.exit_code == 0, again.stderr
    assert "spoilt" not in (home / "credentials" / "mill.kubeconfig").read_text()
    assert listed(edge, "--region", "north") == ["mill"]


@pytest.mark.parametrize("name", ["../mill", "a/b", "Mill", "mill.kubeconfig", "-mill", "", "m" * 64])
def test_a_name_that_is_no_label_is_refused(edge: Edge, home: Path, kubeconfig: Path, name: str) -> None:
    refused = edge("import", "--kubeconfig", kubeconfig, "--json", "--", name)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert json.loads(refused.stderr)["where"]["field"] == "name"
    assert kept(home) == []
    assert not (home / "ledger.db").exists()


def _runs_a_program(user: Any, _: Any) -> None:
    user.clear()
    user["exec"] = {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/login-to-somewhere"}


def _is_not_verified(_: Any, cluster: Any) -> None:
    del cluster["certificate-authority-data"]
    cluster["insecure-skip-tls-verify"] = True


@pytest.mark.parametrize(
    ("change", "place"),
    [
        pytest.param(_runs_a_program, {"field": "exec.command", "value": "/bin/login-to-somewhere"}, id="exec"),
        pytest.param(_is_not_verified, {"field": "insecure-skip-tls-verify", "value": "True"}, id="not-verified"),
    ],
)
def test_an_unsafe_kubeconfig_is_refused(
    edge: Edge, home: Path, changed: Any, change: Any, place: dict[str, str]
) -> None:
    file = changed(change)
    refused = edge("import", "mill", "--kubeconfig", file, "--json")
    assert refused.exit_code == 2
    assert json.loads(refused.stderr)["where"] == {"file": str(file), **place}
    assert kept(home) == []


@pytest.mark.parametrize(
    ("options", "field"),
    [
        pytest.param(["--context", "elsewhere"], "contexts", id="no-such-context"),
        pytest.param(["--kubeconfig", "./absent"], None, id="no-such-file"),
        pytest.param(["--label", "line"], "--label", id="label-without-value"),
        pytest.param(["--tenant", "Acme & Co"], "tenant", id="tenant-no-label"),
        pytest.param(["--time-zone", "Mars/Base"], "--time-zone", id="no-such-time-zone"),
        pytest.param(["--time-zone", "../../etc/passwd"], "--time-zone", id="time-zone-as-path"),
    ],
)
def test_wrong_options_are_refused_with_their_place(
    edge: Edge, home: Path, kubeconfig: Path, options: list[str], field: str | None
) -> None:
    refused = edge("import", "mill", "--kubeconfig", kubeconfig, *options, "--json")
    assert refused.exit_code == 2
    assert json.loads(refused.stderr)["where"].get("field") == field
    assert kept(home) == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: [", id="malformed"),
        pytest.param("a: &a [x]\nb: [*a, *a]\n", id="aliases"),
        pytest.param("kind: Config\nkind: Config\n", id="key-twice"),
        pytest.param("kind: Config\n---\nkind: Config\n", id="documents"),
        pytest.param("a: " + "x" * 50_000_000, id="50-mb"),
        pytest.param("", id="empty"),
    ],
)
def test_a_hostile_kubeconfig_is_named_and_changes_nothing(edge: Edge, home: Path, tmp_path: Path, text: str) -> None:
    file = tmp_path / "hostile"
    file.write_text(text)
    refused = edge("import", "mill", "--kubeconfig", file, "--json")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert json.loads(refused.stderr)["where"]["file"] == str(file)
    assert kept(home) == []
    assert not (home / "ledger.db").exists()


def test_a_site_that_is_away_is_refused_unless_that_is_expected(
    edge: Edge, home: Path, lab: Any, kubeconfig: Path
) -> None:
    lab.fault("site-0001", "offline")
    try:
        refused = edge("import", "mill", "--kubeconfig", kubeconfig, "--json")
        before = kept(home)
        known = edge("import", "mill", "--kubeconfig", kubeconfig, "--when-offline", "expected", "--json")
    finally:
        lab.lift("site-0001")
    assert refused.exit_code == 1
    assert json.loads(refused.stderr)["code"] == "site-unreachable"
    assert before == []
    assert known.exit_code == 0, known.stderr
    assert json.loads(known.stdout)[0]["state"] == "known"
    assert kept(home) == ["mill.kubeconfig"]


def test_a_credential_that_the_site_does_not_accept_is_refused(edge: Edge, home: Path, changed: Any) -> None:
    def spoil(user: Any, _: Any) -> None:
        user["token"] = "not-the-token"

    refused = edge("import", "mill", "--kubeconfig", changed(spoil), "--when-offline", "expected", "--json")
    assert refused.exit_code == 1
    assert json.loads(refused.stderr)["code"] == "credential-rejected"
    assert "not-the-token" not in refused.stderr
    assert kept(home) == []


def test_sites_are_listed_by_tenant_region_and_label(edge: Edge, kubeconfig: Path) -> None:
    places = (("mill", "acme", "north", "a"), ("dock", "acme", "south", "b"), ("farm", "barn", "north", "a"))
    for name, tenant, region, line in places:
        options = ["--tenant", tenant, "--region", region, "--label", f"line={line}"]
        assert edge("import", name, "--kubeconfig", kubeconfig, *options).exit_code == 0
    assert listed(edge) == ["dock", "farm", "mill"]
    assert listed(edge, "--tenant", "acme") == ["dock", "mill"]
    assert listed(edge, "--region", "north", "--label", "line=a") == ["farm", "mill"]
    assert listed(edge, "--tenant", "acme", "--label", "line=b") == ["dock"]
    assert listed(edge, "--tenant", "nobody") == []
    shown = edge("list").stdout
    assert all(name in shown for name, *_ in places)


def test_a_site_that_is_not_known_cannot_be_shown(edge: Edge) -> None:
    absent = edge("show", "nowhere", "--json")
    assert (absent.exit_code, absent.stdout) == (1, "")
    assert json.loads(absent.stderr)["code"] == "not-found"
