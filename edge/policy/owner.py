"""Who owns a device, of all the vouchers and rows of lists that ever named its serial number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from edge.model.admission import Ownership
from edge.model.device import Device


def standing(known: Sequence[Ownership]) -> list[Ownership]:
    """Those that still say something: neither ended, nor made void by the end of another.

    Whoever gave the device up gets it back only by a paper that is newer than that. A paper of another tenant stands
    when it is newer than the paper that ended: a device is often sold before its old owner lets it go.
    """
    ended = [one for one in known if one.ended_at is not None]
    return [one for one in known if one.ended_at is None and not any(_voids(end, one) for end in ended)]


def _voids(end: Ownership, paper: Ownership) -> bool:
    assert end.ended_at is not None
    if paper.tenant == end.tenant:
        return paper.created_at < end.ended_at
    return paper.created_at <= end.created_at


def owner_of(ownerships: Iterable[Ownership], device: Device) -> Ownership | None:
    """The ownership that the device came in on in this life.

    Only what it was admitted on counts: a serial number alone is something that any device can say of itself.
    `ownerships` are those of its serial number, oldest first; ended ones are no one's.
    """
    life = (device.device_id, device.generation)
    used = [one for one in ownerships if one.ended_at is None and (one.used_by, one.used_generation) == life]
    return used[-1] if used else None


def likely_owner(ownerships: Iterable[Ownership], device: Device, *, now: datetime) -> Ownership | None:
    """As `owner_of`; before the device came in, the newest ownership that it may come in on. Good for telling only."""
    known = tuple(ownerships)
    free = [
        one
        for one in known
        if one.ended_at is None and one.used_by is None and (one.expires_at is None or one.expires_at > now)
    ]
    return owner_of(known, device) or (free[-1] if free else None)
