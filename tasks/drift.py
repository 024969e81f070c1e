"""Looks at what sites have and compares it with what the platform put there. Changes nothing at any site."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

from prefect import runtime, task
from prefect.cache_policies import NO_CACHE

from edge.clients.kubernetes import SiteClient, ref_of
from edge.errors import EdgeError, LedgerMismatch, NotFound, SiteSilent, SiteUnreachable, Surprising
from edge.ledger import Ledger
from edge.model.drift import DriftLook, DriftOrder, DriftRule, DriftStatus, Finding
from edge.model.kube import KubeObject
from edge.model.order import Blocks
from edge.model.outcome import Cause, Status
from edge.model.placement import HoldKind, Placement
from edge.model.rollout import Delivery, RolloutPlan
from edge.model.site import Site
from edge.policy.drift import Difference, differences
from edge.policy.drift_report import finding, is_ignored, rules_of
from edge.policy.owned_fields import MANAGER
from edge.policy.site import select_sites
from tasks.rendering import Renderer
from tasks.rollout import Opened
from tasks.snapshot import look

FLUX = "kustomize-controller"
"""Who applies what a site pulls."""


class Seen(NamedTuple):
    """One object of a placement: what is wanted of it, and each difference that was found, ignored or not."""

    wanted: KubeObject
    found: tuple[tuple[Difference, Finding, bool], ...]


class DriftJob:
    """One run of the detection: what is looked at, and what is known of it. Safe to share between threads.

    A plain class on purpose: Prefect looks into dataclasses and models that are passed to tasks, and this one is large.
    """

    def __init__(self, order: DriftOrder, ledger: Ledger, opened: Opened) -> None:
        self.order, self.ledger, self.credentials = order, ledger, opened.credentials
        self.holder = f"drift:{runtime.flow_run.id or datetime.now(UTC).isoformat()}"
        self.work = f"{self.holder}:{runtime.flow_run.run_count}"
        """A run that Prefect tries again mends what differs then: what it did before may have been undone."""
        self.sites = {site.name: site for site in select_sites(ledger.sites.list(), order.sites)}
        self.placements = _chosen(ledger, order, self.sites)
        self.under_repair = ledger.holds.all(HoldKind.DRIFT, now=datetime.now(UTC))
        self._failed = {
            (stamp, digest): ledger.placements.failed(stamp, digest)
            for stamp, digest in {(one.stamp, one.digest) for some in self.placements.values() for one in some}
        }
        self._secrets = opened.secrets
        self._guard = threading.Lock()
        self._renderers: dict[tuple[str, str], Renderer] = {}
        self._rollouts: dict[str, tuple[RolloutPlan, dict[str, Status | None]] | None] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The sites that have something."""
        return tuple(self.placements)

    def renderer(self, placement: Placement) -> Renderer:
        """Of the version that the site has. Raises NotFound, and LedgerMismatch when its content is another one."""
        key = (placement.stamp, placement.version)
        with self._guard:
            if key not in self._renderers:
                stamp = self.ledger.stamps.get(*key)
                if stamp.digest != placement.digest:
                    raise LedgerMismatch("The site has another content of this version", stamp=placement.stamp)
                self._renderers[key] = Renderer(stamp, self._secrets)
            return self._renderers[key]

    def plan(self, rollout_id: str) -> RolloutPlan | None:
        """The plan by which a stamp came; None when it is not on record."""
        found = self._rollout(rollout_id)
        return found[0] if found else None

    def _rollout(self, rollout_id: str) -> tuple[RolloutPlan, dict[str, Status | None]] | None:
        """The rollout's plan, and how its sites ended."""
        with self._guard:
            if rollout_id not in self._rollouts:
                try:
                    found = self.ledger.rollouts.get(rollout_id)
                    self._rollouts[rollout_id] = found.plan, {row.site: row.status for row in found.sites}
                except NotFound:
                    self._rollouts[rollout_id] = None
            return self._rollouts[rollout_id]

    def is_pulled(self, placement: Placement) -> bool:
        """Whether the site gets the stamp by GitOps, and mends it by itself."""
        plan = self.plan(placement.rollout_id)
        return plan is not None and plan.strategy.delivery is Delivery.GITOPS

    def why_not(self, placement: Placement) -> str:
        """Why a placement is not looked at; empty when it is."""
        if placement.site in self.ledger.rollouts.working():
            return "A rollout is at work there"
        if placement.site in self._failed[placement.stamp, placement.digest]:
            return f"Version {placement.version} failed there: a rollout has to bring it first"
        rollout = self._rollout(placement.rollout_id)
        if rollout is not None and rollout[1].get(placement.site) is not Status.SUCCEEDED:
            return f"Rollout {placement.rollout_id} brought only a part of it: a rollout has to finish that first"
        return ""


