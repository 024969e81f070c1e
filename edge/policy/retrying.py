"""Which devices does a later run take up again?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from edge.model.bulk import Backoff, LaterTries
from edge.model.device import Device, DeviceState
from edge.model.step import StepRecord
from edge.policy.backoff import is_due, is_given_up

FORGOTTEN_AFTER = timedelta(hours=1)
"""A registration that no run took for this long is taken up: the event about it may be lost."""


def left_over(device: Device, attempt: StepRecord | None, now: datetime, later: LaterTries, run: Backoff) -> bool:
    """Whether a later run takes the device up now, on which no run works. `attempt`: how its last try ended.

    Those that failed for a reason that may pass, after a pause that grows with the number of tries; those whose run
    died and nobody came after; and those that nobody ever began with. What does not pass is a person's business.
    """
    if device.state is DeviceState.FAILED:
        return _may_pass(attempt) and attempt is not None and is_due(later, run, attempt.tries, _end(attempt), now)
    if device.state is DeviceState.ONBOARDING:
        return attempt is None or now >= _end(attempt) + later.first
    return device.state is DeviceState.REGISTERED and now >= device.registered_at + FORGOTTEN_AFTER


def given_up(attempts: Mapping[str, StepRecord], later: LaterTries) -> tuple[str, ...]:
    """The devices, by id, whose failure may pass, and that were tried so often that a person must look."""
    return tuple(
        sorted(name for name, attempt in attempts.items() if _may_pass(attempt) and is_given_up(later, attempt.tries))
    )


def _may_pass(attempt: StepRecord | None) -> bool:
    return attempt is not None and attempt.cause is not None and attempt.cause.transient


def _end(attempt: StepRecord) -> datetime:
    return attempt.ended_at or attempt.started_at
