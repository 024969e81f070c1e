"""What is told of a rollout: a line per site, wave and cause, and the evidence, from what the ledger has."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from pydantic import Field

from edge.errors import PolicyViolated
from edge.model.audit import AuditEntry
from edge.model.base import Value
from edge.model.outcome import Cause, Status
from edge.model.placement import CatchUp
from edge.model.report import CauseLine, Evidence, Found, Said, SiteLine, WaveLine
from edge.model.rollout import Gate, Rollout, RolloutPlan, RolloutState, SiteProgress, Wave, WaveTimes
from edge.model.step import StepRecord, StepState, StepTiming
from edge.policy.catching_up import CatchUpReport, objective_report
from edge.policy.durations import short_seconds
from edge.policy.timing import quantile, timings

_PREPARE, _ROLL_BACK = "prepare", "roll-back"
"""The step whose detail says what a site had before and what the checks said, and the step back."""

_BAR, _BARRED = 40, 200
"""Characters of a bar in a timeline of text, and how many sites get one."""


class Sources(Value):
    """What the ledger has about one rollout. `records`: its steps; `entries`: the audit trail's rows about it."""

    rollout: Rollout
    waves: dict[int, WaveTimes] = Field(default_factory=dict)
    records: tuple[StepRecord, ...] = ()
    catch_ups: tuple[CatchUp, ...] = ()
    entries: tuple[AuditEntry, ...] = ()


class RolloutSummary(Value):
    """The whole report as a value; what commands print with `--json`."""

    rollout_id: str
    stamp: str
    version: str
    state: RolloutState
    waiting: str = ""
    started_at: datetime
    ended_at: datetime | None = None
    outcomes: dict[str, int] = Field(default_factory=dict)
    """How many sites ended in each way; "" counts those that have not."""
    waves: tuple[WaveLine, ...] = ()
    sites: tuple[SiteLine, ...] = ()
    causes: tuple[CauseLine, ...] = ()
    steps: tuple[StepTiming, ...] = ()
    gates: tuple[Gate, ...] = ()
    catch_up: CatchUpReport = CatchUpReport()
    evidence: Evidence
    plan: RolloutPlan


def summarize(found: Sources, now: datetime) -> RolloutSummary:
    """The report, as of `now` (UTC)."""
    rollout, plan = found.rollout, found.rollout.plan
    lines = site_lines(rollout, found.records)
    return RolloutSummary(
        rollout_id=plan.rollout_id,
        stamp=plan.stamp,
        version=plan.version,
        state=rollout.state,
        waiting=rollout.waiting,
        started_at=rollout.started_at,
        ended_at=rollout.ended_at,
        outcomes=dict(Counter(line.outcome for line in lines)),
        waves=wave_lines(plan.waves, lines, found.waves),
        sites=lines,
        causes=cause_lines(rollout.sites),
        steps=timings(found.records),
        gates=rollout.gates,
        catch_up=objective_report(of_rollout(found.catch_ups, plan.rollout_id), now),
        evidence=evidence_of(found),
        plan=plan,
    )


def of_rollout(items: Iterable[CatchUp], rollout_id: str) -> tuple[CatchUp, ...]:
    """Catch-ups that this rollout left behind or brought."""
    return tuple(item for item in items if rollout_id in (item.rollout_id, item.by_rollout))


def site_lines(rollout: Rollout, records: Iterable[StepRecord]) -> tuple[SiteLine, ...]:
    """A line per site, in the order of the plan."""
    names = {wave.index: wave.name for wave in rollout.plan.waves}
    steps: dict[str, list[StepRecord]] = defaultdict(list)
    for record in records:
        steps[record.key.subject].append(record)
    version = rollout.plan.version
    return tuple(_site_line(row, names[row.wave], steps[row.site], version) for row in rollout.sites)


def _site_line(row: SiteProgress, wave_name: str, steps: Sequence[StepRecord], version: str) -> SiteLine:
    detail = next((one.detail for one in steps if one.key.step == _PREPARE and one.state is StepState.DONE), {})
    before = version_before(detail)
    return SiteLine(
        site=row.site,
        wave=row.wave,
        wave_name=wave_name,
        before=before,
        after=_after(row.status, before, version, steps),
        outcome=row.status or "",
        seconds=round(row.seconds, 2),
        code=_code(row.cause),
        cause=row.cause.said if row.cause else "",
        remedy=row.cause.remedy if row.cause else "",
        started_at=row.started_at,
        ended_at=row.ended_at,
        snapshot=str(detail.get("snapshot") or ""),
    )


def version_before(detail: Mapping[str, Any]) -> str:
    """The version that a site had, as its first step put on record; "" when it had none or never came so far."""
    said = str(detail.get("had") or "")
    try:
        had = json.loads(said) if said else {}
    except ValueError:
        return ""
    return str(had.get("version") or "")


def _after(status: Status | None, before: str, version: str, steps: Sequence[StepRecord]) -> str:
    """What is on the site now. A step after the first one changes it; one that is not done may have changed a part."""
    if status is Status.SUCCEEDED:
        return version
    changing = [one for one in steps if one.key.step not in (_PREPARE, _ROLL_BACK)]
    if status is None or status is Status.ROLLED_BACK or not changing:
        return "" if status is None else before
    return version if any(one.state is StepState.DONE for one in changing) else f"{version}, in part"


def _code(cause: Cause | None) -> str:
    if cause is None:
        return ""
    return f"{cause.code}/{cause.reason}" if cause.reason else cause.code


