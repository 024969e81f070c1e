"""How long steps take, from their rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from edge.model.step import StepRecord, StepState, StepTiming


def timings(records: Iterable[StepRecord]) -> tuple[StepTiming, ...]:
    """One line per step, in the order in which the steps first began. No done row: its seconds are None."""
    by_step: dict[str, list[StepRecord]] = {}
    for record in sorted(records, key=lambda record: record.started_at):
        by_step.setdefault(record.key.step, []).append(record)
    return tuple(_timing(step, rows) for step, rows in by_step.items())


def _timing(step: str, rows: Sequence[StepRecord]) -> StepTiming:
    count = Counter(row.state for row in rows)
    seconds = sorted(
        (row.ended_at - row.started_at).total_seconds() for row in rows if row.state is StepState.DONE and row.ended_at
    )
    return StepTiming(
        step=step,
        done=count[StepState.DONE],
        failed=count[StepState.FAILED],
        open=count[StepState.INTENDED],
        median_s=quantile(seconds, 0.5),
        p95_s=quantile(seconds, 0.95),
        longest_s=seconds[-1] if seconds else None,
    )


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The nearest-rank quantile: the smallest value that at least this share of all values does not exceed."""
    if not ordered:
        return None
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]
