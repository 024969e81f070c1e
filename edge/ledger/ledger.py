"""The ledger as a whole: one database, opened, with its books."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self

from sqlalchemy import text

from edge.errors import EdgeError
from edge.ledger.audit import Audit
from edge.ledger.catch_ups import CatchUps
from edge.ledger.challenges import Challenges
from edge.ledger.devices import Devices
from edge.ledger.drift import Drifts
from edge.ledger.engine import open_engine, place_of, utc_now
from edge.ledger.firmware import Firmware
from edge.ledger.holds import Holds
from edge.ledger.identities import Identities
from edge.ledger.inbox import Inbox
from edge.ledger.inventory import Inventories
from edge.ledger.leases import Leases
from edge.ledger.migrate import prepare
from edge.ledger.ownerships import Ownerships
from edge.ledger.placements import Placements
from edge.ledger.reservations import Reservations
from edge.ledger.revocations import Revocations
from edge.ledger.rollouts import Rollouts
from edge.ledger.sites import Sites, Tenants
from edge.ledger.stamps import Stamps
from edge.ledger.steps import Steps
from edge.ledger.store import Store

ACTOR = "edge-platform"


class Ledger:
    """The platform's memory. One object serves all threads of a process; many processes may share one database.
    An open ledger is not carried over a fork: each process opens its own.

    Every method that changes something returns when the change is durable. Without a database that answers they raise
    LedgerBusy. Nothing secret belongs in here: no credential, key or token.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.tenants = Tenants(store)
        self.sites = Sites(store)
        self.devices = Devices(store)
        self.challenges = Challenges(store)
        self.ownerships = Ownerships(store)
        self.revocations = Revocations(store)
        self.inventory = Inventories(store)
        self.reservations = Reservations(store)
        self.firmware = Firmware(store)
        self.identities = Identities(store)
        self.stamps = Stamps(store)
        self.rollouts = Rollouts(store)
        self.placements = Placements(store)
        self.catch_ups = CatchUps(store)
        self.holds = Holds(store)
        self.drift = Drifts(store)
        self.steps = Steps(store)
        self.inbox = Inbox(store)
        self.leases = Leases(store)
        self.audit = Audit(store)

    @classmethod
    def open(cls, url: str, *, now: Callable[[], datetime] = utc_now, migrate: bool = True, actor: str = ACTOR) -> Self:
        """Open the database at an SQLAlchemy URL, `sqlite:///FILE` or `postgresql://…`; bring its tables up to date.

        `now` gives the times of rows, `actor` is who the audit trail says did it. Raises InvalidInput for a URL that is
        not usable, LedgerMismatch for a database of another version, LedgerBusy when there is no answer.
        """
        engine = open_engine(url)
        try:
            prepare(engine, migrate=migrate)
        except BaseException as error:
            engine.dispose()
            if isinstance(error, EdgeError):
                error.where.setdefault("ledger", place_of(url))
            raise
        return cls(Store(engine, now, actor))

    def check(self) -> None:
        """Ask the database for an answer. Raises LedgerBusy."""
        with self._store.read() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Finish the writes that are under way and give everything back. May be called twice."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
