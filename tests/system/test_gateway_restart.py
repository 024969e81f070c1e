"""A gateway that is killed at any moment loses no registration that it answered with 202."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge.ledger import Ledger
from edge.model.event import EventState
from edge.processes import free_port
from tests.pretend_prefect import PretendPrefect

TOKEN = "a-token-for-the-restart-test"


class World:
    """What is left when a gateway dies: the ledger's file, and two addresses."""

    def __init__(self, folder: Path) -> None:
        self.ledger_url = f"sqlite:///{folder / 'ledger.db'}"
        self.prefect_port = free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("EDGE_", "PREFECT_"))},
            "EDGE_GATEWAY_TOKENS": json.dumps([TOKEN]),
            "EDGE_LEDGER_URL": self.ledger_url,
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": f"http://127.0.0.1:{self.prefect_port}/api",
        }

    @contextmanager
    def gateway(self) -> Iterator[Gateway]:
        argv = [sys.executable, "-m", "edge", "gateway", "serve", "--port", "0", "--json", "--ledger", self.ledger_url]
        process = subprocess.Popen(
            argv, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        said = "".join(itertools.takewhile(lambda line: line != "}\n", process.stdout)) + "}"
        url = json.loads(said)["url"]
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10) as client:
            try:
                yield Gateway(process, client)
            finally:
                process.kill()
                process.wait()
                process.stdout.close()


class Gateway:
    """A gateway's process, and a sender with one connection to it."""

    def __init__(self, process: subprocess.Popen[str], client: httpx.Client) -> None:
        self.process = process
        self.client = client

    def register(self, device: str) -> bool:
        """Whether the gateway said that it has the registration."""
        headers = {"Content-Type": "application/cloudevents+json"}
        try:
            return self.client.post("/events", json=event(device), headers=headers).status_code == 202
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def event(device: str) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"registered-{device}",
        "source": "/factory",
        "type": "io.edge-platform.device.registered.v1",
        "time": "2026-05-04T12:00:00Z",
        "data": {"device_id": device, "certificate": "not looked at here", "facts": {"serial": device}},
    }


def until(condition: Any) -> None:
    while not condition():
        time.sleep(0.02)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def ledger(world: World) -> Iterator[Ledger]:
    with Ledger.open(world.ledger_url) as opened:
        yield opened


def test_killed_while_the_server_is_away_everything_accepted_is_sent_later(world: World, ledger: Ledger) -> None:
    with world.gateway() as first:
        accepted = {f"dev-{number}" for number in range(40) if first.register(f"dev-{number}")}
        first.kill()
    assert len(accepted) == 40
    assert ledger.inbox.counts()[EventState.STORED] == 40
    prefect = PretendPrefect(world.prefect_port)
    try:
        with world.gateway():
            until(lambda: ledger.inbox.counts()[EventState.SENT] == 40)
    finally:
        prefect.close()
    assert {device for devices in prefect.devices for device in devices} == accepted
    assert {device.device_id for device in ledger.devices.list()} == accepted


@pytest.mark.parametrize("after_s", [pytest.param(after, id=f"after-{after}s") for after in (0.05, 0.3, 0.8, 1.3)])
def test_killed_in_the_middle_of_a_burst_nothing_accepted_is_lost(world: World, ledger: Ledger, after_s: float) -> None:
    prefect = PretendPrefect(world.prefect_port)
    accepted: list[str] = []
    try:
        with world.gateway() as first:

            def send() -> None:
                for number in itertools.count():
                    if not first.register(f"dev-{number}"):
                        return
                    accepted.append(f"dev-{number}")

            sender = threading.Thread(target=send)
            sender.start()
            until(lambda: accepted)
            time.sleep(after_s)
            first.kill()
            sender.join()
        with world.gateway():
            until(lambda: ledger.inbox.counts()[EventState.STORED] == 0)
    finally:
        prefect.close()
    sent = [device for devices in prefect.devices for device in devices]
    assert set(accepted) <= set(sent)
    # The one request that was cut off may have been stored without an answer.
    assert len(set(sent)) <= len(accepted) + 1
    assert {device.device_id for device in ledger.devices.list()} == set(sent)


def test_a_gateway_that_is_told_to_stop_ends_by_itself(world: World, ledger: Ledger) -> None:
    with world.gateway() as first:
        assert first.register("dev-1")
        first.process.send_signal(signal.SIGTERM)
        first.process.wait()
    assert ledger.inbox.counts()[EventState.STORED] == 1