def wave_lines(
    waves: Sequence[Wave], lines: Iterable[SiteLine], times: Mapping[int, WaveTimes]
) -> tuple[WaveLine, ...]:
    """A line per wave, with what its sites took."""
    by_wave: dict[int, list[SiteLine]] = defaultdict(list)
    for line in lines:
        by_wave[line.wave].append(line)
    return tuple(_wave_line(wave, by_wave[wave.index], times.get(wave.index, WaveTimes())) for wave in waves)


def _wave_line(wave: Wave, lines: Sequence[SiteLine], times: WaveTimes) -> WaveLine:
    seconds = sorted(line.seconds for line in lines if line.outcome and line.started_at)
    return WaveLine(
        wave=wave.index,
        name=wave.name,
        sites=len(wave.sites),
        outcomes=dict(Counter(line.outcome for line in lines)),
        started_at=times.started_at,
        ended_at=times.ended_at,
        median_s=quantile(seconds, 0.5),
        p95_s=quantile(seconds, 0.95),
        longest_s=seconds[-1] if seconds else None,
    )


def cause_lines(rows: Iterable[SiteProgress]) -> tuple[CauseLine, ...]:
    """Why sites did not succeed, the commonest cause first."""
    groups: dict[str, list[SiteProgress]] = defaultdict(list)
    for row in rows:
        if row.cause is not None and row.status is not Status.SUCCEEDED:
            groups[_code(row.cause)].append(row)
    lines = [_cause_line(code, found) for code, found in groups.items()]
    return tuple(sorted(lines, key=lambda line: (-line.sites, line.code)))


def _cause_line(code: str, rows: Sequence[SiteProgress]) -> CauseLine:
    cause = rows[0].cause
    assert cause is not None, "sites are grouped by their cause"
    return CauseLine(code=code, sites=len(rows), example=cause.said, remedy=cause.remedy, first=rows[0].site)


def evidence_of(found: Sources) -> Evidence:
    """Who said what, what the checks said, and what was kept; the chain is verified by who has the ledger."""
    plan, prepared = found.rollout.plan, [one for one in found.records if one.key.step == _PREPARE]
    done = [record for record in prepared if record.state is StepState.DONE]
    broken = [one.cause for one in prepared if one.cause is not None and one.cause.code == PolicyViolated.code]
    return Evidence(
        plan_digest=sha256(plan.model_dump_json().encode()).hexdigest(),
        stamp_digest=plan.digest,
        said=tuple(_said(entry) for entry in found.entries),
        violations=_counted(f"{cause.reason}: {cause.said}" for cause in broken),
        waivers=_counted(text for record in done for text in _texts(record, "waived")),
        warnings=_counted(text for record in done for text in _texts(record, "warnings")),
        snapshots=sum(bool(record.detail.get("snapshot")) for record in done),
    )


def _said(entry: AuditEntry) -> Said:
    detail = ", ".join(f"{word} {value}" for word, value in entry.detail.items() if value not in (None, ""))
    return Said(
        sequence=entry.sequence,
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        detail=detail,
        digest=entry.digest,
    )


def _texts(record: StepRecord, word: str) -> Sequence[str]:
    value = record.detail.get(word)
    return value if isinstance(value, list) else ()


def _counted(texts: Iterable[str]) -> tuple[Found, ...]:
    return tuple(Found(text=text, sites=count) for text, count in Counter(texts).most_common())


def table_rows(summary: RolloutSummary) -> list[dict[str, object]]:
    """The rows of the table at a rollout's end."""
    return [
        {
            "site": line.site,
            "wave": line.wave_name,
            "before": line.before,
            "after": line.after,
            "outcome": line.outcome,
            "seconds": round(line.seconds, 1),
            "cause": line.cause,
            "remedy": line.remedy,
        }
        for line in summary.sites
    ]


def counts(outcomes: Mapping[str, int]) -> str:
    """`2 failed, 9 succeeded, 1 open`."""
    return ", ".join(f"{count} {word or 'open'}" for word, count in sorted(outcomes.items()))


def timeline_markdown(summary: RolloutSummary, now: datetime) -> str:
    """When each wave was worked on, and each site where they are few; of many, those that took longest."""
    end = summary.ended_at or now
    worked = sorted((line for line in summary.sites if line.started_at), key=lambda line: str(line.started_at))
    shown = worked if len(worked) <= _BARRED else sorted(worked, key=lambda line: -line.seconds)[:_BARRED]
    more = "" if len(shown) == len(worked) else f"\n\nThe {len(shown)} slowest of {len(worked)} sites are shown."
    names = [(f"wave {line.name}", line.started_at, line.ended_at) for line in summary.waves]
    names += [(line.site, line.started_at, line.ended_at) for line in shown]
    rows = [_timed(name, (begin, until or end), (summary.started_at, end)) for name, begin, until in names if begin]
    head = f"| what | {summary.started_at:%H:%M:%S} to {end:%H:%M:%S} UTC | began | took |\n|---|---|---|---|\n"
    return head + "\n".join(rows) + more


def _timed(name: str, span: tuple[datetime, datetime], whole_span: tuple[datetime, datetime]) -> str:
    (begin, until), (first, last) = span, whole_span
    whole = max((last - first).total_seconds(), 1e-6)
    at = min(_BAR - 1, int(_BAR * (begin - first).total_seconds() / whole))
    wide = max(1, min(_BAR - at, round(_BAR * (until - begin).total_seconds() / whole)))
    bar = "·" * at + "█" * wide + "·" * (_BAR - at - wide)
    seconds = short_seconds((until - begin).total_seconds())
    return f"| {name.replace('|', '/')} | `{bar}` | {begin:%H:%M:%S} | {seconds} |"
