"""What people see of a rollout in Prefect: how far it is and what it waits for, then a table and a timeline."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.futures import PrefectFuture, as_completed

from edge.model.rollout import NextAct, RolloutState
from edge.policy.rollout_report import counts, summarize, table_rows, timeline_markdown
from tasks.report import Progress, key_of
from tasks.rollout_sources import sources_of
from tasks.waves import WavesJob

MOST_ROWS = 3000
"""An artifact is one document on the server; `edge rollout report` has everything."""


class RolloutReport:
    """Progress and result of one rollout."""

    def __init__(self, job: WavesJob) -> None:
        self.job = job
        self.total = sum(len(wave.sites) for wave in job.plan.waves)
        self.progress = Progress(f"rollout {job.plan.stamp} {job.plan.version}", self.total)
        self._log = get_run_logger()
        self._told = ""

    def follow(self, what: str, futures: Sequence[PrefectFuture[Any]]) -> None:
        """Wait for these tasks and show how far they are. Raises what a task raised: that is a defect."""
        for future in as_completed(list(futures)):
            future.result()
            self.look(what)
        self._log.info("Through with %s: %d of %d sites have ended", what, self._done(), self.total)

    def look(self, doing: str = "") -> None:
        """Show how far it is, when it is time to."""
        if self.progress.is_due:
            self.progress.show(self._done(), doing)

    def waiting(self, act: NextAct) -> None:
        """Show what it waits for, and for which wave; again only when that has changed."""
        wave = f"wave {self._wave_name(act.wave)} waits: " if act.wave is not None else "waits: "
        until = f" (until {act.until:%Y-%m-%d %H:%M:%S} UTC)" if act.until else ""
        said = f"{wave}{act.why}{until}"
        if said != self._told and (not self._told or self.progress.is_due):
            self._told = said
            self.progress.show(self._done(), said)

    def _wave_name(self, index: int) -> str:
        return next((wave.name for wave in self.job.plan.waves if wave.index == index), str(index))

    def _done(self) -> int:
        tally = self.job.ledger.rollouts.tally(self.job.plan.rollout_id)
        return sum(count for status, count in tally.items() if status is not None)

    def publish(self, state: RolloutState) -> str:
        """Write the table with a row per site and the timeline; answers one sentence for the run's state."""
        now, plan = datetime.now(UTC), self.job.plan
        summary = summarize(sources_of(self.job.ledger, plan.rollout_id, now), now)
        rows, said = table_rows(summary), f"{plan.stamp}: {state}"
        if len(rows) > MOST_ROWS:
            said += f"; {MOST_ROWS} of {len(rows)} rows are shown, `edge rollout report` has all"
        self.progress.show(self._done(), str(state))
        create_table_artifact(table=rows[:MOST_ROWS], key=key_of(plan.rollout_id), description=said)
        create_markdown_artifact(
            timeline_markdown(summary, now),
            key=key_of(f"{plan.rollout_id} timeline"),
            description=f"{plan.stamp}: when each wave and site was worked on",
        )
        return f"{state}: {counts(summary.outcomes)}"
