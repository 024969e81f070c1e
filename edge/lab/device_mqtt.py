"""A device of the lab that speaks MQTT: its session at the broker goes on while it is away."""

from __future__ import annotations

import queue
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import orjson
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from pydantic import SecretStr

from edge.errors import CredentialRejected, Rejected, SiteSilent, SiteUnreachable
from edge.lab.device import LabDevice
from edge.model.base import Value

QOS = 1
_WITHIN_S = 30.0
_SESSION_S = 86400
_ANSWERS = {"challenge": "answer", "register": "receipt"}


class Broker(Value):
    """Where the broker is, `mqtt://HOST:PORT` or `mqtts://HOST:PORT`, and what the device shows it."""

    url: str
    ca_file: Path | None = None
    username: str = ""
    password: SecretStr = SecretStr("")
    version: Literal["3.1.1", "5"] = "5"


class MqttDevice:
    """A device and its connection, open within `with`. The session lasts when it is closed."""

    def __init__(self, device: LabDevice, broker: Broker, *, within_s: float = _WITHIN_S) -> None:
        self.device = device
        self._broker = broker
        self._within_s = within_s
        self._answers: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self._subscribed: queue.Queue[ReasonCode | None] = queue.Queue()
        self._client = self._made()

    def __enter__(self) -> Self:
        """Connect and listen for answers. Raises SiteUnreachable, CredentialRejected."""
        parts = urlsplit(self._broker.url)
        more: dict[str, Any] = {}
        if self._broker.version == "5":
            lasting = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # Paho types the rest
            lasting.SessionExpiryInterval = _SESSION_S
            more = {"clean_start": False, "properties": lasting}
        port = parts.port or (8883 if parts.scheme == "mqtts" else 1883)
        try:
            self._client.connect(parts.hostname or "", port, **more)
        except OSError as error:
            raise SiteUnreachable("The broker cannot be reached", url=self._broker.url) from error
        self._client.loop_start()
        try:
            refused = self._subscribed.get(timeout=self._within_s)
        except queue.Empty as error:
            self._client.loop_stop()
            raise SiteSilent("The broker does not answer", url=self._broker.url) from error
        if refused is not None:
            self._client.loop_stop()
            raise CredentialRejected("The broker refuses the device", device=self.device.device_id, said=str(refused))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, kind: str, body: object) -> None:
        """Say something on the topic `edge/v1/<device>/<kind>`; returns when the broker has it. Raises SiteSilent."""
        payload = body if isinstance(body, bytes) else orjson.dumps(body)
        info = self._client.publish(f"edge/v1/{self.device.device_id}/{kind}", payload, QOS)
        info.wait_for_publish(self._within_s)
        if not info.is_published():
            raise SiteSilent("The broker does not confirm", device=self.device.device_id)

    def answer(self, kind: str) -> dict[str, Any]:
        """The next answer to what was said on this topic, also one from before. Raises SiteSilent, Rejected."""
        while True:
            try:
                topic, said = self._answers.get(timeout=self._within_s)
            except queue.Empty as error:
                raise SiteSilent("The platform does not answer", device=self.device.device_id) from error
            if topic.endswith(f"/{kind}/{_ANSWERS[kind]}"):
                break
        if "error" in said:
            raise Rejected(said["error"], device=self.device.device_id, reason=said.get("reason"), **said["where"])
        return said

    def register(self) -> dict[str, Any]:
        """Ask for a challenge and register; answers the receipt. Raises Rejected, SiteSilent."""
        self.publish("challenge", self.device.challenge_request())
        self.publish("register", self.device.event(self.answer("challenge")))
        return self.answer("register")

    def _made(self) -> paho.Client:
        five = self._broker.version == "5"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.device.device_id,
            clean_session=None if five else False,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
        )
        if self._broker.username:
            client.username_pw_set(self._broker.username, self._broker.password.get_secret_value())
        if self._broker.url.startswith("mqtts:"):
            client.tls_set_context(ssl.create_default_context(cafile=self._broker.ca_file))
        client.on_connect = self._on_connect
        client.on_subscribe = lambda *_: self._subscribed.put(None)
        client.on_message = lambda _client, _userdata, message: self._answers.put(
            (message.topic, orjson.loads(message.payload))
        )
        return client

    def _on_connect(self, client: paho.Client, _userdata: Any, _flags: Any, code: ReasonCode, _more: Any) -> None:
        if code.is_failure:
            self._subscribed.put(code)
            return
        root = f"edge/v1/{self.device.device_id}"
        client.subscribe([(f"{root}/{kind}/{word}", QOS) for kind, word in _ANSWERS.items()])
