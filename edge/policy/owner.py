"""Who owns a device, of all the vouchers and rows of lists that ever named its serial number."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from edge.model.admission import Ownership
from edge.model.device import Device


def owner_of(ownerships: Iterable[Ownership], device: Device, *, now: datetime) -> Ownership | None:
    """The ownership that the device came in on in this life, else the newest that it could come in on.

    `ownerships` are those of its serial number, oldest first; ended ones are no one's.
    """
    standing = [one for one in ownerships if one.ended_at is None]
    life = (device.device_id, device.generation)
    used = [one for one in standing if (one.used_by, one.used_generation) == life]
    free = [one for one in standing if one.used_by is None and (one.expires_at is None or one.expires_at > now)]
    found = used or free
    return found[-1] if found else None
