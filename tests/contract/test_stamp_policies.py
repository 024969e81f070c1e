"""`edge stamp policies`: the rules, what a stamp breaks of them, and the objects for a site's admission."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from edge.cli.stamp import app

Edge = Callable[..., Result]

STAMP = """
apiVersion: edge-platform.io/v1
kind: Stamp
metadata: {name: own}
spec:
  version: 1.0.0
  namespaces: [own]
  components: [{name: all, path: all}]
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: once, namespace: own}
spec: {hostNetwork: true, containers: [{name: app, image: "app:latest"}]}
"""
WAIVER = "  policies: {waivers: [{code: %s, owner: ann, reason: lab, expires: 2999-01-01T00:00:00Z}]}\n"


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Edge:
    """Runs the command without a Prefect server."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("EDGE_HOME", str(tmp_path / "home"))
    return lambda *arguments: CliRunner().invoke(app, ["policies", *map(str, arguments)])


@pytest.fixture
def stamp(tmp_path: Path) -> Path:
    (tmp_path / "own" / "all").mkdir(parents=True)
    (tmp_path / "own" / "stamp.yaml").write_text(STAMP)
    (tmp_path / "own" / "all" / "pod.yaml").write_text(POD)
    return tmp_path / "own"


def test_the_rules_are_shown_with_what_to_do(edge: Edge) -> None:
    shown = json.loads(edge("--json").stdout)
    assert len(shown) == 8
    assert all(rule["fix"] and rule["message"] for rule in shown)


def test_a_stamp_that_breaks_rules_ends_with_one(edge: Edge, stamp: Path) -> None:
    refused = edge(stamp, "--json")
    assert refused.exit_code == 1
    assert {one["code"] for one in json.loads(refused.stdout)} == {
        "no-host-namespaces",
        "no-privilege-escalation",
        "limits-set",
        "image-source",
        "no-latest-tag",
    }
    assert edge("factory-line").exit_code == 0


def test_own_rules_registries_and_the_waiver_of_an_unknown_rule(
    edge: Edge, stamp: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "rules").mkdir()
    rule = "rules: [{code: own-rule, expression: 'false', message: Never, fix: None}]"
    (tmp_path / "rules" / "own.yaml").write_text(rule)
    monkeypatch.setenv("EDGE_POLICIES", str(tmp_path / "rules"))
    monkeypatch.setenv("EDGE_ALLOWED_REGISTRIES", '["docker.io"]')
    said = json.loads(edge("factory-line", "--json").stdout)
    assert {one["code"] for one in said} == {"own-rule", "image-source"}
    (stamp / "stamp.yaml").write_text(STAMP + WAIVER % "no-such-rule")
    refused = edge(stamp, "--json")
    assert (refused.exit_code, json.loads(refused.stderr)["where"]["value"]) == (2, "no-such-rule")


def test_rules_are_printed_for_a_sites_admission_with_the_waivers_of_the_stamp(edge: Edge, stamp: Path) -> None:
    (stamp / "stamp.yaml").write_text(STAMP + WAIVER % "no-host-namespaces")
    made = list(yaml.safe_load_all(edge(stamp, "--as-admission", "--action", "Warn", "--action", "Audit").stdout))
    assert [one["kind"] for one in made] == ["ValidatingAdmissionPolicy"] * 3 + ["ValidatingAdmissionPolicyBinding"] * 3
    assert made[-1]["spec"]["validationActions"] == ["Warn", "Audit"]
    excepted = [
        one for one in made[0]["spec"]["validations"] if "object.metadata.namespace in ['own']" in one["expression"]
    ]
    assert [("(no-host-namespaces)" in one["message"]) for one in excepted] == [True]
    assert edge("--as-admission", "--action", "Warn", "--action", "Deny").exit_code == 2
