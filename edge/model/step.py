"""Steps: the smallest piece of work that the ledger remembers. A finished step is never done twice."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime

from edge.model.base import Value
from edge.model.outcome import Cause

Detail = dict[str, str | int | float | bool | list[str]]
"""What a step leaves for the steps after it and for reports. JSON, small, without secrets."""


def earlier_work(rollout_id: str) -> str:
    """Under which name the steps of a rollout's earlier try at a site are kept, once they are to be done anew."""
    return f"earlier:{rollout_id}"


class StepKey(Value):
    """The same on every try of the same work.

    `work` is the rollout's or the onboarding's id (`rollout:<id>`, or what `onboarding_work` says), `subject` the site
    or the device.
    """

    work: str
    subject: str
    step: str


class StepState(StrEnum):
    """Intended is written before the effect; done or failed after it."""

    INTENDED = "intended"
    DONE = "done"
    FAILED = "failed"


class StepRecord(Value):
    """One row of the step log. `tries` counts how often the effect was started; times are UTC."""

    key: StepKey
    state: StepState
    tries: int
    started_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    detail: Detail = {}
    cause: Cause | None = None


class StepTiming(Value):
    """How long a step took over many subjects: wall-clock seconds of the last try of those that are done."""

    step: str
    done: int
    failed: int
    open: int
    """Begun, and neither done nor failed."""
    median_s: float | None = None
    p95_s: float | None = None
    longest_s: float | None = None
