"""`edge rollout`: what was rolled out, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from edge.cli.context import open_ledger
from edge.cli.output import BAD_OUTCOME, JsonFlag, counted, emit, plain, speaks, table
from edge.cli.rollout_control import approve, cancel, pause, reject, resume, retry
from edge.cli.rollout_report import report
from edge.model.outcome import Status
from edge.model.rollout import ENDED, Gate, Rollout, RolloutState, Wave, WaveTimes
from edge.model.step import StepTiming

app = typer.Typer(help="Rollouts.")
for word in (report, pause, resume, cancel, retry, approve, reject):
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
    columns = ("rollout", "stamp", "version", "state", "started (UTC)", "ended (UTC)", "sites")
    data = [_summary(rollout, tally) for rollout, tally in found]
    rows = [(*_short(rollout), _counts(tally)) for rollout, tally in found]
    emit(data, table(counted(len(found), "rollout"), columns, rows), as_json=as_json)


@app.command()
@speaks
def status(rollout: RolloutIdArg, steps: Steps = False, as_json: JsonFlag = False) -> None:
    """Show what a rollout waits for, its waves, approvals and sites. Exit code 1 when it ended otherwise than well."""
    with open_ledger() as ledger:
        found = ledger.rollouts.get(rollout)
        tally = ledger.rollouts.tally(rollout)
        times = ledger.rollouts.facts(rollout, now=datetime.now(UTC)).waves
        timings = ledger.steps.timings(f"rollout:{rollout}") if steps else ()
    data = _summary(found, tally) | {"waves": [wave.name for wave in found.plan.waves]}
    data |= {"waiting": found.waiting, "wake_at": found.wake_at, "gates": _plain(found.gates)}
    data["wave_times"] = {wave.name: times[wave.index].model_dump() for wave in found.plan.waves if wave.index in times}
    data["progress"] = [site.model_dump(mode="json") for site in found.sites]
    if steps:
        data["steps"] = [timing.model_dump() for timing in timings]
    emit(data, Group(*_above(found, times), rollout_table(found, tally)), as_json=as_json)
    if steps and not as_json:
        columns = ("step", "done", "failed", "open", "median s", "p95 s", "longest s")
        emit(None, table("Steps", columns, [_timing_row(timing) for timing in timings]), as_json=False)
    if found.state in ENDED and found.state is not RolloutState.SUCCEEDED:
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


def _short(rollout: Rollout) -> tuple[object, ...]:
    plan = rollout.plan
    return (
        plan.rollout_id,
        plan.stamp,
        plan.version,
        rollout.state,
        _time(rollout.started_at),
        _time(rollout.ended_at),
    )


def _timing_row(timing: StepTiming) -> tuple[object, ...]:
    seconds = (timing.median_s, timing.p95_s, timing.longest_s)
    return (timing.step, timing.done, timing.failed, timing.open, *("" if s is None else f"{s:.2f}" for s in seconds))


def _plain(gates: Sequence[Gate]) -> list[dict[str, object]]:
    return [gate.model_dump(mode="json") for gate in gates]


def _above(rollout: Rollout, times: Mapping[int, WaveTimes]) -> list[Table | Text]:
    """What it waits for, its waves, and its approvals."""
    until = f" (until {_time(rollout.wake_at)})" if rollout.wake_at else ""
    waits = [Text(f"waiting: {plain(rollout.waiting)}{until}", style="bold")] if rollout.waiting else []
    columns = ("sites", "of them done", "started (UTC)", "ended (UTC)")
    waves = [(wave.name, *_wave_row(rollout, wave, times.get(wave.index, WaveTimes()))) for wave in rollout.plan.waves]
    gates = [(gate.wave, gate.when, gate.state, _time(gate.asked_at), gate.by, gate.reason) for gate in rollout.gates]
    asked = [table("Approvals", ("wave", "when", "answer", "asked (UTC)", "by", "reason"), gates)] if gates else []
    return [*waits, table("Waves", ("wave", *columns), waves), *asked]


def _wave_row(rollout: Rollout, wave: Wave, times: WaveTimes) -> tuple[object, ...]:
    done = sum(site.status is not None for site in rollout.sites if site.wave == wave.index)
    return (len(wave.sites), done, _time(times.started_at), _time(times.ended_at))


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else ""


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
