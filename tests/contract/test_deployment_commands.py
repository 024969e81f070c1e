"""`python -m deployments.apply`, and how commands meet a server that is not there: clear words, and nothing changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr
from typer.testing import CliRunner

from blocks.admission import DeviceAdmission
from blocks.gateway import GatewaySecret
from blocks.ledger import EdgeLedger
from edge.cli.main import app
from edge.errors import InvalidInput
from edge.settings import Settings
from tests.pretend_prefect import PretendPrefect

NOBODY = "http://127.0.0.1:1/api"
RULES = "rules: [{name: all, when: 'true', site: 'site-${device.id}'}]\n"


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        pytest.param("EDGE_TRUST", None, "The file cannot be read", id="trust-absent"),
        pytest.param("EDGE_TRUST", "no certificate", "The trusted certificates cannot be read", id="trust-garbage"),
        pytest.param("EDGE_TRUST", "", "No manufacturer is trusted", id="trust-empty"),
        pytest.param("EDGE_ASSIGNMENT", None, "The file cannot be read", id="rules-absent"),
        pytest.param("EDGE_ASSIGNMENT", "", "There are no assignment rules", id="rules-empty"),
        pytest.param("EDGE_ASSIGNMENT", "rules: [oops", "This is not YAML", id="rules-malformed"),
        pytest.param("EDGE_ASSIGNMENT", f"{RULES}{RULES}", "This key stands here twice", id="rules-key-twice"),
        pytest.param("EDGE_ASSIGNMENT", f"{RULES}---\n{RULES}", "several documents", id="rules-documents"),
        pytest.param("EDGE_ASSIGNMENT", "rules: &a [*a]", "Anchors and aliases", id="rules-alias"),
        pytest.param("EDGE_ASSIGNMENT", f"{RULES}colour: red", "Extra inputs", id="rules-unknown-field"),
        pytest.param("EDGE_ASSIGNMENT", "#" * 50_000_000, "larger than", id="rules-50-mb"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, text: str | None, said: str
) -> None:
    file = tmp_path / "given"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv(variable, str(file))
    with pytest.raises(InvalidInput, match=said) as refused:
        DeviceAdmission.from_settings(Settings())
    assert refused.value.where["file"] == str(file)


@pytest.mark.parametrize("kind", ["anchors", "assignment_rules"])
def test_a_block_without_makers_or_rules_lets_nobody_in(kind: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        getattr(DeviceAdmission(), kind)()
    assert "EDGE_TRUST" in refused.value.remedy


def apply(home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the script with these variables of the environment and no others of Prefect or ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "EDGE_"))}
    environment = {**kept, "PREFECT_HOME": str(home / "prefect"), "EDGE_HOME": str(home / "edge"), **variables}
    command = [sys.executable, "-m", "deployments.apply"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_apply_tells_the_server_nothing_when_a_setting_is_wrong(tmp_path: Path) -> None:
    prefect = PretendPrefect()
    try:
        done = apply(tmp_path, PREFECT_API_URL=prefect.url, EDGE_TRUST="/nowhere/ca.crt")
    finally:
        prefect.close()
    assert (done.returncode, prefect.tries) == (2, 0)
    assert "/nowhere/ca.crt" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variables", "status", "said"),
    [
        pytest.param({}, 2, "PREFECT_API_URL", id="no-server"),
        pytest.param({"PREFECT_API_URL": NOBODY}, 1, NOBODY, id="server-away"),
    ],
)
def test_apply_does_not_work_without_a_server(
    tmp_path: Path, variables: dict[str, str], status: int, said: str
) -> None:
    done = apply(tmp_path, **variables)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("url", "status", "shown"),
    [
        pytest.param(NOBODY, 1, {"url": NOBODY, "fault": "ConnectError"}, id="away"),
        pytest.param(
            "http://me:hunter2@127.0.0.1:1/api", 1, {"url": NOBODY, "fault": "ConnectError"}, id="password-in-it"
        ),
        pytest.param("nonsense", 2, {"field": "PREFECT_API_URL", "value": "nonsense"}, id="no-address"),
    ],
)
def test_a_command_says_which_server_does_not_answer(url: str, status: int, shown: dict[str, str]) -> None:
    with temporary_settings({PREFECT_API_URL: url}):
        done = CliRunner().invoke(app, ["site", "list", "--json"])
    assert done.exit_code == status
    assert json.loads(done.stderr)["where"] == shown


def test_blocks_show_no_secret_as_text() -> None:
    ledger = EdgeLedger(url=SecretStr("postgresql://me:hunter2@db/edge"))
    gateway = GatewaySecret(tokens=[SecretStr("hunter2-hunter2-hunter2")], hmac_keys=[SecretStr("hunter2-as-a-key")])
    for block in (ledger, gateway):
        assert "hunter2" not in f"{block} {block!r} {block.model_dump()} {block.model_dump_json()}"
