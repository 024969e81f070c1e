"""Why a device is where it is, put together from all that is on record of it."""

from __future__ import annotations

from pydantic import AwareDatetime

from edge.model.admission import Ownership
from edge.model.assignment import Choice, RuleAnswer
from edge.model.base import Value
from edge.model.device import DeviceState, Reservation
from edge.model.names import DeviceId
from edge.model.outcome import Cause
from edge.model.site import Site
from edge.model.step import Detail, StepState


class StepSaid(Value):
    """One step of the device's onboarding, as its row says."""

    step: str
    state: StepState
    tries: int
    ended_at: AwareDatetime | None = None
    detail: Detail = {}
    cause: Cause | None = None


class RulesSaid(Value):
    """What the assignment rules of today say of the device. `why` says why there is no answer, when there is none."""

    source: str
    """The block, or the file that was tried."""
    answers: tuple[RuleAnswer, ...] = ()
    rule: str | None = None
    choice: Choice | None = None
    site: Site | None = None
    why: str = ""


class Explanation(Value):
    """A device, and why. `stopped_by` is the last failure on record; `advice` what a person can do, in order."""

    device_id: DeviceId
    state: DeviceState
    reason: str
    generation: int
    site: Site | None
    """On record; the rules may say otherwise by now."""
    owner: Ownership | None
    other_owners: tuple[Ownership, ...]
    """Ended, expired, used by others, or older."""
    reservation: Reservation | None
    rules: RulesSaid
    steps: tuple[StepSaid, ...]
    stopped_by: Cause | None
    advice: tuple[str, ...]
