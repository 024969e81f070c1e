"""What people see of a run: progress while it goes, a table at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.futures import PrefectFuture, as_completed

from edge.model.outcome import Outcome, Status
from edge.model.rollout import RolloutState
from edge.policy.bulk import summary_markdown
from tasks.waves import WavesJob

EVERY_S = 2.0


class Progress:
    """A progress artifact that is written at most every two seconds."""

    def __init__(self, title: str, total: int) -> None:
        self.title = title
        self.total = total
        self._artifact = cast(UUID, create_progress_artifact(progress=0.0, key=key_of(title), description=title))
        self._written = monotonic()

    @property
    def is_due(self) -> bool:
        """Whether it is time to write again."""
        return monotonic() - self._written >= EVERY_S

    def show(self, done: int) -> None:
        """Write that `done` of the total are done."""
        self._written = monotonic()
        share = 100.0 * done / self.total if self.total else 100.0
        update_progress_artifact(self._artifact, progress=share, description=f"{self.title}: {done} of {self.total}")


def key_of(title: str) -> str:
    """A title as the key of an artifact: small letters, digits and dashes."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())


class RolloutReport:
    """Progress and result of one rollout."""

    def __init__(self, job: WavesJob) -> None:
        self.job = job
        self.total = sum(len(wave.sites) for wave in job.plan.waves)
        self.progress = Progress(f"rollout {job.plan.stamp} {job.plan.version}", self.total)
        self._log = get_run_logger()

    def follow(self, what: str, futures: Sequence[PrefectFuture[Any]]) -> None:
        """Wait for these tasks and show how far they are. Raises what a task raised: that is a defect."""
        for future in as_completed(list(futures)):
            future.result()
            if self.progress.is_due:
                self.progress.show(self._done())
        self._log.info("Through with %s: %d of %d sites have ended", what, self._done(), self.total)

    def _done(self) -> int:
        tally = self.job.ledger.rollouts.tally(self.job.plan.rollout_id)
        return sum(count for status, count in tally.items() if status is not None)

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
        self.progress.show(self._done())
        create_table_artifact(
            table=rows, key=key_of(rollout.plan.rollout_id), description=f"{rollout.plan.stamp}: {state}"
        )
        return f"{state}: {tally(str(row['outcome']) for row in rows)}"


class OnboardingReport:
    """Progress and result of one onboarding run."""

    def __init__(self, total: int) -> None:
        self.progress = Progress("onboarding", total)

    def show(self, done: int) -> None:
        """Say how many devices have ended, when it is time to."""
        if self.progress.is_due:
            self.progress.show(done)

    def publish(self, outcomes: Sequence[Outcome]) -> str:
        """Write the table with a row per device and the summary by cause; answers one sentence for the run's state."""
        said = f"{len(outcomes)} devices: {tally(str(outcome.status) for outcome in outcomes)}"
        self.progress.show(len(outcomes))
        create_table_artifact(table=_rows(outcomes), key="onboarding-result", description="How each device did")
        create_markdown_artifact(
            summary_markdown(outcomes, said), key="onboarding-summary", description="What went wrong, by cause"
        )
        return said


def _rows(outcomes: Sequence[Outcome]) -> list[dict[str, object]]:
    """Those that are not in first, cause by cause."""
    ordered = sorted(outcomes, key=lambda one: (one.status is Status.SUCCEEDED, _cause_name(one), one.subject))
    return [
        {
            "device": outcome.subject,
            "outcome": str(outcome.status),
            "seconds": round(outcome.seconds, 1),
            "cause": _cause_name(outcome),
            "said": outcome.cause.message if outcome.cause else "",
            "remedy": outcome.cause.remedy if outcome.cause else "",
        }
        for outcome in ordered
    ]


def _cause_name(outcome: Outcome) -> str:
    if outcome.cause is None:
        return ""
    return f"{outcome.cause.code}/{outcome.cause.reason}" if outcome.cause.reason else outcome.cause.code


def tally(words: Iterable[str]) -> str:
    """`2 failed, 9 succeeded`."""
    return ", ".join(f"{count} {word}" for word, count in sorted(Counter(words).items()))
