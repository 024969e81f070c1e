"""Registrations over MQTT through real brokers: NATS with MQTT 3.1.1 always, mosquitto with MQTT 5 where it is there.

What must hold: nothing is lost while either side is away, nothing is done twice, and a bad message does not come again.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx
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
            f'mqtt {{listen: "127.0.0.1:{self.port}", ack_wait: "1s", {tls}}}\nauthorization {{users: [{users}]}}\n'
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


ONE_BROKER = pytest.mark.parametrize("broker", [pytest.param("3.1.1", id="nats")], indirect=True)
"""For what does not depend on the broker."""


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


def test_what_devices_say_while_the_bridge_is_away_is_there_when_it_comes_back(
    broker: Running, ledger: Ledger, maker: Authority, tmp_path: Path
) -> None:
    devices = [made(maker, tmp_path, f"dev-{broker.version[0]}-away-{number}") for number in range(20)]
    with bridge(broker, ledger):
        pass  # the broker knows the bridge from now on
    for device in devices:
        with MqttDevice(device, broker.device()) as link:
            link.publish("register", device.event())
            link.publish("register", device.event())
    assert ledger.devices.list() == ()
    with bridge(broker, ledger):
        until(lambda: stored(ledger) == 40)
    assert [known.device_id for known in ledger.devices.list()] == sorted(device.device_id for device in devices)
    with bridge(broker, ledger) as again:  # all was acknowledged: nothing comes a second time
        with MqttDevice(devices[0], broker.device()) as link:
            link.publish("challenge", {})
            assert link.answer("challenge")["nonce"]
        assert again.metrics.registry.get_sample_value("edge_gateway_events_duplicate_total") == 0


def test_a_device_that_is_away_gets_its_answer_later(broker: Running, ledger: Ledger, device: LabDevice) -> None:
    with bridge(broker, ledger):
        pass
    with MqttDevice(device, broker.device()) as link:
        link.publish("challenge", device.challenge_request())
    with bridge(broker, ledger) as running:
        until(lambda: counted(running, "mqtt_messages", kind="challenge", outcome="taken") == 1)
    with MqttDevice(device, broker.device()) as link:
        challenge = link.answer("challenge")
    found = ledger.challenges.get(challenge["nonce"])
    assert found is not None
    assert found.device_id == device.device_id


def test_a_bridge_that_is_killed_before_it_acknowledges_gets_the_message_again(
    broker: Running, ledger: Ledger, device: LabDevice, tmp_path: Path
) -> None:
    with bridge(broker, ledger):
        pass
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    process = subprocess.Popen([sys.executable, "-c", KILLED, broker.url, broker.version, url, PASSWORD])
    event = device.event()
    with MqttDevice(device, broker.device()) as link:
        link.publish("register", event)
        assert process.wait() == -signal.SIGKILL
        assert stored(ledger) == 1  # it had stored the event, and died over the answer
        with bridge(broker, ledger):
            receipt = link.answer("register")
    assert (receipt["id"], receipt["accepted"], receipt["duplicate"]) == (event["id"], 0, 1)
    assert [known.device_id for known in ledger.devices.list()] == [device.device_id]
    assert [entry.action for entry in ledger.audit.entries()].count("device.registered") == 1


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pydantic import SecretStr
from edge.gateway.desk import Desk
from edge.gateway.metrics import GatewayMetrics
from edge.gateway.mqtt_bridge import Bridge
from edge.gateway.mqtt_settings import MqttSettings
from edge.gateway.settings import IntakeSettings
from edge.ledger import Ledger
from edge.model.device import Origin

url, version, ledger, password = sys.argv[1:]
told = MqttSettings.at(url, version=version, username="bridge", password=SecretStr(password))
with Ledger.open(ledger) as opened:
    settings = IntakeSettings(name="plant", dispatch=False)
    desk = Desk(settings, opened, GatewayMetrics(), via=Origin.MQTT, now=lambda: datetime.now(UTC))
    desk.notify = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # stored, and nobody told
    Bridge(told, desk).start()
    signal.pause()
"""


@pytest.mark.parametrize(
    ("kind", "body", "reason", "field"),
    [
        pytest.param("register", b"no JSON", "malformed", "body", id="no-json"),
        pytest.param("register", b'{"specversion": "1.0"}', "malformed", "id", id="no-event"),
        pytest.param("register", b"x" * 5000, "too-large", "body", id="too-large"),
        pytest.param("challenge", b"[]", "unusable", "body", id="no-request"),
        pytest.param("challenge", b'{"device_id": "dev-other"}', "unusable", "device_id", id="challenge-for-another"),
    ],
)
def test_what_cannot_be_used_is_answered_once_and_never_comes_again(
    broker: Running, ledger: Ledger, device: LabDevice, kind: str, body: bytes, reason: str, field: str
) -> None:
    with bridge(broker, ledger) as running, MqttDevice(device, broker.device()) as link:
        link.publish(kind, body)
        with pytest.raises(Rejected) as refused:
            link.answer(kind)
        assert (refused.value.where["reason"], refused.value.where["field"]) == (reason, field)
        assert counted(running, "requests_rejected", reason=reason) == 1
    with bridge(broker, ledger) as again, MqttDevice(device, broker.device()) as link:
        link.register()
        assert counted(again, "requests_rejected", reason=reason) is None
    assert stored(ledger) == 1


