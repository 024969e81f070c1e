"""Where the time of onboardings went: by step, by what was waited for, over many devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from edge.model.device import Device
from edge.model.step import StepRecord, StepState
from edge.model.timing import FailureCount, FleetTimings, SpanTiming
from edge.policy.onboarding import attempted_work, onboarding_work
from edge.policy.timing import quantile

QUEUE, AGAIN, WHOLE = "queue", "tried again", "whole"

_WAITS = {
    QUEUE: "the gateway's batch and a worker that is free",
    "identity": "the ledger",
    "assign": "the ledger",
    "connect": "Azure and the agents",
    "baseline": "the cluster's API server",
    "verify": "the cluster's API server",
    AGAIN: "earlier tries and the pauses between them",
    WHOLE: "from the registration to the end",
}
_PHASES = {
    "precheck": "the cluster, DNS and the way out",
    "slot": "a slot among the connects that run at once",
    "resource": "Azure making the connected cluster",
    "agents": "Helm, and images being pulled",
    "call_in": "the agents' first call to Azure",
}
"""Phases of the step connect, as it leaves them in its detail (`<phase>_s`)."""

_STEPS = ("identity", "assign", "connect", "baseline", "verify")


class _Measured(NamedTuple):
    seconds: float
    device: str


def fleet_timings(
    records: Iterable[StepRecord],
    devices: Mapping[str, Device],
    *,
    step: str = "",
    attempts: Iterable[StepRecord] = (),
) -> FleetTimings:
    """How long onboarding took, of these rows of the step log; `step`: only that step and what is inside of it.

    A step's seconds are those of the try that succeeded. What went before, failed tries and pauses, is a span of its
    own: from the end of one step to the begin of the next one's last try. The queue is known of a device's first life,
    when its first step was not tried again. Rows of devices that are not in `devices` are left out. `attempts` are the
    rows of whole tries: what refused a device before a step began is on these alone, and counts for that step.
    """
    rows = [record for record in records if record.key.subject in devices]
    works = _by_work(rows)
    spans = [*_one(QUEUE, _queues(works, devices)), *_step_spans(rows)]
    spans += [*_one(AGAIN, _retries(works)), *_one(WHOLE, _wholes(works, devices))]
    wanted = [span for span in spans if not step or step in (span.name, span.part_of)]
    refused = [row for row in map(partial(_before_a_step, works), attempts) if row is not None]
    failures = [count for count in _failures([*rows, *refused]) if step in ("", count.step)]
    return FleetTimings(devices=len({row.key.subject for row in rows}), spans=tuple(wanted), failures=tuple(failures))


def _by_work(rows: Iterable[StepRecord]) -> dict[tuple[str, str], list[StepRecord]]:
    works: dict[tuple[str, str], list[StepRecord]] = {}
    for row in sorted(rows, key=lambda row: row.started_at):
        works.setdefault((row.key.work, row.key.subject), []).append(row)
    return works


def _step_spans(rows: Sequence[StepRecord]) -> Iterator[SpanTiming]:
    """Steps in the order of onboarding; any others, from another version, after them."""
    names = {row.key.step: None for row in rows}
    for name in [*(one for one in _STEPS if one in names), *(one for one in names if one not in _STEPS)]:
        mine = [row for row in rows if row.key.step == name]
        count = Counter(row.state for row in mine)
        done = [row for row in mine if row.state is StepState.DONE]
        yield _span(name, [_Measured(_seconds(row), row.key.subject) for row in done]).model_copy(
            update={
                "failed": count[StepState.FAILED],
                "open": count[StepState.INTENDED],
                "tries": sum(row.tries for row in mine),
            }
        )
        yield from _phase_spans(name, done)


def _phase_spans(step: str, done: Sequence[StepRecord]) -> Iterator[SpanTiming]:
    for phase, waits_for in _PHASES.items():
        told = [(row.detail.get(f"{phase}_s"), row.key.subject) for row in done]
        spent = [_Measured(float(seconds), device) for seconds, device in told if isinstance(seconds, int | float)]
        if spent:
            yield _span(phase, spent).model_copy(update={"part_of": step, "waits_for": waits_for})


def _seconds(row: StepRecord) -> float:
    return (row.ended_at - row.started_at).total_seconds() if row.ended_at else 0.0


def _queues(
    works: Mapping[tuple[str, str], Sequence[StepRecord]], devices: Mapping[str, Device]
) -> Iterator[_Measured]:
    for (work, subject), rows in works.items():
        device, first = devices[subject], rows[0]
        if device.generation == 1 and work == onboarding_work(device) and first.tries == 1:
            waited = (first.started_at - device.registered_at).total_seconds()
            if waited >= 0:  # a renewed certificate is registered after the device came in
                yield _Measured(waited, subject)


def _retries(works: Mapping[tuple[str, str], Sequence[StepRecord]]) -> Iterator[_Measured]:
    """Of devices that had a step tried again: the time between steps, which without that is next to nothing."""
    for (_, subject), rows in works.items():
        between = [
            (later.started_at - earlier.ended_at).total_seconds()
            for earlier, later in pairwise(rows)
            if later.tries > 1 and earlier.ended_at is not None
        ]
        if between:
            yield _Measured(max(sum(between), 0.0), subject)


def _wholes(
    works: Mapping[tuple[str, str], Sequence[StepRecord]], devices: Mapping[str, Device]
) -> Iterator[_Measured]:
    """Of onboardings whose last step is done, in a first life."""
    for (work, subject), rows in works.items():
        device, last = devices[subject], rows[-1]
        if device.generation != 1 or work != onboarding_work(device) or last.key.step != _STEPS[-1]:
            continue
        if last.state is StepState.DONE and last.ended_at is not None and last.ended_at >= device.registered_at:
            yield _Measured((last.ended_at - device.registered_at).total_seconds(), subject)


def _one(name: str, measured: Iterable[_Measured]) -> Iterator[SpanTiming]:
    found = list(measured)
    if found:
        yield _span(name, found)


def _span(name: str, measured: Sequence[_Measured]) -> SpanTiming:
    ordered = sorted(measured)
    seconds = [one.seconds for one in ordered]
    return SpanTiming(
        name=name,
        waits_for=_WAITS.get(name, ""),
        devices=len({one.device for one in ordered}),
        median_s=quantile(seconds, 0.5),
        p95_s=quantile(seconds, 0.95),
        longest_s=seconds[-1] if seconds else None,
        total_s=round(sum(seconds), 3),
        slowest=ordered[-1].device if ordered else "",
    )


def _before_a_step(works: Mapping[tuple[str, str], Sequence[StepRecord]], attempt: StepRecord) -> StepRecord | None:
    """The failed try as a row of the step that it did not begin; None when a step's own row tells of the failure."""
    rows = works.get((attempted_work(attempt.key), attempt.key.subject), ())
    if not rows or attempt.state is not StepState.FAILED or any(row.state is not StepState.DONE for row in rows):
        return None
    behind = {row.key.step for row in rows}
    missing = next((name for name in _STEPS if name not in behind), None)
    return attempt.model_copy(update={"key": rows[0].key.model_copy(update={"step": missing})}) if missing else None


def _failures(rows: Sequence[StepRecord]) -> list[FailureCount]:
    groups: dict[tuple[str, str, str], list[StepRecord]] = {}
    for row in rows:
        if row.state is StepState.FAILED and row.cause is not None:
            groups.setdefault((row.key.step, row.cause.code, row.cause.reason), []).append(row)
    counted = [_failure(step, members) for (step, _, _), members in groups.items()]
    return sorted(counted, key=lambda one: (-one.devices, one.step, one.code, one.reason))


def _failure(step: str, members: Sequence[StepRecord]) -> FailureCount:
    cause = members[0].cause
    assert cause is not None
    return FailureCount(
        step=step,
        code=cause.code,
        reason=cause.reason,
        devices=len(members),
        transient=cause.transient,
        message=cause.said,
        remedy=cause.remedy,
    )
