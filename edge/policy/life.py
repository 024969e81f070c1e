"""What an operator may do to a device in its life, and when its papers run out."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from edge.errors import InvalidInput
from edge.model.device import Device, DeviceState, Reservation

WARRANTY_SOON = timedelta(days=90)

_LEAVING = (DeviceState.DECOMMISSIONING, DeviceState.DECOMMISSIONED)


def warranty_warning(until: date | None, today: date) -> str:
    """What to say of a warranty that has ended or ends within 90 days; "" otherwise."""
    if until is None or until - today > WARRANTY_SOON:
        return ""
    left = (until - today).days
    return f"ended {-left} days ago" if left < 0 else f"ends in {left} days"


def check_reset(device: Device) -> None:
    """Raise InvalidInput for a device that cannot begin anew because it is on its way out."""
    if device.state is DeviceState.DECOMMISSIONING:
        remedy = "Finish it first: `edge device decommission`"
        raise InvalidInput("The device is being decommissioned", remedy=remedy, device=device.device_id)


def check_replacement(old: Device, new_id: str, new: Device | None) -> None:
    """Raise InvalidInput unless `new_id` may take the place of `old`; `new` is its row, if it has registered."""
    if old.device_id == new_id:
        raise InvalidInput("A device does not replace itself", remedy="Reset it instead", device=new_id)
    if new is not None and new.site is not None and new.site != old.site:
        remedy = "Decommission it there first"
        raise InvalidInput("The new device has a site already", remedy=remedy, device=new_id, site=new.site)
    if new is not None and new.state in _LEAVING:
        raise InvalidInput("The new device has left", remedy="Let it in again first", device=new_id, state=new.state)


def replacement(old: Device, site: str, new_id: str, *, at: datetime) -> Reservation:
    """The site of the old device, kept for the new one."""
    return Reservation(device_id=new_id, site=site, replaces=old.device_id, made_at=at)
