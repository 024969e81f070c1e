"""The commands that only read the ledger: what they print, and their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result
from sqlalchemy import text
from typer.testing import CliRunner

from edge.cli import audit, device, rollout
from edge.errors import SiteSilent
from edge.ledger import Ledger
from edge.ledger.engine import open_engine
from edge.model.device import DeviceFacts, DeviceState, Registration
from edge.model.outcome import Cause, Outcome, Status
from edge.model.rollout import RolloutPlan, RolloutState, Strategy, Wave
from edge.model.step import StepKey

Edge = Callable[..., Result]
TOPICS = {"audit": audit.app, "device": device.app, "rollout": rollout.app}
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAN = RolloutPlan(
    rollout_id="r1",
    stamp="line",
    version="1.0.0",
    digest="a" * 64,
    strategy=Strategy(),
    waves=(Wave(index=0, name="canary", sites=("s1", "s2"), failure_budget=0),),
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def filled(url: str) -> Iterator[Ledger]:
    """A ledger with two devices and a rollout."""
    with Ledger.open(url) as ledger:
        for number in (1, 2):
            facts = DeviceFacts(serial=f"SN-{number}", hardware={"cpu": "4"})
            ledger.devices.register(Registration(device_id=f"dev-{number}", certificate="none", facts=facts), at=AT)
        ledger.devices.move("dev-2", DeviceState.QUARANTINED, reason="expired")
        ledger.rollouts.start(PLAN)
        ledger.steps.once(StepKey(work="rollout:r1", subject="s1", step="apply"), dict)
        ledger.rollouts.site_ended("r1", Outcome(subject="s1", status=Status.SUCCEEDED, seconds=1.25))
        yield ledger


@pytest.fixture
def edge(url: str, monkeypatch: pytest.MonkeyPatch) -> Edge:
    """Runs a command without a Prefect server, as `edge TOPIC …` does."""
    monkeypatch.setenv("EDGE_LEDGER_URL", url)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda topic, *arguments: CliRunner().invoke(TOPICS[topic], list(arguments))


def test_devices_are_listed(filled: Ledger, edge: Edge) -> None:
    shown = edge("device", "list")
    assert shown.exit_code == 0
    assert "dev-1" in shown.stdout
    assert "quarantined" in shown.stdout
    listed = json.loads(edge("device", "list", "--state", "quarantined", "--json").stdout)
    assert [(found["device_id"], found["reason"]) for found in listed] == [("dev-2", "expired")]


def test_a_device_is_shown_with_its_facts(filled: Ledger, edge: Edge) -> None:
    assert "SN-1" in edge("device", "show", "dev-1").stdout
    shown = json.loads(edge("device", "show", "dev-1", "--json").stdout)
    assert shown["registration"]["facts"]["hardware"] == {"cpu": "4"}
    assert shown["claims"] == []


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        pytest.param(("device", "show", "nobody"), 1, "not-found", id="device"),
        pytest.param(("rollout", "status", "r9"), 1, "not-found", id="rollout"),
        pytest.param(("audit", "verify", "--head", "five"), 2, "invalid-input", id="head-without-digest"),
        pytest.param(("audit", "verify", "--head", "5:zz"), 2, "invalid-input", id="head-with-bad-digest"),
        pytest.param(("audit", "verify", "--head", f"500:{'0' * 64}"), 1, "audit-chain-broken", id="shortened"),
    ],
)
def test_what_is_not_there_or_wrong_is_said(
    filled: Ledger, edge: Edge, arguments: tuple[str, ...], exit_code: int, code: str
) -> None:
    said = edge(*arguments, "--json")
    assert said.exit_code == exit_code
    assert json.loads(said.stderr)["code"] == code


def test_rollouts_are_listed_with_how_their_sites_did(filled: Ledger, edge: Edge) -> None:
    assert "1 succeeded" in edge("rollout", "list").stdout
    (line,) = json.loads(edge("rollout", "list", "--json").stdout)
    assert (line["rollout"], line["state"], line["sites"]) == ("r1", "running", {"succeeded": 1, "open": 1})


def test_a_rollouts_sites_and_steps_are_shown(filled: Ledger, edge: Edge) -> None:
    shown = edge("rollout", "status", "r1", "--steps")
    assert shown.exit_code == 0
    assert "succeeded" in shown.stdout
    assert "apply" in shown.stdout
    data = json.loads(edge("rollout", "status", "r1", "--steps", "--json").stdout)
    assert [(row["site"], row["status"]) for row in data["progress"]] == [("s1", "succeeded"), ("s2", None)]
    assert [(row["step"], row["done"]) for row in data["steps"]] == [("apply", 1)]


@pytest.mark.parametrize(
    ("state", "exit_code"),
    [
        pytest.param(RolloutState.SUCCEEDED, 0, id="succeeded"),
        pytest.param(RolloutState.FAILED, 1, id="failed"),
        pytest.param(RolloutState.STOPPED, 1, id="stopped"),
    ],
)
def test_the_exit_code_says_how_a_rollout_ended(
    filled: Ledger, edge: Edge, state: RolloutState, exit_code: int
) -> None:
    cause = Cause.of(SiteSilent("No answer", site="s2"))
    filled.rollouts.site_ended("r1", Outcome(subject="s2", status=Status.FAILED, cause=cause))
    filled.rollouts.finish("r1", state)
    shown = edge("rollout", "status", "r1")
    assert shown.exit_code == exit_code
    assert "No answer" in shown.stdout


def test_a_whole_trail_verifies_and_its_head_can_be_kept(filled: Ledger, edge: Edge) -> None:
    shown = json.loads(edge("audit", "verify", "--json").stdout)
    assert shown == {"verified": True, **filled.audit.verify().model_dump()}
    filled.audit.append("me", "login", "me")
    again = edge("audit", "verify", "--head", f"{shown['count']}:{shown['head']}")
    assert again.exit_code == 0
    assert f"{shown['count'] + 1} rows verify" in again.stdout


def test_an_edited_trail_is_a_bad_outcome_that_names_the_row(filled: Ledger, edge: Edge, url: str) -> None:
    engine = open_engine(url)
    with engine.connect() as connection:
        connection.execute(text("DROP TRIGGER audit_no_update"))
        connection.execute(text("UPDATE audit SET subject = 'dev-9' WHERE sequence = 2"))
        connection.commit()
    engine.dispose()
    said = edge("audit", "verify", "--json")
    assert said.exit_code == 1
    assert json.loads(said.stderr)["where"]["sequence"] == "2"
