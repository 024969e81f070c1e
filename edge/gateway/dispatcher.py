"""Passes stored registrations on to the Prefect server, many at once, for as long as it takes.

A run costs a new interpreter, so registrations that arrive together are sent as one event, which starts one run. They
get the batch's name before the server has it, so that its run can claim them however fast it starts. A batch is marked
as sent after the server has it: if the gateway dies in between, it is sent once more, and the run that comes second
finds nothing to do. A batch that no run takes is sent again too, because a trigger whose parameters do not fit leaves
no run behind.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby

from edge.errors import EdgeError, InvalidInput
from edge.gateway.intake import settle
from edge.gateway.metrics import GatewayMetrics
from edge.gateway.prefect_events import PrefectEvents
from edge.gateway.settings import IntakeSettings
from edge.ledger import Ledger
from edge.model.bulk import Arrivals
from edge.model.event import StoredEvent
from edge.policy.backoff import refill, take
from edge.policy.event import Arrival, understand

log = logging.getLogger("edge.gateway.dispatcher")

_BATCHES = uuid.UUID("6f0e2f0c-6c1b-5b0e-9d3a-3f0a1d9b7c55")
_LONGEST_PAUSE_S = 30.0
_LONGEST_RESEND_S = 3600.0
_LOOK_BACK = 10
"""Unclaimed batches are looked for ten times within the time a run has to claim one."""
_PURGE_EVERY_S = 3600.0


class Dispatcher:
    """One thread. `start` it once; `notify` it of new registrations, and of sites that have `returned`; `stop` ends it,
    leaving what is pending stored.
    """

    def __init__(
        self, settings: IntakeSettings, ledger: Ledger, prefect: PrefectEvents, metrics: GatewayMetrics
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._prefect = prefect
        self._metrics = metrics
        self._stopped = threading.Event()
        self._wake = threading.Event()
        self._full = threading.Event()
        self._arrived = 0
        self._back: set[str] = set()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._allowance = Arrivals(tokens=self._burst, at=time.monotonic())

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin, with what was stored before. Prefect's settings are those of the caller."""
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._run,), name="edge-gateway-dispatcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the request that is under way, if any."""
        self._stopped.set()
        self._wake.set()
        self._full.set()
        if self._thread is not None:
            self._thread.join()

    def notify(self, count: int) -> None:
        """Say that so many registrations were stored."""
        if count:
            with self._guard:
                self._arrived += count
                if self._arrived >= self._settings.batch_size:
                    self._full.set()
            self._wake.set()

    def returned(self, sites: Sequence[str]) -> None:
        """Say that these sites are back and have something to catch up with."""
        with self._guard:
            self._back.update(sites)
        self._wake.set()

    def _run(self) -> None:
        failures = 0
        looked = purged = float("-inf")
        with self._prefect:
            while not self._stopped.is_set():
                try:
                    self._send_pending()
                    self._send_returned()
                    if time.monotonic() - looked > self._settings.resend_after_s / _LOOK_BACK:
                        self._send_unclaimed()
                        looked = time.monotonic()
                    if time.monotonic() - purged > _PURGE_EVERY_S:
                        self._ledger.inbox.purge(_now() - timedelta(seconds=self._settings.remember_s))
                        purged = time.monotonic()
                    failures = 0
                except EdgeError as error:
                    failures += 1
                    self._pause(failures, error)
                except Exception:
                    # Whatever it is, what is stored must still be sent later: this thread never gives up.
                    log.exception("A round of dispatching failed")
                    failures += 1
                    self._stopped.wait(_LONGEST_PAUSE_S)
                else:
                    self._gather()

    def _gather(self) -> None:
        """Wait for the first registration, or for the time to look; then for more of them, or for a full batch."""
        if self._wake.wait(self._settings.poll_s):
            self._full.wait(self._settings.window_s)
        with self._guard:
            self._arrived = 0
            self._full.clear()
            self._wake.clear()

    def _pause(self, failures: int, error: EdgeError) -> None:
        self._metrics.send_failures.labels(error.code).inc()
        pause = min(2.0 ** (failures - 1), _LONGEST_PAUSE_S)
        log.warning("Registrations wait, next try in %g s: %s", pause, error)
        self._stopped.wait(pause)

    def _send_pending(self) -> None:
        while not self._stopped.is_set():
            pending = self._ledger.inbox.pending(self._settings.batch_size)
            allowed = self._allowed(len(pending))
            arrivals = settle(self._ledger, self._understood(pending[:allowed]))
            self._send(_batch_of(arrivals), arrivals)
            if min(allowed, len(pending)) < self._settings.batch_size:
                return

    def _send_returned(self) -> None:
        """Once, all together. An event that is lost costs minutes: the schedule finds its sites in the ledger."""
        with self._guard:
            back, self._back = sorted(self._back), set()
        if not back:
            return
        self._metrics.returned.inc(len(back))
        try:
            self._prefect.send_returned(back)
        except EdgeError as error:
            log.warning("%d sites that are back are left to the schedule: %s", len(back), error)

    @property
    def _burst(self) -> float:
        """How many may go on at once after a quiet time, and how many go on together in a busy one."""
        rate = self._settings.rate
        return max(1.0, rate * self._settings.rate_window_s) if rate is not None else float("inf")

    def _allowed(self, wanted: int) -> int:
        """How many of the registrations that wait may go on now.

        None while the allowance is smaller than what would go on together: a run for each that trickles through would
        cost more than the wait.
        """
        if self._settings.rate is None:
            return wanted
        self._allowance = refill(self._allowance, self._settings.rate, self._burst, time.monotonic())
        if self._allowance.tokens < min(wanted, int(self._burst)):
            return 0
        granted, self._allowance = take(self._allowance, wanted)
        return granted

    def _send_unclaimed(self) -> None:
        before = _now() - timedelta(seconds=self._settings.resend_after_s)
        dead = _now() - timedelta(seconds=self._settings.reclaim_after_s)
        found = self._ledger.inbox.unclaimed(before, claimed_before=dead)
        for batch, events in groupby(sorted(found, key=_batch), key=_batch):
            late = [stored for stored in events if self._is_due(stored)]
            if late:
                log.warning("No run has taken batch %s; sent again, %d devices", batch, len(late))
                self._send(batch, self._understood(late))
                self._metrics.resent.inc()

    def _understood(self, found: Iterable[StoredEvent]) -> list[Arrival]:
        """What the events mean. One that another release stored and this one cannot read must not hold up the rest."""
        arrivals = []
        for stored in found:
            try:
                arrivals.append(understand(stored.event, via=stored.via, received_at=stored.received_at))
            except InvalidInput as error:
                log.error("A stored event is not understood and is laid aside: id %r, %s", stored.event.id, error)
                self._ledger.inbox.mark_handled([stored.key])
        return arrivals

    def _is_due(self, stored: StoredEvent) -> bool:
        """The pause doubles with each time it was sent, so that runs do not pile up before a worker that is away."""
        pause = min(self._settings.resend_after_s * 2.0 ** (stored.sends - 1), _LONGEST_RESEND_S)
        return stored.sent_at is None or stored.sent_at + timedelta(seconds=pause) <= _now()

    def _send(self, batch: str, arrivals: Sequence[Arrival]) -> None:
        if not arrivals:
            return
        keys = [(arrival.event.source, arrival.event.id) for arrival in arrivals]
        self._ledger.inbox.put_in_batch(
            keys, batch
        )  # before the event: its run may claim the batch within milliseconds
        self._prefect.send(batch, list(_devices(arrivals)))
        self._ledger.inbox.mark_sent(keys, batch)
        self._metrics.batches.inc()
        self._metrics.sent.inc(len(arrivals))


def _devices(arrivals: Sequence[Arrival]) -> Iterator[str]:
    yield from dict.fromkeys(arrival.device_id for arrival in arrivals)


def _batch_of(arrivals: Sequence[Arrival]) -> str:
    """The same events make the same batch, so that sending them a second time adds no second name."""
    keys = "\n".join(f"{arrival.event.source} {arrival.event.id}" for arrival in arrivals)
    return str(uuid.uuid5(_BATCHES, keys))


def _batch(stored: StoredEvent) -> str:
    return stored.batch or ""


def _now() -> datetime:
    return datetime.now(UTC)
