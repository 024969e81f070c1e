"""Updates of devices as an operator starts them: against the server, its worker and the lab's updaters."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge.clients.kubernetes import SiteClient
from edge.ledger import Ledger
from edge.model.device import DeviceFacts, DeviceState, Registration
from edge.model.firmware import Component, UpdateOutcome
from edge.model.site import Site, SiteState
from edge.policy.firmware import node_update_ref

AT = datetime(2026, 3, 1, tzinfo=UTC)
PLANTS = {"plant-a": "site-0001", "plant-b": "site-0002", "plant-c": "site-0003"}
IMAGE = f"registry.example/os@sha256:{'ab' * 32}"


@pytest.fixture(autouse=True)
def fleet(platform: Any, ledger: Ledger) -> Iterator[None]:
    """Three devices at sites of their own, which no other test knows."""
    keys = Path(platform.environment["EDGE_CREDENTIALS"])
    for plant, lab_site in PLANTS.items():
        shutil.copy(keys / f"{lab_site}.kubeconfig", keys / f"{plant}.kubeconfig")
        ledger.sites.put(Site(name=plant, tenant="plants", state=SiteState.CONNECTED))
        facts = DeviceFacts(serial=plant, os="1.0.0")
        ledger.devices.register(Registration(device_id=f"dev-{plant}", certificate="none", facts=facts), at=AT)
        ledger.devices.move(f"dev-{plant}", DeviceState.CONNECTED, site=plant, tenant="plants")
    yield
    for plant in PLANTS:
        ledger.devices.release(f"dev-{plant}", state=DeviceState.DECOMMISSIONED)
        ledger.sites.update(plant, state=SiteState.DECOMMISSIONED)
        (keys / f"{plant}.kubeconfig").unlink()


@pytest.fixture
def update(platform: Any) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Runs the command; its exit code, and what it said."""

    def run(version: str, *options: str) -> tuple[int, dict[str, Any]]:
        wanted = ("--component", "os", "--version", version, "--image", IMAGE, "--self-test", "0", "--json")
        done = platform.edge("device", "update", *wanted, *options)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def test_a_bad_version_stops_at_the_canary_and_is_never_tried_there_again_and_a_good_one_comes_to_all(
    ledger: Ledger,
    site_of: Callable[[str], SiteClient],
    update: Callable[..., tuple[int, dict[str, Any]]],
    prefect: Any,
) -> None:
    code, said = update("9.0.0-bad", "--tenant", "plants")
    assert (code, said["rollout"]["state"]) == (1, "stopped")
    assert [(row["site"], row["status"]) for row in said["rollout"]["sites"]] == [
        ("plant-a", "failed"),
        ("plant-b", "held"),
        ("plant-c", "held"),
    ]
    (tried,) = ledger.firmware.attempts("dev-plant-a")
    assert (tried.version, tried.outcome, tried.from_version) == ("9.0.0-bad", UpdateOutcome.FELL_BACK, "1.0.0")

    before = site_of("site-0001").get(node_update_ref(Component.OS, "site-0001"))
    runs = len(prefect.runs("update-devices"))
    code, said = update("9.0.0-bad", "--device", "dev-plant-a")
    assert (code, said) == (1, {"rollout": None, "refused": {"dev-plant-a": "failed-before"}})
    assert site_of("site-0001").get(node_update_ref(Component.OS, "site-0001")) == before
    assert len(prefect.runs("update-devices")) == runs

    code, said = update("9.0.1", "--tenant", "plants", "--here")
    assert (code, said["rollout"]["state"], said["refused"]) == (0, "succeeded", {})
    assert set(ledger.firmware.confirmed(Component.OS).values()) == {"9.0.1"}
