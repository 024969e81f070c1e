"""`edge device retry`: try devices again whose onboarding failed."""

from __future__ import annotations

from typing import Annotated

import typer

from edge.cli.context import has_server, open_ledger
from edge.cli.device_summary import emit_summary, summarised
from edge.cli.output import BAD_OUTCOME, JsonFlag, speaks
from edge.cli.runs import keep_prefect_quiet, start_on_pool
from edge.errors import InvalidInput
from edge.model.device import DeviceState

DEPLOYMENT = "retry-onboarding/default"


@speaks
def retry(
    devices: Annotated[list[str] | None, typer.Argument(metavar="[DEVICE]...", help="Ids of devices.")] = None,
    all_failed: Annotated[bool, typer.Option("--all-failed", help="Every device that failed.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Try devices again now, whatever they failed for; a quarantined one that is named is looked at anew.

    Waits until each has ended. With a server at PREFECT_API_URL on its work pool, else in this process.
    """
    if bool(devices) == all_failed:
        raise InvalidInput("Name devices, or say --all-failed", field="DEVICE")
    keep_prefect_quiet()
    with open_ledger() as ledger:
        chosen = devices or [device.device_id for device in ledger.devices.list(state=DeviceState.FAILED)]
        for name in chosen:
            ledger.devices.get(name)
        if chosen:
            _start(chosen)
        summary = summarised(ledger, chosen)
    emit_summary(summary, as_json=as_json)
    if summary.not_in:
        raise typer.Exit(BAD_OUTCOME)


def _start(devices: list[str]) -> None:
    if has_server():
        start_on_pool(DEPLOYMENT, {"devices": devices}, wait=True)
    else:
        from flows.retry_onboarding import retry_onboarding  # noqa: PLC0415 - Prefect takes a second to import

        retry_onboarding(devices=devices, return_state=True)
