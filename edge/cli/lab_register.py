"""`edge lab register`: let devices of the lab register themselves, as they would in a plant."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.cli.output import JsonFlag, counted, emit, progress, speaks
from edge.errors import InvalidInput
from edge.model.base import Value

if TYPE_CHECKING:
    from edge.lab.device import LabDevice
    from edge.settings import Settings

Act = Callable[["LabDevice"], None]


class _Way(Value):
    """Which lab's devices go where: the lab's summary, the gateway's or broker's address, and the gateway's token."""

    lab: dict[str, Any]
    url: str
    token_file: Path | None = None


@speaks
def register(
    devices: Annotated[list[str] | None, typer.Argument(help="Ids of devices; without them, --count, or all.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="So many devices, the first of the lab.")] = None,
    to: Annotated[str, typer.Option(help="Gateway (http://…) or broker (mqtt://…); without it, EDGE_HOME's.")] = "",
    token_file: Annotated[Path | None, typer.Option(help="File with the gateway's token.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="PEM file with the CA of the broker.")] = None,
    mqtt_version: Annotated[str, typer.Option(help="5 or 3.1.1.")] = "5",
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Devices a second; without it, as fast as it goes.")
    ] = None,
    with_voucher: Annotated[str, typer.Option(metavar="TENANT", help="With a voucher for this tenant.")] = "",
    with_tpm: Annotated[bool, typer.Option("--with-tpm", help="With a TPM that attests the boot.")] = False,
    state: Annotated[Path | None, typer.Option("--state", help="The lab's folder; without it, EDGE_HOME's.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Each device asks for a challenge, proves with it that it holds its key, and registers.

    For a broker the user and the password come from EDGE_MQTT_USERNAME and EDGE_MQTT_PASSWORD.
    """
    from edge.lab.belongings import equipped  # noqa: PLC0415 - help stays quick without the lab
    from edge.settings import Settings  # noqa: PLC0415 - as above

    settings = Settings()
    way = _way(settings, to, token_file, state)
    chosen = _chosen(way.lab["sites"], devices or [], count)
    made = (equipped(way.lab, site, tenant=with_voucher, tpm=with_tpm) for site in chosen)
    started = time.monotonic()
    with progress("registering", len(chosen)) as bar, _linked(way, settings, ca_file, mqtt_version) as let_in:
        for done, device in enumerate(_paced(made, rate), start=1):
            let_in(device)
            bar(done)
    seconds = time.monotonic() - started
    said = {"registered": [site["device_id"] for site in chosen], "to": way.url, "seconds": round(seconds, 2)}
    emit(said, f"{counted(len(chosen), 'device')} registered at {way.url} in {seconds:.1f} s", as_json=as_json)


def _way(settings: Settings, to: str, token_file: Path | None, state: Path | None) -> _Way:
    """The platform in EDGE_HOME, if it runs and nothing else is asked for; else the lab that runs, and where to."""
    from deployments.local.platform import LocalPlatform  # noqa: PLC0415 - heavy
    from edge.lab.layout import Layout  # noqa: PLC0415 - help stays quick without the lab
    from edge.lab.process import describe  # noqa: PLC0415 - as above

    here = None if state else LocalPlatform(settings.home).addresses()
    if here is None and not to:
        remedy = "Start the platform with `edge platform up`, or name a gateway or a broker with --to"
        raise InvalidInput("No platform runs in EDGE_HOME", field="--to", remedy=remedy)
    if here is None:
        lab = describe(Layout((state or settings.home / "lab").absolute()))
        return _Way(lab=lab, url=to, token_file=token_file)
    token = here.gateway_token_file if to in {"", here.gateway} else None
    return _Way(lab=here.lab, url=to or here.gateway, token_file=token_file or token)


def _chosen(sites: Sequence[dict[str, Any]], devices: Sequence[str], count: int | None) -> list[dict[str, Any]]:
    """The sites whose devices are named, or the first ones."""
    if devices and count is not None:
        raise InvalidInput("Name devices or a count, not both", field="--count", value=count)
    known = {site["device_id"]: site for site in sites}
    for device in devices:
        if device not in known:
            raise InvalidInput("The lab has no such device", field="DEVICE", value=device)
    if count is not None and count > len(known):
        raise InvalidInput("The lab has fewer devices", field="--count", value=count, devices=len(known))
    return [known[device] for device in devices] or list(sites)[:count]


def _paced(devices: Iterator[LabDevice], rate: float | None) -> Iterator[LabDevice]:
    """The devices, `rate` a second: one that took long does not slow the next ones down."""
    due = time.monotonic()
    for device in devices:
        time.sleep(max(0.0, due - time.monotonic()))
        due += 1 / rate if rate else 0.0
        yield device


@contextmanager
def _linked(way: _Way, settings: Settings, ca_file: Path | None, version: str) -> Iterator[Act]:
    """What lets one device register."""
    from edge.lab.device import ask_for_challenge, gateway_client, send  # noqa: PLC0415 - help stays quick without it

    if way.url.startswith(("mqtt:", "mqtts:")):
        yield _over_mqtt(way.url, settings, ca_file, version)
        return
    if way.token_file is None or not way.token_file.is_file():
        raise InvalidInput("The gateway's token is needed", field="--token-file", value=way.token_file or "")
    with gateway_client(way.url, way.token_file.read_text().strip()) as gateway:

        def act(device: LabDevice) -> None:
            send(gateway, [device.event(ask_for_challenge(gateway, device))])

        yield act


def _over_mqtt(url: str, settings: Settings, ca_file: Path | None, version: str) -> Act:
    from edge.lab.device_mqtt import Broker, MqttDevice  # noqa: PLC0415 - help stays quick without it

    shown = {"username": settings.mqtt_username, "password": settings.mqtt_password, "ca_file": ca_file}
    broker = Broker.model_validate({"url": url, "version": version, **shown})

    def act(device: LabDevice) -> None:
        with MqttDevice(device, broker) as link:
            link.register()

    return act
