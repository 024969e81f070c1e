"""Takes registrations from an MQTT broker, for plants without a cloud.

Nothing is lost and nothing done twice: the session at the broker outlives the bridge; a message is acknowledged only
after the ledger has it and the broker has the answer, so one that the bridge dies over comes again; and the ledger
knows an event that it had before. Paho's thread reads from the network, one of ours does the work, in the order in
which the messages came, since MQTT wants them acknowledged in that order.

Answers go over a connection of their own. When as much is held as may be, the thread that reads stops reading, so that
the broker waits; over the same connection that would keep it from reading that the broker has the answers.
"""

from __future__ import annotations

import logging
import queue
import ssl
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.errors import InvalidInput
from edge.gateway.desk import Desk
from edge.gateway.mqtt_messages import FILTERS, Reply, answer
from edge.gateway.mqtt_settings import MqttSettings
from edge.gateway.refusal import Refused

log = logging.getLogger("edge.gateway.mqtt")

_AT_ONCE = 8
"""Messages worked on at once: the ledger commits for several writers together."""
_LOOK_S = 0.2
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0
QOS = 1


class _Held(NamedTuple):
    """A message that is not acknowledged, and the connection it came over."""

    connection: int
    message: paho.MQTTMessage


class _Ended(Exception):
    """The bridge ends while a message waits for the ledger."""


