"""`edge device update` and `updates` before anything is started: what is refused, and what is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from edge.cli import device
from edge.ledger import Ledger
from edge.model.device import DeviceFacts, DeviceState, Registration
from edge.model.firmware import Component, UpdateAttempt, UpdateOutcome
from edge.model.site import Site

Edge = Callable[..., Result]
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
IMAGE = f"registry.example/os@sha256:{'ab' * 32}"


@pytest.fixture
def edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Edge]:
    """Runs a command without a Prefect server, on a ledger with one connected device on which 2.0.0 fell back."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("EDGE_LEDGER_URL", url)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with Ledger.open(url) as ledger:
        ledger.sites.put(Site(name="s1"))
        for name in ("dev-1", "dev-2"):
            facts = DeviceFacts(serial=name, os="1.0.0")
            ledger.devices.register(Registration(device_id=name, certificate="none", facts=facts), at=AT)
        ledger.devices.move("dev-1", DeviceState.CONNECTED, site="s1", tenant="default")
        fell_back = UpdateAttempt(
            device_id="dev-1", component=Component.OS, version="2.0.0", outcome=UpdateOutcome.FELL_BACK, at=AT
        )
        ledger.firmware.record(fell_back)
        yield lambda *arguments: CliRunner().invoke(device.app, [*arguments, "--json"])
        assert ledger.rollouts.list() == ()


@pytest.mark.parametrize(
    ("options", "exit_code", "code"),
    [
        pytest.param(("--image", "registry.example/os:2.0.0"), 2, "invalid-input", id="image-by-tag"),
        pytest.param(("--version", "newest"), 2, "invalid-input", id="no-version"),
        pytest.param(("--self-test", "300"), 2, "invalid-input", id="self-test-too-long"),
        pytest.param(("--device", "dev-2"), 2, "invalid-input", id="device-at-no-site"),
        pytest.param(("--tenant", "nobody"), 2, "invalid-input", id="nobody-matches"),
        pytest.param(("--device", "dev-9"), 1, "not-found", id="unknown-device"),
    ],
)
def test_what_cannot_be_meant_is_refused(edge: Edge, options: tuple[str, ...], exit_code: int, code: str) -> None:
    said = edge("update", "--component", "os", "--version", "2.0.1", "--image", IMAGE, *options)
    assert said.exit_code == exit_code, said.output
    assert json.loads(said.stderr)["code"] == code


@pytest.mark.parametrize(
    ("version", "exit_code", "reason"),
    [
        pytest.param("2.0.0", 1, "failed-before", id="failed-before"),
        pytest.param("0.9.0", 1, "not-newer", id="older"),
        pytest.param("1.0.0", 0, "already-there", id="already-there"),
    ],
)
def test_a_device_that_does_not_get_it_is_named_and_nothing_is_started(
    edge: Edge, version: str, exit_code: int, reason: str
) -> None:
    said = edge("update", "--component", "os", "--version", version, "--image", IMAGE)
    assert said.exit_code == exit_code, said.output
    assert json.loads(said.stdout) == {"rollout": None, "refused": {"dev-1": reason}}


def test_what_was_tried_on_a_device_is_shown(edge: Edge) -> None:
    shown = edge("updates", "dev-1")
    assert shown.exit_code == 0
    assert [(one["version"], one["outcome"]) for one in json.loads(shown.stdout)] == [("2.0.0", "fell-back")]
    assert edge("updates", "dev-9").exit_code == 1
