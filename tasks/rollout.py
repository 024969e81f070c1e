"""Opens a stamp's rollout: plans it anew, or takes up one that has not ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from blocks.credentials import SiteCredentials
from blocks.ledger import EdgeLedger
from blocks.load import load
from blocks.secrets import SecretSource
from edge.clients.stamp_artifacts import read_stamp_source
from edge.errors import InvalidInput
from edge.ledger import Ledger
from edge.model.order import Blocks, RolloutOrder
from edge.model.rollout import Act, NextAct, OnMeeting, Rollout, RolloutPlan
from edge.model.site import Site, SiteSelector
from edge.model.stamp import Stamp
from edge.model.step import StepKey
from edge.policy.rollout import plan_rollout
from edge.policy.site import select_sites
from edge.policy.stamp import parse_stamp
from edge.policy.strategy import check_strategy
from edge.policy.versions import refuse_downgrade
from edge.settings import Settings
from tasks.rendering import Renderer
from tasks.waves import WavesJob


class RolloutJob(WavesJob):
    """One run of a stamp's rollout in this process."""

    def __init__(self, plan: RolloutPlan, stamp: Stamp, ledger: Ledger, opened: Opened, *, share: int = 1) -> None:
        super().__init__(plan, ledger, opened.credentials, claim_s=opened.claim_s, share=share)
        self.stamp = stamp
        self.renderer = Renderer(stamp, opened.secrets)
        self._is_alone = False

    def next_act(self) -> NextAct:
        """What comes next. No site is begun while an earlier rollout still has some of the sites."""
        act = super().next_act()
        if self._is_alone or act.act not in (Act.WORK, Act.PRECACHE, Act.ASK):
            return act
        other = met(self)
        self._is_alone = not other
        return NextAct(act=Act.WAIT, why=f"rollout {other} still has some of these sites") if other else act

    def key(self, site: str, step: str) -> StepKey:
        """The step's key, the same on every try."""
        return StepKey(work=f"rollout:{self.plan.rollout_id}", subject=site, step=step)


class Opened:
    """The blocks, loaded. A plain class, so that Prefect does not look into it."""

    def __init__(self, blocks: Blocks) -> None:
        self.ledger_block = load(EdgeLedger, blocks.ledger)
        self.credentials = load(SiteCredentials, blocks.credentials)
        self.secrets = load(SecretSource, blocks.secrets)
        self.claim_s = self.ledger_block.claim_s


@contextmanager
def open_rollout(order: RolloutOrder, blocks: Blocks) -> Iterator[RolloutJob]:
    """Plan the rollout, or go on with the unfinished one of the same stamp, content, sites and parameters.

    Raises InvalidInput before anything is changed.
    """
    opened = Opened(blocks)
    with opened.ledger_block.client() as ledger:
        stamp = find_stamp(ledger, order.stamp)
        cohort = find_cohort(ledger, order.sites)
        ledger.stamps.record(stamp)
        plan = begun_plan(ledger, stamp, cohort, order) or new_plan(ledger, stamp, cohort, order)
        job = RolloutJob(plan, stamp, ledger, opened)
        check_values(job.renderer, cohort, order)
        ledger.rollouts.start(plan)
        yield job


@contextmanager
def open_begun(rollout_id: str, blocks: Blocks, *, share: int = 1) -> Iterator[RolloutJob]:
    """A rollout that was begun before. Raises NotFound."""
    opened = Opened(blocks)
    with opened.ledger_block.client() as ledger:
        plan = ledger.rollouts.get(rollout_id).plan
        stamp = ledger.stamps.get(plan.stamp, plan.version)
        yield RolloutJob(plan, stamp, ledger, opened, share=share)


def find_stamp(ledger: Ledger, stamp: str) -> Stamp:
    """`name@version` is what the ledger has recorded; anything else is a folder, an artifact, or the name of one."""
    name, at, version = stamp.partition("@")
    if at and "/" not in stamp and ":" not in stamp:
        return ledger.stamps.get(name, version)
    return parse_stamp(read_stamp_source(stamp, Settings().stamp_folders))


