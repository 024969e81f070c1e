"""`edge rollout`: what was rolled out, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.table import Table

from edge.cli.context import open_ledger
from edge.cli.output import BAD_OUTCOME, JsonFlag, emit, speaks, table
from edge.cli.rollout_control import approve, cancel, pause, reject, resume, retry
from edge.model.outcome import Status
from edge.model.rollout import Rollout, RolloutState

app = typer.Typer(help="Rollouts.")
for word in (pause, resume, cancel, retry, approve, reject):
    app.command()(word)

Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many, newest first.")]
RolloutIdArg = Annotated[str, typer.Argument(metavar="ROLLOUT", help="The rollout's id.")]
Steps = Annotated[bool, typer.Option("--steps", help="Also how long each step took over all sites.")]


@app.command("list")
@speaks
def list_rollouts(limit: Limit = 20, as_json: JsonFlag = False) -> None:
    """Show the latest rollouts and how their sites did."""
    with open_ledger() as ledger:
        found = [(rollout, ledger.rollouts.tally(rollout.plan.rollout_id)) for rollout in ledger.rollouts.list(limit)]
    columns = ("rollout", "stamp", "version", "state", "started", "ended", "sites")
    data = [_summary(rollout, tally) for rollout, tally in found]
    rows = [[*list(line.values())[:-1], _counts(tally)] for line, (_, tally) in zip(data, found, strict=True)]
    emit(data, table(f"{len(found)} rollouts", columns, rows), as_json=as_json)


@app.command()
@speaks
def status(rollout: RolloutIdArg, steps: Steps = False, as_json: JsonFlag = False) -> None:
    """Show each site of a rollout. Exit code 1 when the rollout failed or was stopped."""
    with open_ledger() as ledger:
        found = ledger.rollouts.get(rollout)
        tally = ledger.rollouts.tally(rollout)
        timings = ledger.steps.timings(f"rollout:{rollout}") if steps else ()
    data = _summary(found, tally) | {"waves": [wave.name for wave in found.plan.waves]}
    data["progress"] = [site.model_dump(mode="json") for site in found.sites]
    if steps:
        data["steps"] = [timing.model_dump() for timing in timings]
    emit(data, rollout_table(found, tally), as_json=as_json)
    if steps and not as_json:
        columns = ("step", "done", "failed", "open", "median s", "p95 s", "longest s")
        emit(None, table("Steps", columns, [list(timing.model_dump().values()) for timing in timings]), as_json=False)
    if found.state in (RolloutState.FAILED, RolloutState.STOPPED):
        raise typer.Exit(BAD_OUTCOME)


def _summary(rollout: Rollout, tally: Mapping[Status | None, int]) -> dict[str, object]:
    return {
        "rollout": rollout.plan.rollout_id,
        "stamp": rollout.plan.stamp,
        "version": rollout.plan.version,
        "state": rollout.state,
        "started_at": rollout.started_at.isoformat(timespec="seconds"),
        "ended_at": rollout.ended_at.isoformat(timespec="seconds") if rollout.ended_at else None,
        "sites": {word or "open": count for word, count in tally.items()},
    }


def _counts(tally: Mapping[Status | None, int]) -> str:
    return ", ".join(
        f"{count} {word or 'open'}" for word, count in sorted(tally.items(), key=lambda item: item[0] or "")
    )


def rollout_table(rollout: Rollout, tally: Mapping[Status | None, int]) -> Table:
    """A row per site of a rollout."""
    names = {wave.index: wave.name for wave in rollout.plan.waves}
    rows = [
        (
            site.site,
            names.get(site.wave, site.wave),
            site.status or ("running" if site.started_at else ""),
            f"{site.seconds:.1f}" if site.status else None,
            site.cause.message if site.cause else None,
        )
        for site in rollout.sites
    ]
    plan = rollout.plan
    title = f"{plan.rollout_id}: {plan.stamp} {plan.version} {rollout.state} ({_counts(tally)})"
    return table(title, ("site", "wave", "outcome", "seconds", "cause"), rows)
