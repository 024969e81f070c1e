"""Which try of a device is a run's last one: with it, what was begun is taken back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from edge.errors import EdgeError, NotYet, Rejected
from edge.model.bulk import Backoff
from edge.model.outcome import Cause, Outcome, Status
from tasks.onboarding_rounds import Rounds

BACKOFF = Backoff(tries=3, first_s=0.001, longest_s=0.001)


def failed(device: str, status: Status, error: EdgeError) -> Outcome:
    return Outcome(subject=device, status=status, cause=Cause.of(error))


@pytest.mark.parametrize(
    ("outcome", "lasts"),
    [
        pytest.param(lambda _: (Status.FAILED, NotYet("later")), [False, False, True], id="the-third-of-three"),
        pytest.param(lambda _: (Status.FAILED, Rejected("no")), [False], id="it-may-not-pass"),
        pytest.param(
            lambda tried: (Status.HELD if tried == 1 else Status.FAILED, NotYet("busy")),
            [False, False, False, True],
            id="a-busy-device-was-not-tried",
        ),
    ],
)
def test_a_run_knows_its_last_try_of_a_device(
    outcome: Callable[[int], tuple[Status, EdgeError]], lasts: list[bool]
) -> None:
    seen: list[bool] = []

    def submit(group: tuple[str, ...]) -> Any:
        seen.append(rounds.on_last_try(group) == frozenset(group))
        ended: Future[list[Outcome]] = Future()
        ended.set_result([failed(device, *outcome(len(seen))) for device in group])
        return ended

    rounds = Rounds(submit, BACKOFF, drawn=lambda: 0.0)
    (final,) = rounds.run(["dev-1"], lambda _: None)
    assert final.status is Status.FAILED
    assert seen == lasts
