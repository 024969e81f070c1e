"""Short retries inside a client, for faults that pass in seconds.

Who retries what, in one place:

- urllib3 and the official client: nothing, they are told not to.
- A client (here): `Transient` errors of one request, because every request of ours is idempotent. At most
  `attempts` times and within `within_s`, so that a site that is away costs seconds and not minutes.
- A Prefect task: a whole site or group of sites, minutes later, and only on `Transient`. It starts again at the first
  step that the ledger does not hold as done, so the two never multiply over finished work.
- A loop that polls anyway (waiting for health) retries nothing: its next round is the retry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import Field
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)
from tenacity.wait import wait_base

from edge.errors import Transient
from edge.model.base import Value

T = TypeVar("T")


class RetryPolicy(Value):
    """How often and how long one request is tried; seconds throughout.

    Pauses grow from `first_s`, doubled each time, to `longest_s`, each drawn at random between zero and that bound so
    that a thousand clients do not come back together. A pause that the server asks for (Retry-After) is honoured; when
    it would end after `within_s`, the error is raised at once.
    """

    attempts: int = Field(default=4, ge=1, le=20)
    within_s: float = Field(default=20.0, ge=0, le=3600)
    first_s: float = Field(default=0.25, gt=0, le=60)
    longest_s: float = Field(default=5.0, gt=0, le=600)

    @classmethod
    def none(cls) -> RetryPolicy:
        """One attempt."""
        return cls(attempts=1)


class Retrier:
    """Runs work under a policy. Safe to share between threads."""

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy
        self._retrying = Retrying(
            stop=stop_after_attempt(policy.attempts) | stop_before_delay(policy.within_s),
            wait=_Pause(policy),
            retry=retry_if_exception_type(Transient),
            reraise=True,
        )

    def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, tried again on `Transient`; the last error when the policy is used up."""
        if self.policy.attempts == 1:
            return work()
        return self._retrying(work)


class _Pause(wait_base):
    """Random exponential pause, or the server's own wish when that is longer."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._drawn = wait_random_exponential(multiplier=policy.first_s, max=policy.longest_s)

    def __call__(self, retry_state: RetryCallState) -> float:
        drawn = self._drawn(retry_state)
        error = retry_state.outcome.exception() if retry_state.outcome else None
        wished = error.retry_after if isinstance(error, Transient) else None
        return max(drawn, wished or 0.0)
