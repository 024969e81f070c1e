"""What people see of a run: progress while it goes, a table at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from time import monotonic
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.futures import PrefectFuture, as_completed

from edge.model.rollout import RolloutState, Wave
from tasks.rollout import RolloutJob

EVERY_S = 2.0


class Progress:
    """A progress artifact that is written at most every two seconds."""

    def __init__(self, title: str, total: int) -> None:
        self.title = title
        self.total = total
        self._artifact = create_progress_artifact(progress=0.0, key=_key(title), description=title)
        self._written = monotonic()

    def show(self, done: int) -> None:
        """`done` of the total are done."""
        if done < self.total and monotonic() - self._written < EVERY_S:
            return
        self._written = monotonic()
        share = 100.0 * done / self.total if self.total else 100.0
        update_progress_artifact(self._artifact, progress=share, description=f"{self.title}: {done} of {self.total}")


def _key(title: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())


class RolloutReport:
    """Progress and result of one rollout."""

    def __init__(self, job: RolloutJob) -> None:
        self.job = job
        self.total = sum(len(wave.sites) for wave in job.plan.waves)
        self.progress = Progress(f"rollout {job.plan.stamp} {job.plan.version}", self.total)
        self._done = len(job.outcomes())
        self._log = get_run_logger()

    def follow(self, wave: Wave, futures: Sequence[PrefectFuture[Any]]) -> None:
        """Wait for the wave's tasks and show how far they are."""
        for future in as_completed(list(futures)):
            self._done += int(future.result(raise_on_failure=True))
            self.progress.show(self._done)
        self._log.info("Wave %s is through: %d of %d sites done", wave.name, self._done, self.total)

    def publish(self, state: RolloutState) -> str:
        """Write the table with a row per site; answers one sentence for the run's state."""
        rollout = self.job.ledger.rollouts.get(self.job.plan.rollout_id)
        rows = [
            {
                "site": row.site,
                "wave": row.wave,
                "outcome": str(row.status or ""),
                "seconds": round(row.seconds, 1),
                "cause": row.cause.message if row.cause else "",
            }
            for row in rollout.sites
        ]
        create_table_artifact(table=rows, key=_key(rollout.plan.rollout_id), description=f"{rollout.plan.stamp}: {state}")
        counts = Counter(str(row["outcome"]) for row in rows)
        return f"{state}: " + ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
