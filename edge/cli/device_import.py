"""`edge device import`: register the devices of an operator's file, and let them in at a set rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.cli.context import has_server, open_ledger
from edge.cli.device_summary import emit_summary, summarised
from edge.cli.output import BAD_OUTCOME, JsonFlag, errors, progress, speaks, table
from edge.cli.runs import keep_prefect_quiet, over, start_on_pool
from edge.clients.files import read_text
from edge.errors import InvalidInput, OperationFailed, Transient
from edge.model.bulk import BadRow, ImportedDevice
from edge.policy.importing import read_import

if TYPE_CHECKING:
    from edge.ledger import Ledger
    from tasks.importing import Import

DEPLOYMENT = "onboard-device/default"
MAX_BYTES = 100_000_000
POLL_S = 0.5
RENEW_S = 20.0
TOGETHER_S = 10.0
"""So many seconds' worth of devices share a run: a run costs a new interpreter."""
MOST_TOGETHER = 200
GO_ON = "Look at the run in Prefect. A gateway starts another one; so does importing the same file again"


@speaks
def import_devices(
    file: Annotated[Path, typer.Argument(help="CSV with a header, or JSON lines.")],
    rate: Annotated[float, typer.Option(min=0.01, help="Devices a second that onboarding begins with.")] = 5.0,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Import the good rows when others are bad.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until every device has ended.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Import devices: check the whole file, store the registrations, and let the devices in.

    Columns: device_id, certificate (PEM, or a file beside this one), serial; also model, architecture, location,
    firmware, os, hardware.*, tenant, vendor, asset_tag, purchased_on, warranty_until, note. Nothing is stored when a
    row is bad. The same file again changes nothing.
    """
    from tasks.importing import store_import  # noqa: PLC0415 - Prefect takes a second to import

    keep_prefect_quiet()
    at = datetime.now(UTC)
    with open_ledger() as ledger:
        rows, bad = _checked(ledger, file, at)
        if bad and not skip_bad:
            _refuse(file, bad, as_json=as_json)
        stored = store_import(ledger, rows, at=at)
        _let_in(ledger, stored, rate, wait=wait)
        summary = summarised(ledger, [row.registration.device_id for row in rows], known=stored.known, skipped=bad)
    emit_summary(summary, as_json=as_json)
    if wait and (bad or summary.not_in):
        raise typer.Exit(BAD_OUTCOME)


def _checked(ledger: Ledger, file: Path, at: datetime) -> tuple[Sequence[ImportedDevice], tuple[BadRow, ...]]:
    """The rows in order, and the bad ones: by themselves, or against what is on record."""
    from tasks.importing import contradictions  # noqa: PLC0415 - Prefect takes a second to import

    found = read_import(
        read_text(file, MAX_BYTES),
        origin=str(file),
        read_file=lambda name: read_text(file.parent / name),
        now=at,
        list_name=f"{file.stem}@{at:%Y%m%dT%H%M%SZ}",
    )
    against = contradictions(ledger, found.good)
    lines = {row.line for row in against}
    bad = tuple(sorted((*found.bad, *against), key=lambda row: row.line))
    return [row for row in found.good if row.line not in lines], bad


def _refuse(file: Path, bad: Sequence[BadRow], *, as_json: bool) -> None:
    """Name every bad row. With `--json` they are in the error's `rows`, through the usual way."""
    if not as_json:
        rows = [(row.line, row.device_id, row.field, row.value, row.fault) for row in bad]
        errors.print(table(f"{len(bad)} bad rows", ("line", "device", "field", "value", "fault"), rows))
    first = bad[0]
    remedy = "Correct the rows, or import the others with --skip-bad"
    told: dict[str, Any] = {"line": first.line, "field": first.field, "value": first.value}
    if as_json:
        told["rows"] = "[" + ",".join(row.model_dump_json() for row in bad) + "]"
    what = f"{len(bad)} rows are bad, so nothing was imported; the first: {first.fault}"
    raise InvalidInput(what, remedy=remedy, file=file, **told)


def _let_in(ledger: Ledger, stored: Import, rate: float, *, wait: bool) -> None:
    devices = list(stored.fresh)
    if not devices:
        return
    with _held(ledger, stored.name), progress("devices", len(devices)) as bar:
        if has_server():
            runs = _start_on_pool(ledger, stored, rate)
            if wait:
                _await(ledger, runs, len(devices), bar)
        elif wait:
            _run_here(ledger, stored, rate, bar)


def _start_on_pool(ledger: Ledger, stored: Import, rate: float) -> dict[str, str]:
    """Hand the registrations over to runs of the deployment, some seconds' worth at a time; answers run by batch."""
    devices, runs = list(stored.fresh), {}
    size = max(1, min(MOST_TOGETHER, int(rate * TOGETHER_S)))
    began = time.monotonic()
    for start in range(0, len(devices), size):
        time.sleep(max(0.0, began + start / rate - time.monotonic()))
        chunk, batch = devices[start : start + size], f"{stored.name}:{start}"
        ledger.inbox.hand_over([stored.fresh[device] for device in chunk], batch)
        runs[batch] = start_on_pool(DEPLOYMENT, {"devices": chunk, "batch": batch})
    return runs


def _run_here(ledger: Ledger, stored: Import, rate: float, bar: Callable[[int], None]) -> None:
    """Run the flow in this process; Prefect starts a server of its own for it."""
    from flows.onboard_device import onboard_device  # noqa: PLC0415 - Prefect takes a second to import

    batch = f"{stored.name}:0"
    ledger.inbox.hand_over(stored.fresh.values(), batch)
    state = onboard_device(devices=list(stored.fresh), batch=batch, rate=rate, return_state=True)
    if ledger.inbox.open_in([batch]):
        raise OperationFailed("The run ended before its devices did", remedy=GO_ON, said=state.message)
    bar(len(stored.fresh))


def _await(ledger: Ledger, runs: dict[str, str], total: int, bar: Callable[[int], None]) -> None:
    """Wait until no registration is open any more: its run closes it when the device has ended.

    Raises OperationFailed when every run is over and some are open all the same.
    """
    while True:
        dead = over(list(runs.values()))  # asked first: a run closes its registrations before it ends
        left = len(ledger.inbox.open_in(runs))
        bar(total - left)
        if not left:
            return
        if dead:
            raise OperationFailed("The runs ended before their devices did", remedy=GO_ON, open=left)
        time.sleep(POLL_S)


@contextmanager
def _held(ledger: Ledger, name: str) -> Iterator[None]:
    """Say again and again that the import lives, so that no gateway takes over what it has not passed on yet."""
    over = threading.Event()
    renewing = threading.Thread(target=_renew, args=(ledger, name, over), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        over.set()
        renewing.join()


def _renew(ledger: Ledger, name: str, over: threading.Event) -> None:
    while not over.wait(RENEW_S):
        try:
            ledger.inbox.renew(name, by=name)
        except Transient:  # the next time will do
            continue
