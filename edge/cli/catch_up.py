"""`edge catch-up`: sites that missed a version while they were away, and what a person has to let pass."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from edge.cli.context import open_ledger
from edge.cli.output import JsonFlag, console, counted, emit, speaks, table
from edge.model.placement import CatchUp
from edge.policy.catching_up import CatchUpReport, due_by, objective_met, objective_report

app = typer.Typer(help="Sites that were away: list what they missed, approve.")

All = Annotated[bool, typer.Option("--all", help="Also those that have ended.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many with --all, newest first.")]
SiteArg = Annotated[str, typer.Argument(metavar="SITE", help="The site's name.")]
StampArg = Annotated[str, typer.Argument(metavar="STAMP", help="The stamp's name.")]
By = Annotated[str | None, typer.Option("--by", help="Who says so; the user of this machine when not given.")]

_COLUMNS = ("site", "stamp", "version", "state", "back since", "due by", "objective", "why")
_MET = {True: "met", False: "missed", None: ""}


@app.command("list")
@speaks
def list_catch_ups(all_: All = False, limit: Limit = 50, as_json: JsonFlag = False) -> None:
    """Show which sites have something to catch up with, and whether it came soon enough."""
    now = datetime.now(UTC)
    with open_ledger() as ledger:
        latest = ledger.catch_ups.list(limit)
        items = latest if all_ else ledger.catch_ups.open()
    report = objective_report(latest, now)
    data = {"catch_ups": [_said(item, now) for item in items], "report": report.model_dump(mode="json")}
    emit(data, table(counted(len(items), "catch-up"), _COLUMNS, [_row(item, now) for item in items]), as_json=as_json)
    if not as_json:
        console.print(_sentence(report))


@app.command()
@speaks
def approve(site: SiteArg, stamp: StampArg, by: By = None, as_json: JsonFlag = False) -> None:
    """Let a site pass that changed in ways nobody expected: it gets its version with the next run of catching up.

    Objects that others own are not taken from them, whatever is approved here.
    """
    with open_ledger() as ledger:
        item = ledger.catch_ups.approve(site, stamp, by=by or getpass.getuser())
    now = datetime.now(UTC)
    emit(_said(item, now), table("Approved", _COLUMNS, [_row(item, now)]), as_json=as_json)


def _said(item: CatchUp, now: datetime) -> dict[str, Any]:
    end = due_by(item)
    more = {"due_by": end.isoformat() if end else None, "objective_met": objective_met(item, now)}
    return {**item.model_dump(mode="json"), **more}


def _row(item: CatchUp, now: datetime) -> Sequence[object]:
    times = (_time(item.returned_at) or "away", _time(due_by(item)))
    why = item.reason or (f"approved by {item.approved_by}" if item.approved_by else "")
    return (item.site, item.stamp, item.version, item.state, *times, _MET[objective_met(item, now)], why)


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else ""


def _sentence(report: CatchUpReport) -> str:
    took = "" if report.median_s is None else f"; half took less than {report.median_s:.0f} s"
    return (
        f"Objectives of the latest: {report.met} met, {report.missed} missed, {report.open} open, {report.away} away, "
        f"{report.quarantined} in quarantine{took}"
    )
