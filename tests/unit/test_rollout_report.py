"""The report of a rollout: its lines, its evidence, and a page that holds no script and asks for nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from edge.model.audit import AuditEntry
from edge.model.outcome import Cause, Status
from edge.model.report import SiteLine
from edge.model.rollout import Rollout, RolloutPlan, RolloutState, SiteProgress, Strategy, Wave, WaveTimes
from edge.model.step import Detail, StepKey, StepRecord, StepState
from edge.policy.rollout_page import page
from edge.policy.rollout_report import RolloutSummary, Sources, summarize, table_rows, timeline_markdown

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HAD = '{"version":"1.0.0","site":"a"}'
REFUSED = Cause(code="rejected", reason="admission", message="No <b>room</b>. Make room", remedy="Make room")


def step(site: str, name: str, state: StepState = StepState.DONE, detail: Detail | None = None) -> StepRecord:
    key = StepKey(work="rollout:r1", subject=site, step=name)
    return StepRecord(key=key, state=state, tries=1, started_at=NOW, ended_at=NOW, detail=detail or {})


def plan_of(*names: str) -> RolloutPlan:
    waves = (
        Wave(index=0, name="canary", sites=names[:1], failure_budget=0, canary=True),
        Wave(index=1, name="wave 1", sites=names[1:], failure_budget=1),
    )
    return RolloutPlan(
        rollout_id="r1", stamp="line", version="2.0.0", digest="d" * 64, strategy=Strategy(), waves=waves
    )


def row(site: str, status: Status | None, cause: Cause | None = None, **more: object) -> SiteProgress:
    times = {"started_at": NOW, "ended_at": NOW + timedelta(seconds=5)} if status else {}
    fields = {"site": site, "wave": 1, "seconds": 5.0, "status": status, "cause": cause, **times, **more}
    return SiteProgress.model_validate(fields)


def sources(*rows: SiteProgress, records: tuple[StepRecord, ...] = (), **more: object) -> Sources:
    plan = plan_of("canary-site", *(one.site for one in rows))
    sites = (row("canary-site", Status.SUCCEEDED, wave=0), *rows)
    ended = NOW + timedelta(seconds=20)
    rollout = Rollout(plan=plan, state=RolloutState.FAILED, started_at=NOW, ended_at=ended, sites=sites)
    fields = {"rollout": rollout, "records": records, "waves": {0: WaveTimes(started_at=NOW, ended_at=NOW)}, **more}
    return Sources.model_validate(fields)


def summary(*rows: SiteProgress, records: tuple[StepRecord, ...] = (), **more: object) -> RolloutSummary:
    return summarize(sources(*rows, records=records, **more), NOW)


def line_of(found: RolloutSummary, site: str) -> SiteLine:
    return next(line for line in found.sites if line.site == site)


PREPARED = step("a", "prepare", detail={"had": HAD, "snapshot": "5" * 64})


@pytest.mark.parametrize(
    ("status", "records", "after"),
    [
        pytest.param(Status.SUCCEEDED, (PREPARED,), "2.0.0", id="succeeded"),
        pytest.param(Status.ROLLED_BACK, (PREPARED, step("a", "apply")), "1.0.0", id="taken-back"),
        pytest.param(Status.FAILED, (PREPARED,), "1.0.0", id="failed-before-the-first-change"),
        pytest.param(Status.FAILED, (PREPARED, step("a", "apply", StepState.FAILED)), "2.0.0, in part", id="half-way"),
        pytest.param(Status.FAILED, (PREPARED, step("a", "apply")), "2.0.0", id="applied-and-not-healthy"),
        pytest.param(None, (PREPARED,), "", id="still-open"),
    ],
)
def test_a_line_says_what_the_site_had_and_what_it_has(
    status: Status | None, records: tuple[StepRecord, ...], after: str
) -> None:
    line = line_of(summary(row("a", status), records=records), "a")
    assert (line.before, line.after) == ("1.0.0", after)


def test_the_table_has_a_row_per_site_with_cause_and_remedy() -> None:
    rows = table_rows(summary(row("a", Status.FAILED, REFUSED), records=(PREPARED,)))
    assert rows[1] == {
        "site": "a",
        "wave": "wave 1",
        "before": "1.0.0",
        "after": "1.0.0",
        "outcome": "failed",
        "seconds": 5.0,
        "cause": "No <b>room</b>",
        "remedy": "Make room",
    }


def test_causes_are_counted_the_commonest_first() -> None:
    silent = Cause(code="site-silent", message="Nobody answers")
    rows = (row("a", Status.FAILED, silent), row("b", Status.FAILED, REFUSED), row("c", Status.FAILED, REFUSED))
    found = [(line.code, line.sites, line.first) for line in summary(*rows).causes]
    assert found == [("rejected/admission", 2, "b"), ("site-silent", 1, "a")]


def test_the_evidence_has_digests_waivers_violations_and_who_said_what() -> None:
    waived = step("a", "prepare", detail={"waived": ["no-latest on Pod x by ada"], "snapshot": "5" * 64})
    broken = Cause(code="policy-violated", reason="no-host-path", message="Objects break rules")
    refused = step("b", "prepare", StepState.FAILED).model_copy(update={"cause": broken})
    said = {"at": NOW, "subject": "r1", "previous": "0" * 64, "digest": "e" * 64}
    entry = AuditEntry(sequence=7, actor="ada", action="rollout.paused", detail={"reason": "lunch", "x": None}, **said)
    found = sources(row("a", Status.SUCCEEDED), records=(waived, refused), entries=(entry,))
    evidence = summarize(found, NOW).evidence
    assert evidence.stamp_digest == "d" * 64
    assert re.fullmatch("[0-9a-f]{64}", evidence.plan_digest)
    assert [(one.text, one.sites) for one in evidence.waivers] == [("no-latest on Pod x by ada", 1)]
    assert [one.text for one in evidence.violations] == ["no-host-path: Objects break rules"]
    assert [(one.actor, one.action, one.detail) for one in evidence.said] == [("ada", "rollout.paused", "reason lunch")]
    assert evidence.snapshots == 1


def test_another_plan_has_another_digest() -> None:
    digests = {summary(row(site, None)).evidence.plan_digest for site in ("a", "b")}
    assert len(digests) == 2


class Seen(HTMLParser):
    """Tags, and whatever would make a browser ask somebody."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.asks: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.asks += [str(value) for word, value in attrs if word in ("src", "href") and not str(value).startswith("#")]
        self.asks += [word for word, _ in attrs if word.startswith("on")]


