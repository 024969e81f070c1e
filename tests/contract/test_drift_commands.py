"""`edge drift list`, `edge site hold` and `release`: what they print, what they refuse, and their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edge.cli.main import app
from edge.ledger import Ledger
from edge.model.drift import DriftKind, Finding
from edge.model.kube import ObjectRef
from edge.model.placement import HoldKind, Placement
from edge.model.site import Site, SiteState
from tests.contract.conftest import START

Edge = Callable[..., Result]
LATER = (datetime.now(UTC) + timedelta(days=90)).date().isoformat()
HOLD = ("site", "hold", "s1", "--kind", "drift", "--until", LATER, "--reason", "a new disk", "--by", "ann")


@pytest.fixture
def edge(book: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edge:
    """Runs a command without a Prefect server, on a ledger with a site."""
    book.sites.put(Site(name="s1"))
    monkeypatch.setenv("EDGE_LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def drifted(book: Ledger) -> None:
    said = {"site": "s1", "stamp": "line"}
    placed = Placement(version="1.0.0", digest="a" * 64, content="c" * 64, rollout_id="r1", at=START, **said)
    book.placements.put(placed)
    ref = ObjectRef(api_version="v1", kind="ConfigMap", name="a", namespace="line")
    changed = Finding(kind=DriftKind.CHANGED, ref=ref, path=".data.x", manager="someone", since=START, **said)
    missing = Finding(kind=DriftKind.MISSING, ref=ref.model_copy(update={"name": "b"}), **said)
    book.drift.record("s1", "line", [changed, missing])


def test_a_site_is_held_until_a_date_and_let_go(edge: Edge, book: Ledger) -> None:
    held = edge(*HOLD)
    assert held.exit_code == 0
    assert "a new disk" in held.stdout
    [hold] = json.loads(edge("site", "holds", "--json").stdout)
    assert (hold["site"], hold["kind"], hold["by"]) == ("s1", "drift", "ann")
    assert hold["until"] == f"{LATER}T00:00:00Z"
    release = ("site", "release", "s1", "--kind", "drift", "--by", "ben")
    assert [edge(*release).exit_code for _ in range(2)] == [0, 1]
    assert book.holds.all(HoldKind.DRIFT, now=START) == {}


@pytest.mark.parametrize(
    ("field", "value", "exit_code", "said"),
    [
        pytest.param("--until", "2020-01-01", 2, "ends in the future", id="in-the-past"),
        pytest.param("--until", "soon", 2, "This is no date", id="no-date"),
        pytest.param("--reason", " ", 2, "needs a reason", id="no-reason"),
        pytest.param("--kind", "everything", 2, "everything", id="no-such-kind"),
        pytest.param("hold", "s9", 1, "No such site", id="no-such-site"),
    ],
)
def test_a_hold_that_means_nothing_is_refused(
    edge: Edge, book: Ledger, field: str, value: str, exit_code: int, said: str
) -> None:
    words = list(HOLD)
    words[words.index(field) + 1] = value
    refused = edge(*words)
    assert refused.exit_code == exit_code
    assert said in refused.stderr
    assert book.holds.all(HoldKind.DRIFT, now=START) == {}


def test_a_time_with_its_offset_is_taken_as_it_is_said(edge: Edge, book: Ledger) -> None:
    words = [f"{LATER}T02:00+02:00" if word == LATER else word for word in HOLD]
    assert edge(*words).exit_code == 0
    hold = book.holds.get("s1", HoldKind.DRIFT, now=START)
    assert hold is not None
    assert hold.until == datetime.fromisoformat(f"{LATER}T00:00:00Z")


def test_drift_is_listed_with_who_and_since_when(edge: Edge, book: Ledger) -> None:
    drifted(book)
    shown = edge("drift", "list")
    assert shown.exit_code == 0
    assert "2 differences" in shown.stdout
    assert "someone" in shown.stdout
    assert "before 2026-03-01" in shown.stdout, "nobody knows when the object went, but when it was first missed"
    found = json.loads(edge("drift", "list", "--site", "s1", "--json").stdout)
    assert {one["kind"] for one in found} == {"changed", "missing"}


def test_what_left_the_site_or_the_fleet_is_no_drift(edge: Edge, book: Ledger) -> None:
    drifted(book)
    book.sites.update("s1", state=SiteState.DECOMMISSIONED)
    assert json.loads(edge("drift", "list", "--json").stdout) == []
    book.sites.update("s1", state=SiteState.CONNECTED)
    book.placements.drop("s1", "line")
    assert json.loads(edge("drift", "list", "--json").stdout) == []
    drifted(book)
    assert len(json.loads(edge("drift", "list", "--json").stdout)) == 2


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        pytest.param(("list", "--site", "s9"), 1, "No such site", id="list-of-an-unknown-site"),
        pytest.param(("detect", "--site", "s9", "--here"), 2, "No such site", id="detect-at-an-unknown-site"),
        pytest.param(("detect", "--label", "x", "--here"), 2, "KEY=VALUE", id="a-label-without-a-value"),
    ],
)
def test_drift_of_what_there_is_not_is_refused(edge: Edge, words: tuple[str, ...], exit_code: int, said: str) -> None:
    refused = edge("drift", *words)
    assert refused.exit_code == exit_code
    assert said in refused.stderr