def test_a_device_registers_nobody_but_itself(
    broker: Running, ledger: Ledger, device: LabDevice, maker: Authority, tmp_path: Path
) -> None:
    other = made(maker, tmp_path, "dev-other")
    with bridge(broker, ledger), MqttDevice(device, broker.device()) as link:
        event = other.event()
        link.publish("register", event)
        with pytest.raises(Rejected) as refused:
            link.answer("register")
    where = refused.value.where
    assert (where["reason"], where["field"], where["value"]) == ("unusable", "data.device_id", "dev-other")
    assert (ledger.devices.list(), stored(ledger)) == ((), 0)


def test_a_broker_that_restarts_is_found_again(broker: Running, ledger: Ledger, device: LabDevice) -> None:
    with bridge(broker, ledger) as running:
        broker.stop()
        until(lambda: not running.bridge.subscribed.is_set())
        broker.start()
        running.bridge.subscribed.wait()
        with MqttDevice(device, broker.device()) as link:
            assert link.register()["accepted"] == 1
        assert counted(running, "mqtt_connects") == 2


def test_who_shows_a_wrong_password_gets_nothing(
    broker: Running, ledger: Ledger, device: LabDevice, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = SecretStr("another-password-entirely")
    settings = IntakeSettings(name="plant", dispatch=False)
    with MqttGateway(broker.bridge(password=wrong), settings, ledger) as running:
        until(lambda: "refuses the bridge" in caplog.text)
        assert not running.bridge.subscribed.is_set()
    with pytest.raises(CredentialRejected), MqttDevice(device, broker.device(password=wrong)):
        pass
    assert "another-password" not in caplog.text


@pytest.fixture
def safe(broker: Running, tmp_path: Path) -> Iterator[Running]:
    """A broker of the same kind that speaks TLS alone."""
    running = Running(tmp_path, broker.version, tls=Authority.open(tmp_path / "tls" / "ca", "Plant CA"))
    running.start()
    try:
        yield running
    finally:
        running.stop()


def test_all_is_said_over_tls(safe: Running, ledger: Ledger, device: LabDevice) -> None:
    with bridge(safe, ledger), MqttDevice(device, safe.device()) as link:
        assert link.register()["accepted"] == 1


@ONE_BROKER
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_a_broker_of_another_authority_is_told_nothing(
    safe: Running, ledger: Ledger, maker: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Paho does not close the socket of a TLS handshake that failed, which is what the warning would say."""
    settings = IntakeSettings(name="plant", dispatch=False)
    with MqttGateway(safe.bridge(ca_file=maker.cert_file), settings, ledger) as running:
        until(lambda: "cannot be reached" in caplog.text)
        assert not running.bridge.subscribed.is_set()
    gc.collect()  # so that the warning comes in this test


@ONE_BROKER
def test_messages_wait_for_a_ledger_that_is_busy(broker: Running, device: LabDevice, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}?timeout=0.1"
    with Ledger.open(url) as ledger, bridge(broker, ledger), MqttDevice(device, broker.device(), within_s=1) as link:
        with sqlite3.connect(tmp_path / "ledger.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            link.publish("register", device.event())
            with pytest.raises(SiteSilent):
                link.answer("register")
            other.execute("ROLLBACK")
        other.close()
        until(lambda: len(ledger.devices.list()) == 1)


@pytest.mark.parametrize(
    ("url", "more", "field"),
    [
        pytest.param("http://broker", {}, "url", id="scheme"),
        pytest.param("mqtt://user:secret-word@broker", {}, "url", id="password-in-the-address"),
        pytest.param("mqtts://broker:99999", {}, "url", id="port"),
        pytest.param("mqtt://broker", {"ca_file": "ca.pem"}, "ca_file", id="files-without-tls"),
        pytest.param("mqtts://broker", {"certificate": "a.pem"}, "certificate", id="certificate-without-key"),
        pytest.param("mqtts://broker", {"ca_file": "absent.pem"}, "ca_file", id="no-file"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(url: str, more: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        MqttSettings.at(url, **more)
    assert refused.value.where["field"] == field
    assert "secret-word" not in str(refused.value)


def stored(ledger: Ledger) -> int:
    return sum(ledger.inbox.counts().values())


def counted(gateway: MqttGateway, name: str, **labels: str) -> float | None:
    return gateway.metrics.registry.get_sample_value(f"edge_gateway_{name}_total", labels)


@ONE_BROKER
def test_the_command_runs_until_it_is_told_to_stop(
    broker: Running, device: LabDevice, tmp_path: Path, ledger: Ledger
) -> None:
    url, port = f"sqlite:///{tmp_path / 'ledger.db'}", free_port()
    shown = {"EDGE_MQTT_USERNAME": "bridge", "EDGE_MQTT_PASSWORD": PASSWORD, "EDGE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "edge", "gateway", "mqtt", "--url", broker.url, "--ledger", url, "--json"]
    more = ["--mqtt-version", broker.version, "--metrics-port", str(port)]
    with (tmp_path / "said").open("wb") as log:
        process = subprocess.Popen([*command, *more], env={**os.environ, **shown}, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        assert b"{" in process.stdout.readline()
        with MqttDevice(device, broker.device()) as link:
            assert link.register()["accepted"] == 1
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert 'edge_gateway_mqtt_messages_total{kind="register",outcome="taken"} 1.0' in metrics
    finally:
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate()
    assert (process.returncode, PASSWORD in rest.decode() + (tmp_path / "said").read_text()) == (0, False)
