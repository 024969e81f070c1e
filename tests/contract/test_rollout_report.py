"""`edge rollout report` and `edge rollout status` on a ledger with a rollout: tables, JSON, a page, exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from edge.cli.main import app
from edge.errors import Rejected
from edge.ledger import Ledger
from edge.ledger.engine import open_engine
from edge.model.outcome import Cause, Outcome, Status
from edge.model.rollout import Approval, Control
from edge.model.step import StepKey
from tests.contract.conftest import START
from tests.contract.ledger_rollouts import plan

Edge = Callable[..., Result]


@pytest.fixture
def edge(book: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edge:
    """Runs a command without a Prefect server, on a ledger with a rollout that waits for a person."""
    book.rollouts.start(plan(), by="grace")
    key = StepKey(work="rollout:r1", subject="s1", step="prepare")
    book.steps.once(key, lambda: {"snapshot": "5" * 64, "had": '{"version":"0.9.0"}', "waived": ["probes by ada"]})
    book.rollouts.wave_started("r1", 0)
    for site, cause in (("s1", None), ("s2", Cause.of(Rejected("No <i>$room$</i>", site="s2")))):
        status = Status.FAILED if cause else Status.SUCCEEDED
        book.rollouts.site_started("r1", site)
        book.rollouts.site_ended("r1", Outcome(subject=site, status=status, cause=cause, seconds=2.0))
    book.rollouts.ask("r1", 1, Approval.BEFORE)
    book.rollouts.waiting("r1", "wave 1 waits for a person", START)
    book.rollouts.control("r1", Control.PAUSE, by="ada", reason="lunch")
    monkeypatch.setenv("EDGE_LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_status_says_what_it_waits_for_its_waves_and_its_approvals(edge: Edge) -> None:
    shown = edge("rollout", "status", "r1").stdout
    assert "waiting: wave 1 waits for a person (until 2026-03-01 12:00" in shown
    assert "before" in shown
    found = json.loads(edge("rollout", "status", "r1", "--json").stdout)
    assert found["waiting"] == "wave 1 waits for a person"
    assert [gate["wave"] for gate in found["gates"]] == [1]
    assert found["wave_times"]["canary"]["started_at"]


def test_the_report_tells_causes_and_who_said_what_and_verifies_the_trail(edge: Edge) -> None:
    ran = edge("rollout", "report", "r1", "--json")
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert [(one["code"], one["sites"]) for one in found["causes"]] == [("rejected", 1)]
    said = {(one["actor"], one["action"]) for one in found["evidence"]["said"]}
    assert {("grace", "rollout.started"), ("ada", "rollout.paused")} <= said
    assert (found["evidence"]["chain_ok"], found["evidence"]["snapshots"]) == (True, 1)
    assert (found["sites"][0]["before"], found["sites"][0]["after"]) == ("0.9.0", "1.0.0")
    assert "probes by ada (1 site, waived)" in edge("rollout", "report", "r1").stdout


def test_a_page_is_written_with_plots_and_without_anything_from_elsewhere(edge: Edge, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    ran = edge("rollout", "report", "r1", "--html", file)
    assert ran.exit_code == 0, ran.output
    page = file.read_text()
    assert re.findall('aria-label="([^"]*)"', page) == [
        "Sites by cause",
        "Seconds of each site by wave",
        "When each site was worked on",
    ]
    assert "No &lt;i&gt;$room$&lt;/i&gt;" in page
    assert not re.search(r'<script|(?:src|href)="(?!#)|url\((?!#)|@import', page)


def test_a_trail_that_was_edited_is_told(edge: Edge, tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/ledger.db")
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER audit_no_update"))
        connection.execute(text("UPDATE audit SET actor = 'eve' WHERE sequence = 2"))
    engine.dispose()
    found = json.loads(edge("rollout", "report", "r1", "--json").stdout)
    assert found["evidence"]["chain_ok"] is False
    assert found["evidence"]["chain"].startswith("BROKEN")


def test_a_page_that_cannot_be_written_is_wrong_input(edge: Edge, tmp_path: Path) -> None:
    ran = edge("rollout", "report", "r1", "--html", tmp_path / "no" / "such.html")
    assert ran.exit_code == 2
    assert "The page cannot be written" in ran.output


def test_a_report_of_a_rollout_that_is_not_there_is_refused(edge: Edge) -> None:
    assert edge("rollout", "report", "r9").exit_code == 1
