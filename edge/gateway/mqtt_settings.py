"""How an MQTT broker is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from edge.errors import InvalidInput
from edge.model.base import Value

PORTS = {"mqtt": 1883, "mqtts": 8883}


class MqttSettings(Value):
    """Where the broker is and what it is told. Times are in seconds.

    The session lasts at the broker while the bridge is away, under the fixed `client_id`: two bridges with one id
    would put each other out. With MQTT 3.1.1 it is the broker that says how long a session lasts.
    """

    host: str = Field(min_length=1, max_length=253)
    port: int = Field(ge=1, le=65535)
    tls: bool
    ca_file: Path | None = None
    """CA certificates that the broker's must lead to; None: the public ones."""
    certificate: Path | None = None
    """PEM file with the bridge's own certificate, where the broker asks for one, and `key` with its key."""
    key: Path | None = None
    username: str = ""
    password: SecretStr = SecretStr("")
    client_id: str = Field(default="edge-gateway-main", min_length=1, max_length=64)
    version: Literal["3.1.1", "5"] = "5"
    in_flight: int = Field(default=20, ge=1, le=1000)
    """Messages that are held at once and not acknowledged; with MQTT 5 the broker is told."""
    keepalive_s: int = Field(default=30, ge=5)
    session_s: int = Field(default=7 * 86400, ge=60)
    """How long the broker keeps what comes in while the bridge is away."""
    longest_pause_s: int = Field(default=60, ge=1)
    """Tries to connect are a second apart at first, then twice as long each time, up to this."""
    answer_s: float = Field(default=30.0, gt=0)
    """How long the broker may take to confirm an answer; the message counts as not dealt with until then."""

    @classmethod
    def at(cls, url: str, **more: object) -> Self:
        """From `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`, and other fields. Raises InvalidInput."""
        parts = urlsplit(url)
        try:
            port = parts.port or PORTS.get(parts.scheme, 0)
        except ValueError as error:
            raise InvalidInput("This is no port", field="url") from error
        if parts.username or parts.password:  # a command line is no place for a secret, and neither is this message
            remedy = "Set EDGE_MQTT_USERNAME and EDGE_MQTT_PASSWORD"
            raise InvalidInput("The address of a broker holds no user and no password", field="url", remedy=remedy)
        if parts.scheme not in PORTS or not parts.hostname or parts.path not in {"", "/"}:
            remedy = "Write mqtts://HOST:PORT, or mqtt:// without TLS"
            raise InvalidInput("This is no address of a broker", field="url", value=url[:200], remedy=remedy)
        return cls.model_validate({"host": parts.hostname, "port": port, "tls": parts.scheme == "mqtts", **more})

    @model_validator(mode="after")
    def _has_its_files(self) -> MqttSettings:
        if (self.certificate is None) != (self.key is None):
            raise InvalidInput("A certificate and its key come together", field="certificate")
        for field, path in (("ca_file", self.ca_file), ("certificate", self.certificate), ("key", self.key)):
            if path is not None and not self.tls:
                raise InvalidInput("Without TLS this file is of no use", field=field, remedy="Write mqtts://")
            if path is not None and not path.is_file():
                raise InvalidInput("There is no such file", field=field, value=path)
        return self
