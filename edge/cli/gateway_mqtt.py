"""`edge gateway mqtt`: take registrations from an MQTT broker."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.output import JsonFlag, emit, errors, speaks
from edge.errors import InvalidInput, NotYet

if TYPE_CHECKING:
    from edge.gateway.metrics import GatewayMetrics
    from edge.gateway.mqtt_settings import MqttSettings
    from edge.gateway.settings import IntakeSettings
    from edge.ledger import Ledger

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LOOK_S = 1.0


@speaks
def mqtt(
    url: Annotated[str, typer.Option(help="The broker: mqtts://HOST:PORT, or mqtt:// without TLS.")],
    name: Annotated[str, typer.Option(help="Name in the client id and in the resource id of its Prefect events.")] = (
        "main"
    ),
    ledger: Annotated[
        str | None, typer.Option(help="URL of the ledger, without a password in it; default: the configured one.")
    ] = None,
    dispatch: Annotated[bool, typer.Option(help="Pass registrations on, where no HTTP gateway does.")] = False,
    ca_file: Annotated[
        Path | None, typer.Option(help="PEM file with the CA of the broker; default: public ones.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file with a certificate to show the broker.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file with the certificate's key.")] = None,
    version: Annotated[str, typer.Option("--mqtt-version", help="5 or 3.1.1.")] = "5",
    challenge_ttl_s: Annotated[float, typer.Option(help="How long a challenge may be answered, in seconds.")] = 900.0,
    metrics_port: Annotated[int, typer.Option(help="Port on 127.0.0.1 for Prometheus; 0: none.", min=0, max=65535)] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Take challenges and registrations from a broker until it is told to stop (Ctrl-C or SIGTERM).

    The user and the password come from EDGE_MQTT_USERNAME and EDGE_MQTT_PASSWORD, never from the command line. It runs
    beside `edge gateway serve`, which then passes registrations on, or alone with --dispatch.
    """
    from edge.cli.gateway import ledger_at, pace, trusted  # noqa: PLC0415 - Prefect takes a second to import
    from edge.gateway.mqtt_settings import MqttSettings  # noqa: PLC0415 - as above
    from edge.gateway.settings import IntakeSettings  # noqa: PLC0415 - as above
    from edge.settings import Settings  # noqa: PLC0415 - as above

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    here = Settings()
    files = {"ca_file": ca_file, "certificate": certificate, "key": key}
    shown = {"username": here.mqtt_username, "password": here.mqtt_password, "client_id": f"edge-gateway-{name}"}
    told = MqttSettings.at(url, version=version, **files, **shown)
    told_of = {"name": name, "dispatch": dispatch, "challenge_ttl_s": challenge_ttl_s, "trust": trusted()}
    settings = IntakeSettings.model_validate({**told_of, **pace(here)})
    if not told.tls and told.host not in LOOPBACK:
        errors.print("[bold yellow]warning[/] the bridge speaks to a broker beyond this machine without TLS")
    with ledger_at(ledger) as opened:
        _run(told, settings, opened, metrics_port=metrics_port, as_json=as_json)


def _run(told: MqttSettings, settings: IntakeSettings, ledger: Ledger, *, metrics_port: int, as_json: bool) -> None:
    from edge.gateway.mqtt_gateway import MqttGateway  # noqa: PLC0415 - Prefect takes a second to import

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    gateway = MqttGateway(told, settings, ledger)
    with ExitStack() as stack:
        if metrics_port:
            stack.callback(_serve_metrics(gateway.metrics, metrics_port))
        stack.enter_context(gateway)
        while not ended.is_set() and not gateway.bridge.subscribed.wait(_LOOK_S):
            continue
        if not ended.is_set():
            where = f"{told.host}:{told.port}"
            emit(
                {"broker": where, "name": settings.name, "dispatch": settings.dispatch},
                f"Listening at the broker {where}",
                as_json=as_json,
            )
            sys.stdout.flush()  # whoever started the bridge waits for this line
        while not ended.wait(_LOOK_S):
            if not gateway.bridge.is_alive:
                raise NotYet("The bridge has ended by itself")


def _serve_metrics(metrics: GatewayMetrics, port: int) -> Callable[[], None]:
    """Serve them on loopback; answers what ends that."""
    from prometheus_client import start_http_server  # noqa: PLC0415 - help stays quick without it

    try:
        server, _thread = start_http_server(port, addr=LOOPBACK[0], registry=metrics.registry)
    except OSError as error:
        raise InvalidInput("The port for metrics cannot be used", field="--metrics-port", value=port) from error

    def end() -> None:
        server.shutdown()
        server.server_close()

    return end
