"""Notices that sites are back which have something to catch up with, by what their devices send anyway."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from edge.errors import EdgeError
from edge.ledger import Ledger
from edge.model.placement import Awaited
from edge.policy.event import Arrival, EventType

log = logging.getLogger("edge.gateway.returns")

LOOK_EVERY_S: Final = 5.0
"""How long it is remembered which devices are waited for, in seconds: telemetry may come by the thousand."""


class Returns:
    """One for each way in. Safe to use from many threads."""

    def __init__(self, ledger: Ledger, *, look_every_s: float = LOOK_EVERY_S) -> None:
        self._ledger = ledger
        self._look_every_s = look_every_s
        self._guard = threading.Lock()
        self._looked = float("-inf")
        self._awaited: dict[str, Awaited] = {}

    def heard(self, arrivals: Iterable[Arrival], *, at: datetime) -> tuple[str, ...]:
        """Put on record which sites are back, and answer them, each once.

        Only signs of life count that are younger than the absence. A ledger that cannot be asked is no error here: the
        events are stored, and whoever looks after the queue by schedule finds the site.
        """
        contacts = {arrival.device_id: arrival.event.time for arrival in arrivals if _is_sign_of_life(arrival)}
        if not contacts:
            return ()
        try:
            awaited = self._now_awaited()
            back = {
                awaited[device].site for device in contacts.keys() & awaited if awaited[device].since < contacts[device]
            }
            return tuple(site for site in sorted(back) if self._note(site, at))
        except EdgeError as error:
            log.warning("Whether sites are back is left to the schedule: %s", error)
            return ()

    def _now_awaited(self) -> dict[str, Awaited]:
        with self._guard:
            if time.monotonic() - self._looked > self._look_every_s:
                self._awaited = self._ledger.catch_ups.awaited()
                self._looked = time.monotonic()
            return self._awaited

    def _note(self, site: str, at: datetime) -> bool:
        with self._guard:
            self._awaited = {device: one for device, one in self._awaited.items() if one.site != site}
        return self._ledger.catch_ups.returned(site, at) > 0


def _is_sign_of_life(arrival: Arrival) -> bool:
    """A device that says goodbye was there, and is not any more."""
    return arrival.is_contact and arrival.type is not EventType.DEVICE_DISCONNECTED
