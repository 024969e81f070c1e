"""`edge gateway`: run the way in for device registrations."""

from __future__ import annotations

import logging
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.gateway_mqtt import mqtt
from edge.cli.output import JsonFlag, emit, errors, speaks
from edge.errors import EdgeError, InvalidInput

if TYPE_CHECKING:
    import uvicorn

    from edge.gateway.settings import GatewaySettings
    from edge.ledger import Ledger
    from edge.model.admission import Trust
    from edge.settings import Settings

app = typer.Typer()

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MOST_REQUESTS = 512
"""Requests that are worked on at once; more get 503 and come again."""


app.command()(mqtt)


@app.callback()
def gateway() -> None:
    """The way in for device registrations."""


@app.command()
@speaks
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8320,
    name: Annotated[str, typer.Option(help="Name in the resource id of its Prefect events.")] = "main",
    ledger: Annotated[
        str | None, typer.Option(help="URL of the ledger, without a password in it; default: the configured one.")
    ] = None,
    dispatch: Annotated[bool, typer.Option(help="Pass registrations on. One gateway per ledger should.")] = True,
    challenge_ttl_s: Annotated[float, typer.Option(help="How long a challenge may be answered, in seconds.")] = 900.0,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM file; with it the gateway speaks HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file with the certificate's key.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Take events in at /events until it is told to stop (Ctrl-C or SIGTERM).

    Secrets come from the block edge-gateway-secret/default of the Prefect server, or from EDGE_GATEWAY_TOKENS and
    EDGE_GATEWAY_HMAC_KEYS, never from the command line. Without PREFECT_API_URL registrations are stored and wait.
    """
    import uvicorn  # noqa: PLC0415 - with what follows it takes a second to import

    from edge.gateway.app import create_app  # noqa: PLC0415 - as above

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = _settings(name, dispatch=dispatch, challenge_ttl_s=challenge_ttl_s)
    _check_tls(tls_certificate, tls_key)
    if host not in LOOPBACK and tls_certificate is None:
        errors.print("[bold yellow]warning[/] the gateway listens beyond this machine without TLS")
    with ledger_at(ledger) as opened:
        # Its own access log would write down the query, where a token may be.
        config = uvicorn.Config(
            create_app(settings, opened),
            host=host,
            port=port,
            access_log=False,
            log_config=None,
            server_header=False,
            limit_concurrency=MOST_REQUESTS,
            timeout_graceful_shutdown=10,
            ssl_certfile=tls_certificate,
            ssl_keyfile=tls_key,
        )
        listener = _listen(config)
        scheme = "https" if tls_certificate else "http"
        url = f"{scheme}://{host}:{listener.getsockname()[1]}"
        emit({"url": url, "name": name, "dispatch": dispatch}, f"Listening at {url}", as_json=as_json)
        sys.stdout.flush()  # whoever started the gateway waits for this line
        uvicorn.Server(config).run(sockets=[listener])


def _listen(config: uvicorn.Config) -> socket.socket:
    """From here on senders are not turned away."""
    listener = config.bind_socket()
    # asyncio leaves Nagle's algorithm on for a socket made this way, and every answer would wait 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.listen(config.backlog)
    return listener


def _settings(name: str, *, dispatch: bool, challenge_ttl_s: float) -> GatewaySettings:
    from blocks.gateway import GatewaySecret  # noqa: PLC0415 - Prefect takes a second to import
    from blocks.load import load  # noqa: PLC0415 - as above
    from edge.gateway.settings import GatewaySettings  # noqa: PLC0415 - as above
    from edge.settings import Settings  # noqa: PLC0415 - as above

    said = Settings()
    here = GatewaySecret.from_settings(said)
    secret = here if here.tokens or here.hmac_keys else load(GatewaySecret)
    secrets = {"tokens": tuple(secret.tokens), "hmac_keys": tuple(secret.hmac_keys)}
    told = {"name": name, "dispatch": dispatch, "challenge_ttl_s": challenge_ttl_s, "trust": trusted()}
    return GatewaySettings.model_validate({**told, **secrets, **pace(said)})


def pace(said: Settings) -> dict[str, float | None]:
    """How fast a dispatcher passes registrations on, and when it does so again."""
    return {
        "rate": said.gateway_rate,
        "resend_after_s": said.gateway_resend_after_s,
        "reclaim_after_s": 1.2 * said.claim_s,
    }


def trusted() -> Trust:
    """Whom renewals are checked against: `EDGE_TRUST`, or else the block; nobody when neither can be had."""
    from blocks.admission import DeviceAdmission  # noqa: PLC0415 - Prefect takes a second to import
    from blocks.load import load  # noqa: PLC0415 - as above
    from edge.model.admission import Trust  # noqa: PLC0415 - as above
    from edge.settings import Settings  # noqa: PLC0415 - as above

    settings = Settings()
    if settings.trust:
        return DeviceAdmission.from_settings(settings).trust()
    try:
        return load(DeviceAdmission).trust()
    except EdgeError as error:  # events are taken all the same
        logging.getLogger("edge.gateway").warning("No renewal of a certificate will be taken: %s", error)
        return Trust(anchors=())


def ledger_at(url: str | None) -> Ledger:
    """The ledger at the URL, or the configured one."""
    from edge.cli.context import open_ledger  # noqa: PLC0415 - Prefect takes a second to import
    from edge.ledger import Ledger  # noqa: PLC0415 - as above

    return Ledger.open(url) if url else open_ledger()


def _check_tls(certificate: Path | None, key: Path | None) -> None:
    if certificate is None and key is None:
        return
    for option, path in (("--tls-certificate", certificate), ("--tls-key", key)):
        if path is None or not path.is_file():
            raise InvalidInput("HTTPS needs a certificate and its key", field=option, value=path or "")