def find_cohort(ledger: Ledger, selector: SiteSelector) -> tuple[Site, ...]:
    """The sites that are meant. Raises InvalidInput when there are none, or a name is not known."""
    known = ledger.sites.list()
    unknown = set(selector.names) - {site.name for site in known}
    if unknown:
        remedy = "See `edge site list`"
        raise InvalidInput("No such site", remedy=remedy, field="sites.names", value=", ".join(sorted(unknown)))
    cohort = select_sites(known, selector)
    if not cohort:
        raise InvalidInput("No site matches", field="sites", value=selector.model_dump_json(exclude_defaults=True))
    return tuple(cohort)


def begun_plan(ledger: Ledger, stamp: Stamp, cohort: Sequence[Site], order: RolloutOrder) -> RolloutPlan | None:
    """The plan of the unfinished rollout that goes on instead of a new one."""
    names = tuple(site.name for site in cohort)
    begun = ledger.rollouts.unfinished(stamp.name, stamp.version, stamp.digest, names)
    if begun is None or begun.plan.parameters != dict(order.parameters):
        return None
    return begun.plan


def new_plan(ledger: Ledger, stamp: Stamp, cohort: Sequence[Site], order: RolloutOrder) -> RolloutPlan:
    """A plan that is checked against the cohort, the fleet's other rollouts, and what the sites have."""
    check_strategy(order.strategy, cohort, datetime.now(UTC))
    refuse_older(ledger, stamp, cohort, order)
    attempt = 1 + ledger.rollouts.count(stamp.name, stamp.version)
    plan = plan_rollout(stamp, cohort, order.strategy, order.parameters, attempt)
    if order.strategy.on_meeting is OnMeeting.REFUSE:
        _refuse_meeting(ledger, plan, cohort)
    return plan.model_copy(update={"selector": order.sites})


def check_values(renderer: Renderer, cohort: Sequence[Site], order: RolloutOrder) -> None:
    """Render for every site, so that a value that fits one site and not another is found before anything changes."""
    for site in cohort:
        renderer.shown(site, order.parameters)


def refuse_older(ledger: Ledger, stamp: Stamp, cohort: Sequence[Site], order: RolloutOrder) -> None:
    """Raises InvalidInput when a site has a newer version, and going back was not asked for."""
    if order.allow_downgrade:
        return
    has = {placed.site: placed.version for placed in ledger.placements.of_stamp(stamp.name)}
    for site in cohort:
        if site.name in has:
            refuse_downgrade(has[site.name], stamp.version, site=site.name, stamp=stamp.name)


def _refuse_meeting(ledger: Ledger, plan: RolloutPlan, cohort: Sequence[Site]) -> None:
    active = ledger.rollouts.active_on([site.name for site in cohort], but=plan.rollout_id)
    if active:
        site, other = next(iter(active.items()))
        remedy = "Wait for its end, or cancel it"
        raise InvalidInput("Another rollout has this site", remedy=remedy, site=site, rollout=other, sites=len(active))


def met(job: WavesJob) -> str:
    """The id of a rollout that was begun before this one and still has some of its sites; empty when there is none."""
    sites = [site for wave in job.plan.waves for site in wave.sites]
    active = set(job.ledger.rollouts.active_on(sites, but=job.plan.rollout_id).values())
    mine = job.ledger.rollouts.get(job.plan.rollout_id)
    earlier = [other for other in map(job.ledger.rollouts.get, active) if _is_before(other, mine)]
    return earlier[0].plan.rollout_id if earlier else ""


def _is_before(other: Rollout, mine: Rollout) -> bool:
    return (other.started_at, other.plan.rollout_id) < (mine.started_at, mine.plan.rollout_id)