class Bridge:
    """Between one broker and one desk. `start` it once; `stop` lets it finish what it holds."""

    def __init__(self, told: MqttSettings, desk: Desk) -> None:
        self._told = told
        self._desk = desk
        self._held: queue.Queue[_Held] = queue.Queue(told.in_flight)
        self._stopped = threading.Event()
        self.subscribed = threading.Event()
        """Set while messages can come in."""
        self._connection = 0
        self._guard = threading.Lock()
        self._client = self._made(told.client_id, lasting=True)
        self._speaker = self._made(f"{told.client_id}-answers", lasting=False)
        self._listen()
        self._worker = threading.Thread(target=self._work, name="edge-gateway-mqtt", daemon=True)

    def start(self) -> None:
        """Begin; a broker that is away is tried again for as long as it takes."""
        for client, session in ((self._speaker, {}), (self._client, self._session())):
            client.connect_async(self._told.host, self._told.port, self._told.keepalive_s, **session)
            client.loop_start()
        self._worker.start()

    def stop(self) -> None:
        """End after the messages that are being worked on; the others stay at the broker."""
        self._stopped.set()
        if self._worker.is_alive():
            self._worker.join()
        for client in (self._client, self._speaker):
            client.disconnect()
            client.loop_stop()

    @property
    def is_alive(self) -> bool:
        """Whether it works, or waits for the broker."""
        return self._worker.is_alive()

    def _made(self, client_id: str, *, lasting: bool) -> paho.Client:
        five = self._told.version == "5"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if five else not lasting,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            manual_ack=True,
        )
        client.reconnect_delay_set(1, self._told.longest_pause_s)
        if self._told.username:
            client.username_pw_set(self._told.username, self._told.password.get_secret_value() or None)
        if self._told.tls:
            client.tls_set_context(_context(self._told))
        return client

    def _listen(self) -> None:
        self._client.on_pre_connect = self._on_pre_connect
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = lambda *_: log.warning("The broker cannot be reached; tried again")
        self._client.on_subscribe = lambda *_: self.subscribed.set()
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message

    def _session(self) -> dict[str, Any]:
        if self._told.version != "5":
            return {}
        wanted = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # Paho types the rest
        wanted.SessionExpiryInterval = self._told.session_s
        wanted.ReceiveMaximum = self._told.in_flight
        # What is a little too large gets an answer; what is far too large the broker keeps from us.
        wanted.MaximumPacketSize = 2 * self._desk.settings.max_body
        return {"clean_start": False, "properties": wanted}

    def _on_pre_connect(self, _client: paho.Client, _userdata: Any) -> None:
        with self._guard:  # message ids start anew with a connection: from here on, old ones mean other messages
            self._connection += 1

    def _on_connect(self, client: paho.Client, _userdata: Any, _flags: Any, code: ReasonCode, _more: Any) -> None:
        if code.is_failure:
            log.error("The broker refuses the bridge: %s", code)
            return
        self._desk.metrics.connects.inc()
        self._desk.metrics.connected.set(1)
        client.subscribe([(wanted, QOS) for wanted in FILTERS])
        log.info("Connected to the broker at %s:%d", self._told.host, self._told.port)

    def _on_disconnect(self, _client: paho.Client, _userdata: Any, _flags: Any, code: ReasonCode, _more: Any) -> None:
        self.subscribed.clear()
        self._desk.metrics.connected.set(0)
        if not self._stopped.is_set():
            log.warning("The connection to the broker is lost: %s", code)

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        """In Paho's thread, which waits here when enough is held; the broker then waits too."""
        held = _Held(self._connection, message)
        while not self._stopped.is_set():
            try:
                return self._held.put(held, timeout=_LOOK_S)
            except queue.Full:
                continue
        return None

    def _work(self) -> None:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="edge-gateway-mqtt") as pool:
            while not self._stopped.is_set():
                batch = self._next()
                answers = [pool.submit(self._dealt_with, held.message) for held in batch]
                try:
                    self._finish([(held, answer.result()) for held, answer in zip(batch, answers, strict=True)])
                except _Ended:
                    return
                except Exception:
                    # Whatever it is: this thread goes on, and what is not acknowledged comes again.
                    log.exception("A round of messages was not finished")

    def _next(self) -> list[_Held]:
        """What is held, oldest first, up to what is worked on at once; nothing when nothing comes for a moment."""
        batch: list[_Held] = []
        try:
            batch.append(self._held.get(timeout=_LOOK_S))
            while len(batch) < _AT_ONCE:
                batch.append(self._held.get_nowait())
        except queue.Empty:
            pass
        return batch

    def _dealt_with(self, message: paho.MQTTMessage) -> Reply | None:
        """The answer to a message, after as many tries as the ledger needs. Raises _Ended."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return answer(self._desk, message.topic, bytes(message.payload))
            except Refused as busy:
                log.warning("A message waits for the ledger, next try in %g s: %s", pause, busy.error)
            if self._stopped.wait(pause):
                raise _Ended
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _finish(self, done: Sequence[tuple[_Held, Reply | None]]) -> None:
        """Publish the answers, and acknowledge the messages once the broker has them."""
        sent = [
            (held, self._speaker.publish(reply.topic, reply.payload, QOS) if reply else None) for held, reply in done
        ]
        until = time.monotonic() + self._told.answer_s
        for held, info in sent:
            if info is not None and not self._confirmed(info, until):
                log.warning("The broker did not confirm an answer; its message will come again")
                return
            self._acknowledge(held)

    def _confirmed(self, info: paho.MQTTMessageInfo, until: float) -> bool:
        """Whether the broker has the answer by then, or before the bridge ends."""
        if info.rc is not MQTTErrorCode.MQTT_ERR_SUCCESS:  # not connected: Paho sends it later
            return False
        while not info.is_published() and time.monotonic() < until and not self._stopped.is_set():
            info.wait_for_publish(_LOOK_S)
        info.wait_for_publish(_LOOK_S)
        return info.is_published()

    def _acknowledge(self, held: _Held) -> None:
        with self._guard:
            if held.connection == self._connection:
                self._client.ack(held.message.mid, held.message.qos)


def _context(told: MqttSettings) -> ssl.SSLContext:
    """TLS that checks the broker, and shows the bridge's own certificate when there is one."""
    try:
        context = ssl.create_default_context(cafile=told.ca_file)
        if told.certificate is not None:
            context.load_cert_chain(told.certificate, told.key)
    except (ssl.SSLError, OSError) as error:
        files = ", ".join(str(path) for path in (told.ca_file, told.certificate, told.key) if path)
        raise InvalidInput("The files for TLS cannot be used", files=files, reason=type(error).__name__) from error
    return context
