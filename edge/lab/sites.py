"""One pretend site: who it is, its weather, and its cluster once somebody has looked at it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from edge.lab.clock import LabClock, SiteClock
from edge.lab.weather import Fault, FaultKind, Offline, OfflineMode, Spell, WrongClock, active

if TYPE_CHECKING:
    from edge.lab.asgi import App
    from edge.lab.kube.store import SiteStore

REGIONS = ("emea-west", "amer-east", "apac-south")


class Connection(Protocol):
    """A client's connection, as far as the weather cares."""

    def reset(self) -> None:
        """Cut it."""


class LabSite:
    """A site. `store` and `app` are None until the first request or the first look from inside the lab."""

    __slots__ = (
        "app",
        "away_at_start",
        "clock",
        "cut",
        "device_id",
        "faults",
        "name",
        "open",
        "region",
        "renewed",
        "second",
        "serial",
        "spells",
        "store",
    )

    def __init__(self, number: int, clock: LabClock) -> None:
        self.name = f"site-{number:04d}"
        self.device_id = f"dev-{number:04d}"
        self.serial = f"SN-{number:04d}"
        self.region = REGIONS[(number - 1) % len(REGIONS)]
        self.clock = SiteClock(clock)
        self.store: SiteStore | None = None
        self.app: App | None = None
        self.spells: tuple[Spell, ...] = ()
        self.faults: tuple[Fault, ...] = ()
        self.cut: Counter[str] = Counter()
        """What the weather did to requests before the site saw them."""
        self.open: set[Connection] = set()
        """Connections on which a request is being served."""
        self.second = (0, 0)
        self.renewed = float("-inf")
        self.away_at_start = False

    def feel(self, lab_s: float) -> None:
        """Bring the faults, and the clock that may be wrong, up to the moment."""
        self.faults = active(self.spells, lab_s)
        if any(isinstance(fault, Offline) and fault.mode is not OfflineMode.SILENT for fault in self.faults):
            for connection in tuple(self.open):
                connection.reset()
        self.clock.skew_s = sum(fault.skew_s for fault in self.faults if isinstance(fault, WrongClock))

    @property
    def silent(self) -> bool:
        """Whether nothing comes from the site now, on connections that are open either."""
        return any(isinstance(fault, Offline) and fault.mode is OfflineMode.SILENT for fault in self.faults)

    def suffers(self, kind: FaultKind) -> bool:
        """Whether a fault of this kind is felt now."""
        return any(fault.kind is kind for fault in self.faults)
