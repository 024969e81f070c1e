"""What a connect says while it goes on, and where its time went."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from prefect import get_run_logger
from prefect.exceptions import MissingContextError

from edge.model.step import Detail

SAY_EVERY_S = 30.0
"""A phase that takes longer says so this often, in seconds."""

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def run_log() -> Log:
    """The run's log; outside of a run, as in a command, the process's."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("edge.arc")


class Phases:
    """Wall-clock seconds by phase of one connect, and its lines in the log while a phase is long."""

    def __init__(self, site: str) -> None:
        self._site = site
        self._spent: dict[str, float] = {}
        self._said = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what happens inside as `<name>_s`; a second time under the same name is added."""
        began, self._said = monotonic(), 0.0
        try:
            yield
        finally:
            self._spent[name] = self._spent.get(name, 0.0) + monotonic() - began

    def tell(self, what: str) -> Callable[[float, str], None]:
        """A callback for clients that wait: it says every `SAY_EVERY_S` seconds that `what` goes on, and the state."""

        def progress(waited_s: float, state: str) -> None:
            if waited_s - self._said >= SAY_EVERY_S:
                self._said = waited_s
                run_log().info("%s: %s for %.0f s (%s)", self._site, what, waited_s, state)

        return progress

    def detail(self) -> Detail:
        """The seconds, rounded to milliseconds; every phase is there, also when no time was spent in it."""
        names = ("precheck", "slot", "resource", "agents", "call_in")
        return {f"{name}_s": round(self._spent.get(name, 0.0), 3) for name in names}