def test_the_page_escapes_what_sites_say_and_asks_for_nothing() -> None:
    nasty = Cause(code="rejected", message="<script>alert(1)</script><img src=x onerror=y>", remedy='"><svg onload=z>')
    text = page(summary(row("a", Status.FAILED, nasty)), {"causes": "<svg></svg>"}, NOW)
    seen = Seen()
    seen.feed(text)
    assert seen.asks == []
    assert not seen.tags & {"script", "img", "link", "iframe", "object"}
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text
    assert "&lt;script&gt;alert(1)" in text


def test_long_tables_are_folded_and_a_thousand_sites_stay_small() -> None:
    rows = [row(f"site-{number}", Status.FAILED, REFUSED) for number in range(1000)]
    text = page(summary(*rows), {}, NOW)
    assert "<details><summary>1001 sites" in text
    assert len(text) < 500_000


def test_the_timeline_has_a_bar_per_wave_and_site() -> None:
    first, *rest = timeline_markdown(
        summary(
            row("a", Status.SUCCEEDED, started_at=NOW + timedelta(seconds=10), ended_at=NOW + timedelta(seconds=20))
        ),
        NOW,
    ).splitlines()
    assert first.startswith("| what | 12:00:00 to 12:00:20 UTC")
    assert [line.split("|")[1].strip() for line in rest[1:]] == ["wave canary", "canary-site", "a"]
    assert f"`{'·' * 20}{'█' * 20}`" in rest[-1]


def test_of_many_sites_the_timeline_shows_the_slowest() -> None:
    rows = [row(f"site-{number}", Status.SUCCEEDED, seconds=float(number)) for number in range(300)]
    text = timeline_markdown(summary(*rows), NOW)
    assert "| site-299 |" in text
    assert "| site-1 |" not in text
    assert text.endswith("The 200 slowest of 301 sites are shown.")
