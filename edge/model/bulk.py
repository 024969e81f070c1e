"""Many devices at once: what a file of them says, and how they did, sorted by cause."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from edge.model.admission import Ownership
from edge.model.base import Value
from edge.model.device import Inventory, Registration


class Backoff(Value):
    """How often one run tries a device, and how long it pauses in between; seconds.

    The bound of a pause doubles from `first_s` to `longest_s`.
    """

    tries: int = Field(default=4, ge=1, le=20)
    first_s: float = Field(default=4.0, gt=0)
    longest_s: float = Field(default=60.0, gt=0)


class LaterTries(Value):
    """How often, and with what pauses, devices are taken up again by later runs."""

    first: timedelta = timedelta(minutes=15)
    longest: timedelta = timedelta(hours=12)
    most: int = Field(default=40, ge=1)
    """Tries over all runs, after which a person must look."""


class Arrivals(Value):
    """An allowance of arrivals, a token bucket: it held `tokens` at the moment `at`, in seconds of any clock."""

    tokens: float
    at: float


class CauseGroup(Value):
    """The devices that ended for one cause. `message` is what was said of the first of them."""

    code: str
    reason: str = ""
    status: str
    transient: bool
    message: str
    remedy: str
    devices: tuple[str, ...]

    @property
    def name(self) -> str:
        """`identity-refused/expired`."""
        return f"{self.code}/{self.reason}" if self.reason else self.code


class ImportedDevice(Value):
    """A row of a file that is in order."""

    line: int
    registration: Registration
    ownership: Ownership | None = None
    inventory: Inventory | None = None


class BadRow(Value):
    """A row that cannot be imported, and what is wrong. Lines are counted from 1."""

    line: int
    field: str
    value: str
    fault: str
    device_id: str = ""


class ImportFile(Value):
    """A file that was read: the rows that are in order, and those that are not."""

    good: tuple[ImportedDevice, ...]
    bad: tuple[BadRow, ...]
