"""Following a long-running operation of Azure: at the pace that Azure asks for, with progress, and with an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from azure.core.polling import LROPoller
from azure.mgmt.core.polling.arm_polling import ARMPolling

from edge.errors import NotYet

Progress = Callable[[float, str], None]
"""Called about once a second with the seconds waited so far and Azure's word for the state."""

DEFAULT_INTERVAL_S = 5.0
"""Pause between two polls when Azure does not say Retry-After."""
_TELL_EVERY_S = 1.0

T = TypeVar("T")


class BoundedPolling(ARMPolling):
    """Polls as the SDK does, but raises NotYet instead of sleeping past the end of the time allowed."""

    def __init__(self, within_s: float, lro_options: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(timeout=DEFAULT_INTERVAL_S, lro_options=lro_options, **more)
        self._within_s = within_s
        self._until = time.monotonic() + within_s

    def _delay(self) -> None:
        pause = self._extract_delay()
        if time.monotonic() + pause > self._until:
            raise NotYet(
                f"Azure's operation has not ended within {self._within_s:g} s; it goes on in Azure",
                remedy="Run again: the platform finds the resource and goes on from there",
                state=self.status(),
            )
        self._sleep(pause)


def outcome(poller: LROPoller[T], progress: Progress | None = None) -> T:
    """What the operation gave, once it has ended; `progress` is called in the caller's own thread meanwhile."""
    began = time.monotonic()
    while not poller.done():
        poller.wait(_TELL_EVERY_S)
        if progress is not None:
            progress(time.monotonic() - began, poller.status())
    return poller.result()
