"""Where the time of onboardings went, over a fleet."""

from __future__ import annotations

from edge.model.base import Value


class SpanTiming(Value):
    """One stretch of an onboarding over many devices, in wall-clock seconds; none has been measured: None.

    `part_of` names the step that a stretch is inside of; `waits_for` is what goes on meanwhile. `devices` have it
    behind them; of the others some `failed`, and some have begun and not ended (`open`). `slowest` is the device of
    `longest_s`.
    """

    name: str
    waits_for: str
    part_of: str = ""
    devices: int = 0
    failed: int = 0
    open: int = 0
    tries: int = 0
    median_s: float | None = None
    p95_s: float | None = None
    longest_s: float | None = None
    total_s: float = 0.0
    slowest: str = ""


class FailureCount(Value):
    """How many devices a step last failed at for the same cause."""

    step: str
    code: str
    reason: str = ""
    devices: int
    transient: bool = False
    message: str
    """What was said of one of them."""
    remedy: str = ""


class FleetTimings(Value):
    """Spans in the order in which they come, then what failed, what hits most devices first."""

    devices: int
    spans: tuple[SpanTiming, ...]
    failures: tuple[FailureCount, ...]
