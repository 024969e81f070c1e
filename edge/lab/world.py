"""The lab's world: its sites, which wake up when they are first used, and the weather over them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from functools import partial

from edge.errors import NotFound
from edge.lab.controllers.engine import Engine
from edge.lab.kube.call import admin_user, viewer_user
from edge.lab.kube.seeds import seed
from edge.lab.kube.server import SiteServer
from edge.lab.kube.store import SiteStore
from edge.lab.nodes import renew_leases, seed_nodes
from edge.lab.persistence import Shelf
from edge.lab.sites import LabSite
from edge.lab.timers import Timers
from edge.lab.weather import (
    FaultKind,
    Scenario,
    Spell,
    away_at_start,
    next_change,
    spells_of,
    with_spell,
    without_kind,
)

RENEW_S = 10.0


class World:
    """All sites of a lab. Everything in it happens on the server's event loop.

    `secret` is what tokens are made from; `ca_pem` what pods of the sites are told to trust.
    """

    def __init__(self, scenario: Scenario, engine: Engine, shelf: Shelf, *, secret: bytes, ca_pem: str) -> None:
        self.clock = engine.timers.clock
        self._ca_pem = ca_pem
        self.scenario = scenario
        self.timers: Timers = engine.timers
        self.on_weather: list[Callable[[LabSite], None]] = []
        self._engine = engine
        self._shelf = shelf
        self._secret = secret
        self._sites: dict[str, LabSite] = {}

    def populate(self, count: int) -> None:
        """Make sites 1 to `count`, asleep, with the scenario's weather over them."""
        for number in range(1, count + 1):
            site = LabSite(number, self.clock)
            site.spells = spells_of(self.scenario, site.name, site.region)
            site.away_at_start = away_at_start(site.spells)
            self._sites[site.name] = site

    def start(self) -> None:
        """Let the weather begin. Called on the event loop, once."""
        for site in self._sites.values():
            if site.spells:
                self._feel(site)

    def __iter__(self) -> Iterator[LabSite]:
        return iter(self._sites.values())

    def __len__(self) -> int:
        return len(self._sites)

    def find(self, name: str) -> LabSite | None:
        """The site of this name, maybe asleep."""
        return self._sites.get(name)

    def site(self, name: str) -> LabSite:
        """The site of this name. Raises NotFound."""
        site = self._sites.get(name)
        if site is None:
            raise NotFound("the lab has no such site", site=name, remedy="edge lab up --json lists the sites")
        return site

    def token(self, site: str, user: str = "edge-admin") -> str:
        """The bearer token of a user at one site; the same for as long as the state folder lives."""
        return hmac.new(self._secret, f"{site}/{user}".encode(), hashlib.sha256).hexdigest()

    def awake(self, site: LabSite) -> SiteStore:
        """The site's objects; the first call brings its cluster up."""
        if site.store is None:
            site.store = self._wake(site)
        now = self.clock.monotonic()
        if now - site.renewed > RENEW_S:
            site.renewed = now
            renew_leases(site.store)
        return site.store

    def set_spell(self, site: LabSite, spell: Spell) -> None:
        """Set a fault at one site; it takes the place of one of its kind."""
        site.spells = with_spell(site.spells, spell)
        self._feel(site)

    def lift(self, site: LabSite, kind: FaultKind | None = None) -> None:
        """Lift the faults of a kind (None: all) from one site."""
        site.spells = without_kind(site.spells, kind)
        self._feel(site)

    def _wake(self, site: LabSite) -> SiteStore:
        kept = self._shelf.load(site.name)
        now = site.clock.now
        store = SiteStore.restore(kept, now) if kept else SiteStore(site.name, now)
        tokens = {self.token(site.name, user.name): user for user in (admin_user(), viewer_user())}
        site.app = SiteServer(store, site.clock, tokens)
        if not kept:
            seed(store, self._ca_pem)
        seed_nodes(store, site.region, self.scenario.nodes)
        self._engine.attach(site, store)
        self._shelf.keep(store)
        return store

    def _feel(self, site: LabSite) -> None:
        now = self.clock.monotonic()
        site.feel(now)
        for callback in self.on_weather:
            callback(site)
        if site.store is not None:
            self._engine.recheck(site)
        change = next_change(site.spells, now)
        if change is not None:
            self.timers.after(change - now, partial(self._feel, site))
