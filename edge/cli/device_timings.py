"""`edge device timings`: where the time of onboardings went, over the fleet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group

from edge.cli.context import open_ledger
from edge.cli.output import JsonFlag, console, emit, speaks, table
from edge.model.timing import FailureCount, FleetTimings, SpanTiming
from edge.policy.durations import parse_duration, short_seconds
from edge.policy.fleet_timing import WHOLE, fleet_timings
from edge.policy.onboarding import ATTEMPTS

_BAR = 24
"""The longest bar, in characters."""


@speaks
def timings(
    since: Annotated[str, typer.Option(help="Only steps begun within this time: 90s, 30m, 12h, 7d, 2w.")] = "",
    tenant: Annotated[str | None, typer.Option(help="Only devices of this tenant.")] = None,
    step: Annotated[str, typer.Option(help="Only this step, and what is inside of it.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Show how long onboarding takes: median, p95 and longest by step, what is waited for, and what failed."""
    after = datetime.now(UTC) - parse_duration(since, field="--since") if since else None
    with open_ledger() as ledger:
        devices = {device.device_id: device for device in ledger.devices.list(tenant=tenant)}
        records = ledger.steps.fleet("onboarding:", since=after)
        attempts = ledger.steps.fleet(ATTEMPTS, since=after)
    found = fleet_timings(records, devices, step=step, attempts=attempts)
    if as_json:
        emit(found.model_dump(mode="json"), "", as_json=True)
        return
    console.print(_drawn(found))


def _drawn(found: FleetTimings) -> Group:
    columns = ("step", "devices", "median", "p95", "longest", "slowest", "share of all time", "waits for", "tries")
    spans = table(f"Onboarding of {found.devices} devices", columns, [_row(span, found) for span in found.spans])
    if not found.failures:
        return Group(spans)
    heads = ("failed at", "cause", "devices", "again?", "what was said of one", "what to do")
    return Group(spans, table("Failures by cause", heads, [_failure(one) for one in found.failures]))


def _row(span: SpanTiming, found: FleetTimings) -> tuple[object, ...]:
    name = f"  {span.name}" if span.part_of else span.name
    seconds = [short_seconds(value) for value in (span.median_s, span.p95_s, span.longest_s)]
    return (name, span.devices, *seconds, span.slowest, bar(span, found.spans), span.waits_for, _tries(span))


def _tries(span: SpanTiming) -> str:
    counts = ((span.tries, ""), (span.failed, " failed"), (span.open, " open"))
    return ", ".join(f"{count}{word}" for count, word in counts if count)


def bar(span: SpanTiming, spans: Sequence[SpanTiming]) -> str:
    """The span's share of all time, as a bar: of all devices together, so that what costs most is longest."""
    longest = max((one.total_s for one in spans if one.name != WHOLE), default=0.0)
    if span.name == WHOLE or longest <= 0:
        return ""
    share = span.total_s / longest
    return "█" * int(share * _BAR) + ("▌" if share * _BAR % 1 >= 0.5 else "")


def _failure(one: FailureCount) -> tuple[object, ...]:
    cause = f"{one.code} ({one.reason})" if one.reason else one.code
    return (one.step, cause, one.devices, "yes" if one.transient else "no", one.message, one.remedy)
