"""Kills what a worker runs, and the worker itself, at random moments, while devices are on their way."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from deployments.local.platform import LocalPlatform
from edge.ledger import Ledger
from edge.model.device import DeviceState

_ON_THEIR_WAY = (DeviceState.ONBOARDING,)


class Killer:
    """A thread that kills runs in the middle of their work, and every second time the worker too (Linux)."""

    def __init__(
        self, local: LocalPlatform, chance: random.Random, ledger: Ledger, devices: Sequence[str], kills: int = 2
    ) -> None:
        self._local = local
        self._chance = chance
        self._ledger = ledger
        self._devices = frozenset(devices)
        self._kills = kills
        self._over = threading.Event()
        self.runs_killed = 0
        self.workers_killed = 0

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Kill meanwhile."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _run(self) -> None:
        while self.runs_killed < self._kills and not self._over.wait(0.1):
            if not self._anybody_on_the_way():
                continue
            self._over.wait(self._chance.uniform(0.1, 1.0))
            if self._kill_runs():
                self.runs_killed += 1
                if self.runs_killed % 2:
                    self._local.kill_worker()
                    self.workers_killed += 1

    def _anybody_on_the_way(self) -> bool:
        return any(device.device_id in self._devices for device in self._ledger.devices.list(states=_ON_THEIR_WAY))

    def _kill_runs(self) -> int:
        """SIGKILL to every flow run's process of this platform."""
        killed = 0
        for pid in _runs_of(self._local.home):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        return killed


def _runs_of(home: Path) -> Iterator[int]:
    """The processes that execute flow runs with this state folder."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            if (
                b"prefect" in command
                and b"engine" in command
                and str(home).encode() in (folder / "environ").read_bytes()
            ):
                yield int(folder.name)
