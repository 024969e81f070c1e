"""`edge rollout report`: what a rollout did, why sites failed, and the evidence, for people, programs and auditors."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.table import Table

from edge.cli.context import open_ledger
from edge.cli.output import JsonFlag, counted, emit, speaks, table
from edge.errors import ChainBroken, InvalidInput
from edge.policy.durations import short_seconds
from edge.policy.rollout_page import page
from edge.policy.rollout_report import RolloutSummary, counts, summarize

if TYPE_CHECKING:
    from edge.ledger import Ledger

RolloutArg = Annotated[str, typer.Argument(metavar="ROLLOUT", help="The rollout's id.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page that needs no network.")]


@speaks
def report(rollout: RolloutArg, html: Html = None, as_json: JsonFlag = False) -> None:
    """Tell what a rollout did: waves, causes, catching up, and evidence from the audit trail, which is verified."""
    from tasks.rollout_sources import sources_of  # noqa: PLC0415 - the database takes long to import

    now = datetime.now(UTC)
    with open_ledger() as ledger:
        summary = with_chain(summarize(sources_of(ledger, rollout, now), now), ledger)
    if html is not None:
        _write(html, summary, now)
    emit(summary.model_dump(mode="json"), Group(*_drawn(summary)), as_json=as_json)


def with_chain(summary: RolloutSummary, ledger: Ledger) -> RolloutSummary:
    """The same with what verifying the audit trail came to. A broken one is told, since the report is about it too."""
    try:
        chain = ledger.audit.verify()
        said = {"chain": f"{chain.count} rows verify, head {chain.head}", "chain_ok": True}
    except ChainBroken as error:
        said = {"chain": f"BROKEN: {error}", "chain_ok": False}
    return summary.model_copy(update={"evidence": summary.evidence.model_copy(update=said)})


def _write(file: Path, summary: RolloutSummary, now: datetime) -> None:
    try:
        file.write_text(page(summary, _plots(summary), now), encoding="utf-8")
    except OSError as theirs:
        why = theirs.strerror or type(theirs).__name__
        raise InvalidInput(f"The page cannot be written: {why}", field="--html", value=str(file)) from theirs


def _plots(summary: RolloutSummary) -> dict[str, str]:
    """SVG texts; one that would have nothing to show is left out."""
    from edge.clients.plots import Bar, Dot, Span, plot_counts, plot_durations, plot_timeline  # noqa: PLC0415 - heavy

    worked = [line for line in summary.sites if line.started_at and line.ended_at]
    dots = [
        Dot(wave=f"{line.wave} {line.wave_name}", seconds=line.seconds, outcome=line.outcome)
        for line in sorted(worked, key=lambda line: line.wave)
    ]
    spans = [
        Span(name=line.site, begin=line.started_at, end=line.ended_at, outcome=line.outcome)
        for line in sorted(worked, key=lambda line: str(line.started_at))
        if line.started_at and line.ended_at
    ]
    bars = [Bar(name=cause.code, count=cause.sites) for cause in summary.causes[:20]]
    drawn = {"durations": plot_durations(dots), "timeline": plot_timeline(spans)} if worked else {}
    return drawn | ({"causes": plot_counts(bars)} if bars else {})


def _drawn(summary: RolloutSummary) -> list[Table]:
    evidence, did = summary.evidence, summary.catch_up
    title = f"{summary.rollout_id}: {summary.stamp} {summary.version} {summary.state} ({counts(summary.outcomes)})"
    waves = [
        (line.name, line.sites, counts(line.outcomes), *map(short_seconds, (line.median_s, line.p95_s, line.longest_s)))
        for line in summary.waves
    ]
    causes = [(one.sites, one.code, one.first, one.example, one.remedy) for one in summary.causes]
    said = [(f"{one.at:%Y-%m-%d %H:%M:%S}", one.actor, one.action, one.detail) for one in evidence.said]
    facts = [
        ("plan, SHA-256", evidence.plan_digest),
        ("stamp, SHA-256", evidence.stamp_digest),
        ("checks", _checks(summary)),
        ("snapshots", f"kept at {counted(evidence.snapshots, 'site')}"),
        ("catching up", f"{did.away} away, {did.open} open, {did.met} in time, {did.missed} late or failed"),
        ("audit trail", evidence.chain),
    ]
    return [
        table(title, ("wave", "sites", "outcomes", "median", "p95", "longest"), waves),
        *([table("Causes", ("sites", "cause", "first", "said there", "remedy"), causes)] if causes else []),
        table("Evidence", ("what", "found"), facts),
        table("Who did what (UTC)", ("at", "who", "what", "more"), said),
    ]


def _checks(summary: RolloutSummary) -> str:
    parts = {"broken": summary.evidence.violations, "waived": summary.evidence.waivers}
    said = [f"{one.text} ({counted(one.sites, 'site')}, {word})" for word, found in parts.items() for one in found]
    return "; ".join(said) or "no rule was broken or waived"