def _chosen(ledger: Ledger, order: DriftOrder, sites: dict[str, Site]) -> dict[str, tuple[Placement, ...]]:
    chosen: dict[str, tuple[Placement, ...]] = {}
    for placement in ledger.placements.list():
        if placement.site in sites and (not order.stamps or placement.stamp in order.stamps):
            chosen[placement.site] = (*chosen.get(placement.site, ()), placement)
    return chosen


@contextmanager
def open_drift(order: DriftOrder, blocks: Blocks) -> Iterator[DriftJob]:
    """What is looked at, from the ledger. Raises InvalidInput when a site is named that there is not."""
    opened = Opened(blocks)
    with opened.ledger_block.client() as ledger:
        yield DriftJob(order, ledger, opened)


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="look at {sites[0]}")
def look_at_sites(job: DriftJob, sites: Sequence[str]) -> list[DriftLook]:
    """Look at everything that these sites have. A site that cannot be looked at is an answer, not an exception."""
    return [one for site in sites for one in look_at_site(job, site)]


def look_at_site(job: DriftJob, name: str) -> list[DriftLook]:
    """One look for each stamp that the site has."""
    hold = job.under_repair.get(name)
    if hold is not None:
        why = f"Until {hold.until.isoformat(timespec='minutes')}: {hold.reason}"
        return [_not_looked(one, DriftStatus.UNDER_REPAIR, why) for one in job.placements[name]]
    reasons = {one.stamp: job.why_not(one) for one in job.placements[name]}
    todo = [one for one in job.placements[name] if not reasons[one.stamp]]
    looks = [
        _not_looked(one, DriftStatus.SKIPPED, reasons[one.stamp]) for one in job.placements[name] if reasons[one.stamp]
    ]
    if not todo:
        return looks
    try:
        with job.credentials.client(name) as client:
            return looks + [_look(job, client, one) for one in todo]
    except EdgeError as error:
        return looks + [failed(one, error) for one in todo]


def _not_looked(placement: Placement, status: DriftStatus, why: str) -> DriftLook:
    return DriftLook(site=placement.site, stamp=placement.stamp, status=status, why=why)


def failed(placement: Placement, error: EdgeError) -> DriftLook:
    """What an error means for a look at a placement."""
    status = DriftStatus.AWAY if isinstance(error, SiteUnreachable | SiteSilent) else DriftStatus.FAILED
    return DriftLook(site=placement.site, stamp=placement.stamp, status=status, cause=Cause.of(error))


def _look(job: DriftJob, client: SiteClient, placement: Placement) -> DriftLook:
    try:
        seen = inspect(job, client, placement)
    except EdgeError as error:
        return failed(placement, error)
    return on_record(job, placement, seen)


def inspect(job: DriftJob, client: SiteClient, placement: Placement) -> tuple[Seen, ...]:
    """What is there now of each object that came with a placement, beside what is wanted of it.

    Raises Surprising when what the stamp comes to at this site is not what was put there: a label of the site, a value
    of its region has changed since, and only a rollout may bring that.
    """
    site, renderer = job.sites[placement.site], job.renderer(placement)
    if renderer.content(site, placement.parameters) != placement.content:
        remedy = "Roll the stamp out to the site again"
        what = "What the stamp comes to here is not what was put here: the site's values have changed since"
        raise Surprising(what, remedy=remedy, site=site.name, stamp=placement.stamp)
    wanted = renderer.objects(site, placement.parameters)
    shown = renderer.shown(site, placement.parameters)
    live = look(client, [ref_of(obj) for obj in wanted])
    manager = FLUX if job.is_pulled(placement) else MANAGER
    seen = []
    for obj, open_obj in zip(wanted, shown, strict=True):
        found = differences(obj, live[ref_of(obj)], manager)
        rules = (*job.order.ignore, *rules_of(open_obj))
        seen.append(Seen(obj, tuple(_told(placement, obj, open_obj, one, rules) for one in found)))
    return tuple(seen)


def _told(
    placement: Placement, wanted: KubeObject, shown: KubeObject, one: Difference, rules: Sequence[DriftRule]
) -> tuple[Difference, Finding, bool]:
    told = finding(placement.site, placement.stamp, shown, wanted, one)
    return one, told, is_ignored(told, rules)


def on_record(job: DriftJob, placement: Placement, seen: Sequence[Seen], *, mended: bool = False) -> DriftLook:
    """Put on record what drift there is now; the look that says so."""
    every = [one for obj in seen for one in obj.found]
    kept = [told for _, told, ignored in every if not ignored]
    findings = job.ledger.drift.record(placement.site, placement.stamp, kept, mended=mended)
    return DriftLook(
        site=placement.site,
        stamp=placement.stamp,
        status=DriftStatus.DRIFTED if findings else DriftStatus.CLEAN,
        findings=findings,
        ignored=len(every) - len(kept),
    )
