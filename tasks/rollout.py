"""Opens a stamp's rollout: plans it anew, or takes up one that has not ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from blocks.arc import ArcSubscription
from blocks.credentials import SiteCredentials
from blocks.gitops import GitopsSource
from blocks.ledger import EdgeLedger
from blocks.load import load
from blocks.policies import PolicyRules
from blocks.secrets import SecretSource
from edge.ledger import Ledger
from edge.model.order import Blocks, RolloutOrder
from edge.model.rollout import Act, Delivery, NextAct, Rollout, RolloutPlan
from edge.model.stamp import Stamp
from edge.model.step import StepKey
from tasks.planning import begun_plan, check_stamp, check_values, find_cohort, find_stamp, new_plan
from tasks.pulling import Pulling
from tasks.rendering import Renderer
from tasks.waves import ALONE, Share, WavesJob


class RolloutJob(WavesJob):
    """One run of a stamp's rollout in this process."""

    def __init__(
        self, plan: RolloutPlan, stamp: Stamp, ledger: Ledger, opened: Opened, *, share: Share = ALONE
    ) -> None:
        super().__init__(plan, ledger, opened.credentials, claim_s=opened.claim_s, share=share)
        self.stamp = stamp
        self.renderer = Renderer(stamp, opened.secrets)
        self.policies = opened.policies
        self._opened = opened
        self._pulling: Pulling | None = None
        self._opening = threading.Lock()
        self._is_alone = False

    def next_act(self) -> NextAct:
        """What comes next. No site is begun while an earlier rollout still has some of the sites."""
        act = super().next_act()
        if self._is_alone or act.act not in (Act.WORK, Act.PRECACHE, Act.ASK):
            return act
        other = met(self)
        self._is_alone = not other
        return NextAct(act=Act.WAIT, why=f"rollout {other} still has some of these sites") if other else act

    @property
    def pulling(self) -> Pulling:
        """What delivering by GitOps works with; opened when it is first asked for. Raises InvalidInput without it."""
        with self._opening:
            if self._pulling is None:
                source = load(GitopsSource, self._opened.blocks.gitops)
                arc = load(ArcSubscription, self._opened.blocks.arc)
                self._pulling = Pulling(source, arc, self.stamp, self.renderer)
            return self._pulling

    def __enter__(self) -> Self:
        if self.plan.strategy.delivery is Delivery.GITOPS:
            _ = self.pulling  # what is missing for it is found before anything changes
        return self

    def __exit__(self, *error: object) -> None:
        if self._pulling is not None:
            self._pulling.__exit__(*error)

    def key(self, site: str, step: str) -> StepKey:
        """The step's key, the same on every try."""
        return StepKey(work=f"rollout:{self.plan.rollout_id}", subject=site, step=step)


class Opened:
    """The blocks, loaded. A plain class, so that Prefect does not look into it."""

    def __init__(self, blocks: Blocks) -> None:
        self.ledger_block = load(EdgeLedger, blocks.ledger)
        self.credentials = load(SiteCredentials, blocks.credentials)
        self.secrets = load(SecretSource, blocks.secrets)
        self.policies = load(PolicyRules, blocks.policies)
        self.claim_s = self.ledger_block.claim_s
        self.blocks = blocks


@contextmanager
def open_rollout(order: RolloutOrder, blocks: Blocks) -> Iterator[RolloutJob]:
    """Plan the rollout, or go on with the unfinished one of the same stamp, content, sites and parameters.

    Raises InvalidInput before anything is changed.
    """
    opened = Opened(blocks)
    with opened.ledger_block.client() as ledger:
        stamp = find_stamp(ledger, order.stamp)
        check_stamp(ledger, stamp, opened.policies)
        cohort = find_cohort(ledger, order.sites)
        plan = begun_plan(ledger, stamp, cohort, order) or new_plan(ledger, stamp, cohort, order)
        job = RolloutJob(plan, stamp, ledger, opened)
        check_values(job.renderer, cohort, order)
        ledger.stamps.record(stamp)
        with job:
            ledger.rollouts.start(plan, by=order.by)
            yield job


@contextmanager
def open_begun(rollout_id: str, blocks: Blocks, *, share: Share = ALONE) -> Iterator[RolloutJob]:
    """A rollout that was begun before. Raises NotFound."""
    opened = Opened(blocks)
    with opened.ledger_block.client() as ledger:
        plan = ledger.rollouts.get(rollout_id).plan
        stamp = ledger.stamps.get(plan.stamp, plan.version)
        with RolloutJob(plan, stamp, ledger, opened, share=share) as job:
            yield job


def met(job: WavesJob) -> str:
    """The id of a rollout that was begun before this one and still has some of its sites; empty when there is none."""
    sites = [site for wave in job.plan.waves for site in wave.sites]
    active = set(job.ledger.rollouts.active_on(sites, but=job.plan.rollout_id).values())
    mine = job.ledger.rollouts.get(job.plan.rollout_id)
    earlier = [other for other in map(job.ledger.rollouts.get, active) if _is_before(other, mine)]
    return earlier[0].plan.rollout_id if earlier else ""


def _is_before(other: Rollout, mine: Rollout) -> bool:
    return (other.started_at, other.plan.rollout_id) < (mine.started_at, mine.plan.rollout_id)
