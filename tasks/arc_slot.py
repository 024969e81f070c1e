"""How many connects go on at once over all workers: slots of a global concurrency limit on the Prefect server.

Taking a slot and giving it back costs 80 ms of CPU here and as much on the server. So a run keeps a slot for a moment
when a device is through with it, for the next one; each is held by a thread of its own, since who gives it back may not
be who took it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context

import httpx
from prefect.concurrency.sync import concurrency
from prefect.settings import get_current_settings

from blocks.load import server_fault
from edge.errors import EdgeError, NotYet
from tasks.arc_progress import run_log

LIMIT = "edge-arc-connect"
"""As in `deployments/limits.yaml`. A server that does not have it bounds nothing."""
WAIT_S = 1800.0
KEEP_S = 5.0
"""How long a slot that nobody uses is kept from other runs."""
LEASE_S = 60.0
"""How long the slots of a run that was killed stay taken. Prefect's usual five minutes would hold the next run up."""
_JOIN_S = 10.0


@contextmanager
def connect_slot(limit: str = LIMIT, *, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold a slot meanwhile; without a Prefect server there is nobody to share with, and none is taken.

    A slot is a lease: when renewing it fails the work goes on, so for a while there may be one connect more than the
    limit says. Raises NotYet when none was free for `wait_s` seconds, ServerFault when the server does not answer.
    """
    with ExitStack() as held:
        if get_current_settings().api.url is not None:
            _take(held, limit, wait_s)
        yield


def _take(held: ExitStack, limit: str, wait_s: float) -> None:
    try:
        held.enter_context(concurrency(limit, timeout_seconds=wait_s, lease_duration=LEASE_S))
    except TimeoutError as full:
        raise NotYet(f"No slot to connect a cluster was free for {wait_s:g} s", limit=limit) from full
    except httpx.HTTPError as error:
        raise server_fault(error) from error


class ConnectSlots:
    """The slots of one run, for all of its threads. Close it, or they are given back `keep_s` seconds later.

    Whoever waits gets the first slot that comes: a new one, or one that another thread is through with.
    """

    def __init__(self, limit: str = LIMIT, *, wait_s: float = WAIT_S, keep_s: float = KEEP_S) -> None:
        self.limit = limit
        self.wait_s = wait_s
        self.keep_s = keep_s
        self.closed = False
        self.idle: list[_Slot] = []
        self.lock = threading.Lock()
        self._came = threading.Condition(self.lock)
        self._errors: list[BaseException] = []
        self._waiting = self._on_the_way = 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot meanwhile. Raises as `connect_slot`."""
        slot = self._taken()
        try:
            yield
        finally:
            self.put(slot)

    def put(self, slot: _Slot, *, new: bool = False) -> None:
        """A slot that may be used: one that a thread is through with, or a new one."""
        with self.lock:
            self._on_the_way -= new
            self.idle.append(slot)
            slot.changed.notify()
            self._came.notify()

    def failed(self, error: BaseException) -> None:
        """A new slot will not come. It is told to somebody who waits, if it was meant for somebody."""
        with self.lock:
            self._on_the_way -= 1
            if self._waiting > self._on_the_way:
                self._errors.append(error)
                self._came.notify()

    def close(self) -> None:
        """Give back what nobody uses, and wait until that is done."""
        with self.lock:
            self.closed = True
            idle = list(self.idle)
            for slot in idle:
                slot.changed.notify()
        for slot in idle:
            slot.thread.join(_JOIN_S)

    def _taken(self) -> _Slot:
        with self.lock:
            self._waiting += 1
            try:
                if not self.idle and self._on_the_way < self._waiting:
                    self._on_the_way += 1
                    _Slot(self).thread.start()
                self._came.wait_for(lambda: self.idle or self._errors)
                if not self.idle:
                    raise self._errors.pop()
                slot = self.idle.pop()
                slot.uses += 1
                slot.changed.notify()
                return slot
            finally:
                self._waiting -= 1
                if not self._waiting:
                    self._errors.clear()


class _Slot:
    """One slot, and the thread that holds it."""

    def __init__(self, home: ConnectSlots) -> None:
        self._home = home
        self._held = False
        self.uses = 0
        self.changed = threading.Condition(home.lock)
        # The thread speaks in the run's name, so that what Prefect says of the slot stands in the run's log.
        self.thread = threading.Thread(target=copy_context().run, args=(self._run,), name="arc-slot", daemon=True)

    def _run(self) -> None:
        try:
            with connect_slot(self._home.limit, wait_s=self._home.wait_s):
                self._held = True
                self._home.put(self, new=True)
                self._hold()
        except (EdgeError, httpx.HTTPError) as error:
            if self._held:
                run_log().warning("A slot was not given back, and is free when its lease ends: %s", error)
            else:
                self._home.failed(error)
        except BaseException as error:  # a defect; it belongs to whoever waits
            if not self._held:
                self._home.failed(error)
            raise

    def _hold(self) -> None:
        """Until nobody used it for a while."""
        with self.changed:
            while not self._is_left():
                pass
            self._home.idle.remove(self)

    def _is_left(self) -> bool:
        """Whether nobody wanted it for a while, once it was given back."""
        home = self._home
        self.changed.wait_for(lambda: self in home.idle)
        uses = self.uses
        self.changed.wait_for(lambda: home.closed or self.uses != uses, home.keep_s)
        return self in home.idle and self.uses == uses
