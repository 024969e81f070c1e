"""`edge drift`: where sites differ from what was put there, who changed it and since when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from edge.cli.context import has_server, open_ledger
from edge.cli.output import BAD_OUTCOME, JsonFlag, counted, emit, speaks, table
from edge.cli.runs import keep_prefect_quiet, start_on_pool
from edge.cli.site_choice import OnlyLabels, OnlyRegion, OnlySites, OnlyTenant, chosen
from edge.errors import OperationFailed
from edge.model.drift import DriftOrder, DriftRule, Finding
from edge.policy.drift_report import is_sentence
from edge.policy.site import select_sites

app = typer.Typer()

DEPLOYMENT = "detect-drift/default"
COLUMNS = ("site", "stamp", "what", "object", "field", "wanted", "found", "who", "since")


@app.command("list")
@speaks
def list_drift(
    site: Annotated[str | None, typer.Option(help="Only this site's.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the drift that the last look found. Times are UTC."""
    with open_ledger() as ledger:
        if site is not None:
            ledger.sites.get(site)
        found = ledger.drift.list(site=site)
    _print(found, counted(len(found), "difference"), as_json=as_json)


def _print(found: Sequence[Finding], title: str, *, as_json: bool, said: str = "") -> None:
    rows = [
        (
            one.site,
            one.stamp,
            one.kind,
            one.ref,
            one.path,
            one.wanted,
            one.found,
            one.manager or "unknown",
            _since(one),
        )
        for one in found
    ]
    data: Any = [one.model_dump(mode="json") for one in found]
    emit({"said": said, "findings": data} if said else data, table(title, COLUMNS, rows), as_json=as_json)


def _since(one: Finding) -> str:
    if one.since is not None:
        return one.since.strftime("%Y-%m-%d %H:%M:%S")
    return f"before {one.first_seen:%Y-%m-%d %H:%M:%S}" if one.first_seen else ""


@app.command("detect")
@speaks
def detect(
    site: OnlySites = None,
    tenant: OnlyTenant = None,
    region: OnlyRegion = None,
    label: OnlyLabels = None,
    stamp: Annotated[list[str] | None, typer.Option(help="Only this stamp; may be given several times.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="A field's path, * for any text, such as .spec.*.")] = None,
    ignore_manager: Annotated[list[str] | None, typer.Option(help="A manager whose changes are ignored.")] = None,
    mend: Annotated[bool, typer.Option("--mend", help="Apply again what differs, by the rollout's own rules.")] = False,
    here: Annotated[bool, typer.Option("--here", help="Run in this process instead of on a worker.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Look at sites now, and show what differs; the exit code is 1 when something does.

    With a server at PREFECT_API_URL the run is started on its work pool, else in this process.
    """
    names = chosen(site, tenant, region, label)
    rules = [
        *(DriftRule(path=path) for path in ignore or ()),
        *(DriftRule(manager=who) for who in ignore_manager or ()),
    ]
    order = DriftOrder(sites=names, stamps=tuple(stamp or ()), ignore=tuple(rules), mend=mend)
    keep_prefect_quiet()
    start = _start_here if here or not has_server() else partial(start_on_pool, DEPLOYMENT, wait=True)
    with open_ledger() as ledger:
        meant = {found.name for found in select_sites(ledger.sites.list(), order.sites)}
        said = _run(start, order)
        listed = ledger.drift.list()
    found = [one for one in listed if one.site in meant and (not order.stamps or one.stamp in order.stamps)]
    _print(found, said, as_json=as_json, said=said)
    if found:
        raise typer.Exit(BAD_OUTCOME)


def _run(start: Callable[[dict[str, Any]], str], order: DriftOrder) -> str:
    """Run it; what it said. Raises OperationFailed when it said nothing of sites."""
    said = start(order.model_dump(mode="json"))
    if not is_sentence(said):
        raise OperationFailed(f"The run ended without a result: {said}")
    return said


def _start_here(parameters: dict[str, Any]) -> str:
    """Run the flow in this process; Prefect starts a server of its own for it."""
    from flows.detect_drift import detect_drift  # noqa: PLC0415 - Prefect takes a second to import

    return str(detect_drift(**parameters, return_state=True).message)
