"""When is a failed device tried again, and how fast do arrivals go on? Time and chance come in as arguments."""

from __future__ import annotations

from datetime import datetime

from edge.model.bulk import Arrivals, Backoff, LaterTries


def pause_s(policy: Backoff, tries: int, drawn: float, *, retry_after_s: float | None = None) -> float:
    """Seconds until the next try after `tries` of them: exponential, with full jitter, so that many do not meet.

    `drawn` is a random number between 0 and 1. A server's own wish is a lower bound, and the jitter comes on top.
    """
    bound = min(policy.longest_s, policy.first_s * 2.0 ** (min(tries, 64) - 1))
    return (retry_after_s or 0.0) + bound * drawn


def is_tried_again(policy: Backoff, tries: int, *, transient: bool) -> bool:
    """Whether the run tries once more after `tries` of them."""
    return transient and tries < policy.tries


def is_due(policy: LaterTries, run: Backoff, tries: int, ended_at: datetime, now: datetime) -> bool:
    """Whether a device that failed in earlier runs is taken up again now. `tries` are those of all runs together."""
    if is_given_up(policy, tries):
        return False
    rounds = max(1, -(-tries // run.tries))
    return now >= ended_at + min(policy.longest, policy.first * int(2 ** min(rounds - 1, 16)))


def is_given_up(policy: LaterTries, tries: int) -> bool:
    """Whether a device was tried so often that a person must look."""
    return tries >= policy.most


def refill(bucket: Arrivals, rate: float, burst: float, now: float) -> Arrivals:
    """The allowance at `now`: it grows by `rate` a second, and never beyond `burst`."""
    return Arrivals(tokens=min(burst, bucket.tokens + max(0.0, now - bucket.at) * rate), at=max(now, bucket.at))


def take(bucket: Arrivals, wanted: int) -> tuple[int, Arrivals]:
    """How many of `wanted` may go on now, and what is left of the allowance."""
    granted = min(wanted, int(bucket.tokens))
    return granted, Arrivals(tokens=bucket.tokens - granted, at=bucket.at)


def wait_s(bucket: Arrivals, rate: float, wanted: int = 1) -> float:
    """Seconds until `wanted` may go on."""
    return max(0.0, (wanted - bucket.tokens) / rate)
