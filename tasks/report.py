"""What people see of a run: progress while it goes, a table at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import cast
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from edge.model.outcome import Outcome, Status
from edge.policy.bulk import summary_markdown

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

    def show(self, done: int, doing: str = "") -> None:
        """Write that `done` of the total are done, and what is being done."""
        self._written = monotonic()
        share = 100.0 * done / self.total if self.total else 100.0
        said = f"{self.title}: {done} of {self.total}{f', {doing}' if doing else ''}"
        update_progress_artifact(self._artifact, progress=share, description=said)


def key_of(title: str) -> str:
    """A title as the key of an artifact: small letters, digits and dashes."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())


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
