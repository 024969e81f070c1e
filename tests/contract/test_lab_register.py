"""`edge lab register`: devices of a lab that runs come to a gateway and prove who they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge.cli.main import app
from edge.policy.proof import claim_key
from tests.contract.served_gateway import TOKEN, Served, served


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


@pytest.fixture
def said(lab: Any, gateway: Served, tmp_path: Path) -> Any:
    """What the command says, with its exit code."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    to = ["--state", lab.said["state"], "--to", gateway.url, "--token-file", str(tmp_path / "token"), "--json"]

    def ask(*arguments: str) -> tuple[int, dict[str, Any]]:
        environment = {"EDGE_HOME": str(tmp_path)}
        done = CliRunner().invoke(app, ["lab", "register", *arguments, *to], env=environment)
        return done.exit_code, json.loads(done.stdout or done.stderr)

    return ask


def test_the_first_devices_register_with_a_proof(said: Any, gateway: Served) -> None:
    status, answer = said("--count", "2", "--rate", "50")
    assert (status, answer["registered"]) == (0, ["dev-0001", "dev-0002"])
    known = gateway.ledger.devices.list()
    assert [device.device_id for device in known] == answer["registered"]
    assert not [device for device in known if claim_key(device.registration).startswith("un")]
    assert known[0].registration.facts.serial != known[0].device_id


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        pytest.param(["dev-none"], "DEVICE", id="unknown-device"),
        pytest.param(["--count", "9999"], "--count", id="too-many"),
        pytest.param(["dev-0001", "--count", "1"], "--count", id="both"),
    ],
)
def test_what_the_lab_does_not_have_is_refused(said: Any, gateway: Served, arguments: list[str], field: str) -> None:
    status, answer = said(*arguments)
    assert (status, answer["where"]["field"], gateway.stored()) == (2, field, 0)
