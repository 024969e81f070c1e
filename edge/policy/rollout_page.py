"""A rollout's report as one HTML page, complete in itself: no script, and nothing is asked for from elsewhere.

Every word from outside is escaped, whoever said it: a site's answers end up on this page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Final

from edge.model.report import Evidence, Found
from edge.policy.durations import short_seconds
from edge.policy.rollout_report import RolloutSummary, counts

OPEN_ROWS: Final = 60
"""Longer tables are folded until they are asked for."""

_LONGEST: Final = 400
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE: Final = """
body{font:15px/1.45 system-ui,sans-serif;color:#1a1a1a;max-width:1100px;margin:2em auto;padding:0 1em}
table{border-collapse:collapse;margin:.5em 0}th,td{text-align:left;vertical-align:top;padding:.2em .8em .2em 0;
border-bottom:1px solid #ddd;overflow-wrap:anywhere}th{border-bottom:2px solid #888}td.n{text-align:right}
code{font-size:.9em;overflow-wrap:anywhere}svg{max-width:100%;height:auto}.bad{color:#b71c1c}summary{cursor:pointer}
"""


def page(summary: RolloutSummary, plots: Mapping[str, str], now: datetime) -> str:
    """The page. `plots` are SVG texts under the headings that they belong to: `durations`, `causes`, `timeline`."""
    title = f"Rollout of {summary.stamp} {summary.version}"
    parts = (
        f"<h1>{escape(title)}</h1>",
        _head(summary),
        _section("Failures by cause", plots.get("causes", ""), _causes(summary)),
        _section("Duration by site and wave", plots.get("durations", ""), _waves(summary)),
        _section("Timeline", plots.get("timeline", ""), _gates(summary)),
        _section("Catching up", _catch_up(summary)),
        _section("Evidence", _evidence(summary.evidence)),
        _section("Sites", _sites(summary), _snapshots(summary)),
        f"<p>Made {_moment(now)}.</p>",
    )
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    top = f'<!doctype html>\n<html lang="en"><head>{head}<title>{escape(title)}</title><style>{_STYLE}</style></head>'
    return f"{top}\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"


def _section(title: str, *parts: str) -> str:
    return f"<h2>{title}</h2>\n" + "\n".join(part for part in parts if part)


def _head(summary: RolloutSummary) -> str:
    rows = [
        ("Rollout", summary.rollout_id),
        ("State", f"{summary.state}{f', waiting: {summary.waiting}' if summary.waiting else ''}"),
        ("Sites", counts(summary.outcomes)),
        ("Started", _moment(summary.started_at)),
        ("Ended", _moment(summary.ended_at)),
    ]
    return _table((), rows)


def _causes(summary: RolloutSummary) -> str:
    if not summary.causes:
        return "<p>None.</p>"
    rows = [(one.sites, one.code, one.first, one.example, one.remedy) for one in summary.causes]
    return _table(("sites", "cause", "first", "said there", "remedy"), rows)


def _waves(summary: RolloutSummary) -> str:
    columns = ("wave", "sites", "outcomes", "started", "ended", "median", "p95", "longest")
    rows = [
        (
            f"{line.wave} {line.name}",
            line.sites,
            counts(line.outcomes),
            _moment(line.started_at),
            _moment(line.ended_at),
            *map(short_seconds, (line.median_s, line.p95_s, line.longest_s)),
        )
        for line in summary.waves
    ]
    return _table(columns, rows)


def _gates(summary: RolloutSummary) -> str:
    rows = [
        (gate.wave, gate.when, gate.state, _moment(gate.asked_at), _moment(gate.decided_at), gate.by, gate.reason)
        for gate in summary.gates
    ]
    return _table(("wave", "approval", "answer", "asked", "answered", "by", "reason"), rows) if rows else ""


def _catch_up(summary: RolloutSummary) -> str:
    did = summary.catch_up
    words = ("away", "open", "met", "missed", "quarantined")
    if not any(getattr(did, word) for word in words):
        return "<p>No site has to catch up.</p>"
    rows = [(*(getattr(did, word) for word in words), short_seconds(did.median_s), short_seconds(did.p95_s))]
    return _table((*words, "median from return", "p95"), rows)


def _evidence(evidence: Evidence) -> str:
    rows = [
        ("Plan, SHA-256", evidence.plan_digest),
        ("Stamp, SHA-256", evidence.stamp_digest),
        ("Snapshots kept", str(evidence.snapshots)),
        ("Audit trail", evidence.chain or "not verified for this page"),
    ]
    said = [
        (one.sequence, _moment(one.at), one.actor, one.action, one.detail, one.digest[:16]) for one in evidence.said
    ]
    return "\n".join(
        (
            _table((), rows),
            "<h3>Who did what</h3>",
            _table(("row", "at", "who", "what", "more", "digest"), said),
            _found("Rules that objects broke", evidence.violations),
            _found("Rules that were waived", evidence.waivers),
            _found("Warnings", evidence.warnings),
        )
    )


def _found(title: str, found: Sequence[Found]) -> str:
    body = _table(("sites", "what"), [(one.sites, one.text) for one in found]) if found else "<p>None.</p>"
    return f"<h3>{title}</h3>\n{body}"


def _sites(summary: RolloutSummary) -> str:
    """What went wrong first; the rest in the order of the plan."""
    lines = sorted(summary.sites, key=lambda line: line.outcome == "succeeded")
    columns = ("site", "wave", "before", "after", "outcome", "seconds", "cause", "remedy")
    rows = [
        (line.site, line.wave_name, line.before, line.after, line.outcome, line.seconds, line.cause, line.remedy)
        for line in lines
    ]
    return _folded(f"{len(rows)} sites", _table(columns, rows), len(rows))


def _snapshots(summary: RolloutSummary) -> str:
    rows = [(line.site, line.snapshot) for line in summary.sites if line.snapshot]
    table = _table(("site", "SHA-256 of the snapshot before the first change"), rows)
    return _folded(f"{len(rows)} snapshots", table, OPEN_ROWS + 1) if rows else ""


def _folded(title: str, body: str, rows: int) -> str:
    is_open = " open" if rows <= OPEN_ROWS else ""
    return f"<details{is_open}><summary>{title}</summary>\n{body}\n</details>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "<tr>" + "".join(f"<th>{column}" for column in columns) + "\n" if columns else ""
    return "<table>\n" + head + "".join(_row(row) for row in rows) + "</table>"


def _row(cells: Sequence[object]) -> str:
    return "<tr>" + "".join(_cell(cell) for cell in cells) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, int | float):
        return f'<td class="n">{value}'
    text = "" if value is None else str(value)
    return "<td>" + escape(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


def _moment(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC") if at else ""
