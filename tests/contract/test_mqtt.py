"""Registrations over MQTT through real brokers: NATS with MQTT 3.1.1 always, mosquitto with MQTT 5 where it is there.

What must hold: nothing is lost while either side is away, nothing is done twice, and a bad message does not come again.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import SecretStr

from edge.errors import CredentialRejected, InvalidInput, Rejected, SiteSilent
from edge.gateway.mqtt_gateway import MqttGateway
from edge.gateway.mqtt_settings import MqttSettings
from edge.gateway.settings import IntakeSettings
from edge.lab.ca import Authority
from edge.lab.device import LabDevice
from edge.lab.device_mqtt import Broker, MqttDevice
from edge.ledger import Ledger
from edge.model.device import DeviceState, Origin
from edge.processes import free_port

PASSWORD = "password-of-the-test"  # a broker of this test alone
NATS = Path(sys.executable).with_name("nats-server")


class Running:
    """A broker, and how it is reached."""

    def __init__(self, folder: Path, version: Literal["3.1.1", "5"], *, tls: Authority | None = None) -> None:
        self.folder, self.version, self.port = folder, version, free_port()
        self.tls = tls.server(folder / "broker") if tls else None
        self.url = f"{'mqtts' if tls else 'mqtt'}://127.0.0.1:{self.port}"
        self.ca_file = tls.cert_file if tls else None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = self._mosquitto() if self.version == "5" else self._nats()
        with (self.folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers)

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()

    def device(self, **changes: Any) -> Broker:
        shown = {"username": "device", "password": SecretStr(PASSWORD), "ca_file": self.ca_file}
        return Broker.model_validate({"url": self.url, "version": self.version, **shown, **changes})

    def bridge(self, **changes: Any) -> MqttSettings:
        shown = {"username": "bridge", "password": SecretStr(PASSWORD), "ca_file": self.ca_file}
        return MqttSettings.at(self.url, version=self.version, longest_pause_s=1, **{**shown, **changes})

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _nats(self) -> list[str]:
        users = ", ".join(f'{{user: {name}, password: "{PASSWORD}"}}' for name in ("device", "bridge"))
        tls = f'tls {{cert_file: "{self.tls[0]}", key_file: "{self.tls[1]}"}}' if self.tls else ""
        (self.folder / "nats.conf").write_text(
            f'server_name: plant\nlisten: "127.0.0.1:-1"\njetstream {{store_dir: "{self.folder}/store"}}\n'
            f'mqtt {{listen: "127.0.0.1:{self.port}", ack_wait: "5s", {tls}}}\nauthorization {{users: [{users}]}}\n'
        )
        return [str(NATS), "-c", str(self.folder / "nats.conf")]

    def _mosquitto(self) -> list[str]:
        passwords, config = self.folder / "passwords", self.folder / "mosquitto.conf"
        passwords.write_text("".join(f"{name}:{PASSWORD}\n" for name in ("device", "bridge")))
        passwords.chmod(0o600)
        subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True)
        owner = "user root\n" if os.geteuid() == 0 else ""
        tls = f"certfile {self.tls[0]}\nkeyfile {self.tls[1]}\n" if self.tls else ""
        config.write_text(
            f"{owner}listener {self.port} 127.0.0.1\n{tls}password_file {passwords}\npersistence true\n"
            f"persistence_location {self.folder}/\nmax_queued_messages 0\n"
        )
        return ["mosquitto", "-c", str(config)]


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must come; pytest's own time-out ends what does not."""
    while not condition():
        time.sleep(0.01)


MOSQUITTO = pytest.mark.skipif(
    not (shutil.which("mosquitto") and shutil.which("mosquitto_passwd")), reason="mosquitto is not installed"
)


@pytest.fixture(
    scope="module", params=[pytest.param("3.1.1", id="nats"), pytest.param("5", id="mosquitto", marks=MOSQUITTO)]
)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("broker"), request.param)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.open(tmp_path_factory.mktemp("maker") / "ca", "Maker")


@pytest.fixture
def device(request: pytest.FixtureRequest, broker: Running, maker: Authority, tmp_path: Path) -> LabDevice:
    """A device with a name of its own in each test: its session and what it said stay at the broker."""
    return made(maker, tmp_path, f"dev-{abs(hash(request.node.name)) % 10**8}")


def made(maker: Authority, folder: Path, device_id: str) -> LabDevice:
    maker.device(folder, device_id, f"SN-{device_id}")
    return LabDevice(device_id, folder / device_id)


@contextmanager
def bridge(broker: Running, ledger: Ledger, **changes: Any) -> Iterator[MqttGateway]:
    settings = IntakeSettings(name="plant", dispatch=False, max_body=4096)
    with MqttGateway(broker.bridge(**changes), settings, ledger) as running:
        running.bridge.subscribed.wait()
        yield running


def test_a_device_registers_with_a_challenge(broker: Running, ledger: Ledger, device: LabDevice) -> None:
    with bridge(broker, ledger), MqttDevice(device, broker.device()) as link:
        receipt = link.register()
    assert (receipt["accepted"], receipt["duplicate"]) == (1, 0)
    known = ledger.devices.get(device.device_id)
    assert (known.via, known.state, known.registration.proof is None) == (Origin.MQTT, DeviceState.REGISTERED, False)
    challenge = ledger.challenges.get(known.registration.proof.nonce)  # type: ignore[union-attr]  # it has one, as above
    assert challenge is not None
    assert challenge.answered_at is not None
