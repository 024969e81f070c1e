"""What a rollout would do at each of its sites. Reads, tries as dry runs, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime

from blocks.credentials import SiteCredentials
from blocks.policies import PolicyRules
from edge.errors import EdgeError, SiteSilent, SiteUnreachable
from edge.ledger import Ledger
from edge.model.outcome import Cause
from edge.model.placement import HoldKind
from edge.model.plan import SiteLook, SitePlan
from edge.model.rollout import RolloutPlan, SiteProgress
from edge.model.site import OfflinePolicy, Site
from edge.model.stamp import Stamp
from edge.policy.rules import unwaived
from edge.policy.windows import next_open
from tasks.preflight import look_ahead
from tasks.rendering import Renderer

AT_ONCE = 16
_HISTORY = 10
"""How many earlier rollouts the prediction rests on."""


class Lookout:
    """Looks at the sites of one plan. `now` is the moment that windows and locks are told for."""

    def __init__(self, ledger: Ledger, plan: RolloutPlan, stamp: Stamp, renderer: Renderer, now: datetime) -> None:
        self._ledger, self._plan, self._stamp, self._renderer, self._now = ledger, plan, stamp, renderer, now
        self._skipped = _skipped(ledger, plan, now)
        placed = ledger.placements.of_stamp(plan.stamp)
        self._inventories = {one.site: one.inventory for one in placed}
        self._wave_of = {site: wave.index for wave in plan.waves for site in wave.sites}

    def at_sites(
        self,
        cohort: Sequence[Site],
        credentials: SiteCredentials | None,
        policies: PolicyRules,
        on_done: Callable[[int], None],
    ) -> tuple[SitePlan, ...]:
        """One plan for each site, in the order of the waves; without credentials only what needs no site.

        `on_done` gets the number of sites that were looked at.
        """
        with ThreadPoolExecutor(AT_ONCE) as pool:
            looks = [pool.submit(self._at, site, credentials, policies) for site in cohort]
            for done, _ in enumerate(as_completed(looks), start=1):
                on_done(done)
        found = [look.result() for look in looks]
        return tuple(sorted(found, key=lambda one: one.wave))

    def _at(self, site: Site, credentials: SiteCredentials | None, policies: PolicyRules) -> SitePlan:
        opening = next_open(self._plan.strategy.windows, site.time_zone, self._now, fits_s=self._needs_s())
        said = SitePlan(
            site=site.name,
            wave=self._wave_of[site.name],
            skipped=self._skipped.get(site.name, "") or ("" if opening else "no window is ever long enough"),
            opens_at=opening.opens if opening and opening.opens > self._now else None,
        )
        try:
            return said.model_copy(update={"look": self._look(site, credentials, policies)})
        except EdgeError as error:
            is_gone = isinstance(error, SiteUnreachable | SiteSilent)
            away = is_gone and site.when_offline is OfflinePolicy.EXPECTED
            update = {"cause": Cause.of(error), "is_away": away, "look": self._by_rules(site, policies)}
            return said.model_copy(update=update)

    def _look(self, site: Site, credentials: SiteCredentials | None, policies: PolicyRules) -> SiteLook:
        if credentials is None:
            return self._by_rules(site, policies)
        objects = self._renderer.objects(site, self._plan.parameters)
        inventory = self._inventories.get(site.name, ())
        inventory = inventory if self._plan.strategy.prune else ()
        with credentials.client(site.name) as client:
            return look_ahead(client, self._stamp, objects, inventory=inventory, policies=policies)

    def _by_rules(self, site: Site, policies: PolicyRules) -> SiteLook:
        """What can be said without the site."""
        objects = self._renderer.shown(site, self._plan.parameters)
        violations = policies.book().violations(objects, self._stamp.waivers, datetime.now(UTC))
        broken = unwaived(violations)
        told = tuple(f"{one.ref}: {one.message} ({one.code})" for one in broken)
        if not policies.is_strict:
            return SiteLook(violations=violations, warnings=told)
        return SiteLook(violations=violations, problems=told, codes=tuple(sorted({one.code for one in broken})))

    def _needs_s(self) -> float:
        return self._plan.strategy.site_deadline_s + self._plan.strategy.self_test_s


def _skipped(ledger: Ledger, plan: RolloutPlan, now: datetime) -> Mapping[str, str]:
    """Site -> why the rollout would leave it alone as things are now."""
    found: dict[str, str] = {}
    for site in ledger.placements.failed(plan.stamp, plan.digest) - set(plan.strategy.force):
        found[site] = "this version failed there before, and the strategy does not force it"
    for site, hold in ledger.holds.all(HoldKind.ROLLOUTS, now=now).items():
        found[site] = f"locked until {hold.until:%Y-%m-%d %H:%M} UTC: {hold.reason}"
    return found


def history(ledger: Ledger, stamp: str) -> tuple[SiteProgress, ...]:
    """Rows of sites in earlier rollouts: of this stamp, or of others when there are none."""
    rollouts = ledger.rollouts.list()
    own = [one for one in rollouts if one.plan.stamp == stamp]
    found = [ledger.rollouts.get(one.plan.rollout_id) for one in (own or rollouts)[:_HISTORY]]
    return tuple(row for rollout in found for row in rollout.sites)
