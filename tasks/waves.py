"""What every rollout does, whatever it brings to its sites: a frozen plan, one decision after the other, an end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import NamedTuple
from uuid import uuid4

from prefect import runtime

from blocks.credentials import SiteCredentials
from edge.errors import NotYet, Transient
from edge.ledger import Ledger
from edge.model.outcome import Outcome, Status
from edge.model.rollout import Act, NextAct, RolloutFacts, RolloutPlan, Wave
from edge.model.site import Site
from edge.policy.next_act import next_act
from edge.policy.rollout import concurrency_of

LOOK_EVERY_S = 1.0
"""How long a decision holds for the sites that are about to begin, in seconds."""


class Share(NamedTuple):
    """Which of the runs that carry out a wave together one is: it takes its part of the wave's concurrency."""

    part: int
    of: int


ALONE = Share(0, 1)


class WavesJob:
    """One run of a rollout in this process: the frozen plan, and what is needed to carry it out.

    A plain class on purpose: Prefect looks into dataclasses and models that are passed to tasks, and this one is large.
    """

    def __init__(
        self,
        plan: RolloutPlan,
        ledger: Ledger,
        credentials: SiteCredentials,
        *,
        claim_s: float = 100.0,
        share: Share = ALONE,
    ) -> None:
        self.plan = plan
        self.ledger = ledger
        self.credentials = credentials
        self.holder = f"{runtime.flow_run.id}/{uuid4()}"
        """A process's own: a run that Prefect starts again is another holder than its dead self."""
        self.lease = ""
        """The name in the ledger that this run holds; it says nothing about sites without it."""
        self.lasting = timedelta(seconds=claim_s)
        self._wide = _without_width(plan)
        self._slots = {wave.index: threading.BoundedSemaphore(width_of(plan, wave, share)) for wave in plan.waves}
        self._wave_of = {site: wave.index for wave in plan.waves for site in wave.sites}
        self._guard = threading.Lock()
        self._looked = float("-inf")
        self._may_begin: frozenset[str] = frozenset()
        self._begun: set[str] = set()

    def outcomes(self) -> dict[str, Outcome]:
        """How the sites that have ended did, from the ledger: this run's and earlier ones'."""
        rows = self.ledger.rollouts.get(self.plan.rollout_id).sites
        return {
            row.site: Outcome(
                subject=row.site, status=row.status, cause=row.cause, seconds=row.seconds, detail=row.detail
            )
            for row in rows
            if row.status is not None
        }

    def open_sites(self, sites: Sequence[str]) -> tuple[str, ...]:
        """Those of `sites` that have not ended."""
        ended = self.facts()[0].outcomes
        return tuple(site for site in sites if site not in ended)

    def facts(self) -> tuple[RolloutFacts, datetime]:
        """What is known of the rollout, and when."""
        now = datetime.now(UTC)
        return self.ledger.rollouts.facts(self.plan.rollout_id, now=now), now

    def next_act(self) -> NextAct:
        """What the rollout does next, decided from the ledger.

        All sites that may begin are named at once: how many of them are at work together is the slots' business, so
        that none waits for a slow one of its batch.
        """
        facts, now = self.facts()
        return next_act(self._wide, facts, now)

    def slot(self, site: str) -> threading.BoundedSemaphore:
        """Held while the site is worked on."""
        return self._slots[self._wave_of[site]]

    def may_begin(self, site: str) -> bool:
        """Whether the rollout still wants this site to be begun: nobody paused it, and no budget broke meanwhile.

        One that this run has begun already is gone on with.
        """
        with self._guard:
            if site in self._begun:
                return True
            if monotonic() - self._looked > LOOK_EVERY_S:
                act = self.next_act()
                may = act.act is Act.WORK and self.keeps()
                self._may_begin = frozenset(act.sites) if may else frozenset()
                self._looked = monotonic()
            return site in self._may_begin

    def begin(self, site: str) -> bool:
        """Put on record that this run works on the site; False when that is another run's to do."""
        with self._guard:
            again = site in self._begun
        if again:
            return self.keeps()
        begun = self.ledger.rollouts.begin_site(self.plan.rollout_id, site, lease=self.lease, by=self.holder)
        if begun:
            with self._guard:
                self._begun.add(site)
        return begun

    def let_go(self, site: str) -> None:
        """Nothing was done at the site, and it may be begun again."""
        self.ledger.rollouts.abandon(self.plan.rollout_id, [site])
        with self._guard:
            self._begun.discard(site)

    def end(self, outcome: Outcome) -> bool:
        """Put on record how a site did; False, and nothing is, when another run has taken over meanwhile."""
        return self.ledger.rollouts.end_site(self.plan.rollout_id, outcome, lease=self.lease, by=self.holder)

    def keeps(self) -> bool:
        """Whether nobody has taken over from this run."""
        return self.ledger.leases.kept(self.lease, by=self.holder)

    def stop_looking(self) -> None:
        """A site has failed: look before the next one is begun."""
        with self._guard:
            self._looked = float("-inf")


def _without_width(plan: RolloutPlan) -> RolloutPlan:
    waves = tuple(wave.model_copy(update={"concurrency": max(1, len(wave.sites))}) for wave in plan.waves)
    return plan.model_copy(update={"waves": waves})


def width_of(plan: RolloutPlan, wave: Wave, share: Share) -> int:
    """How many sites of the wave one of the runs works on at once: together they keep the wave's concurrency."""
    each, over = divmod(concurrency_of(plan, wave), share.of)
    return max(1, each + (share.part < over))


def work_through(job: WavesJob, sites: Sequence[str], act: Callable[[Site], Outcome | None]) -> int:
    """Inside a task: do the act on each of these sites that may begin; answers how many were worked on.

    An act that answers None has found that the site must wait, and done nothing.

    How a site did is in the ledger. Sites that fail for a reason that may pass are tried again with the task, and only
    those. Raises Transient while there are such sites and tries left.
    """
    first_try = (runtime.task_run.run_count or 0) <= 1
    todo = sites if first_try else job.open_sites(sites)
    ended = [outcome for outcome in (_in_a_slot(job, site, act, first_try=first_try) for site in todo) if outcome]
    again = [outcome for outcome in ended if first_try and _may_pass(outcome)]
    if again:
        raise _try_again(again)
    return len(ended)


def _in_a_slot(job: WavesJob, name: str, act: Callable[[Site], Outcome | None], *, first_try: bool) -> Outcome | None:
    """None: the site may not begin. How it did is on record before the next one may begin."""
    with job.slot(name):
        if not (job.may_begin(name) and job.begin(name)):
            return None
        outcome = act(job.ledger.sites.get(name))
        if outcome is None:
            job.let_go(name)
            return None
        if not (first_try and _may_pass(outcome)):
            job.end(outcome)
            if outcome.status is not Status.SUCCEEDED:
                job.stop_looking()
    return outcome


def _may_pass(outcome: Outcome) -> bool:
    """Whether a second try may help. A site that did not become healthy has had all the time it may take."""
    if outcome.status is not Status.FAILED or outcome.cause is None:
        return False
    return outcome.cause.transient and outcome.cause.code != NotYet.code


def _try_again(outcomes: Sequence[Outcome]) -> Transient:
    names = ", ".join(outcome.subject for outcome in outcomes)
    cause = outcomes[0].cause
    return Transient(f"Sites will be tried again: {cause.message if cause else ''}", sites=names)
