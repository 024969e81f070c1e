"""What a rollout's try at one site has in common, whichever way the stamp gets there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from time import monotonic

from edge.clients.kubernetes import SiteClient
from edge.errors import EdgeError, FencedOff, SiteSilent, SiteUnreachable, Surprising
from edge.model.kube import ObjectRef
from edge.model.outcome import Cause, Outcome, Status
from edge.model.placement import FailedVersion, Placement
from edge.model.site import Site
from edge.model.step import Detail, StepRecord, StepState, earlier_work
from edge.policy.rollout import UNCHANGED, offline_status
from tasks.checks import await_checks, self_test
from tasks.rollout import RolloutJob
from tasks.site_lock import is_locked

PREPARE = "prepare"
"""The first step. It changes nothing, and its detail says what the site had."""
_SAYS_NOTHING = (SiteUnreachable, SiteSilent, FencedOff)
"""Errors that are not the version's."""


class Visit:
    """One try at one site. Its steps are remembered, and none runs after one that failed."""

    def __init__(self, job: RolloutJob, site: Site) -> None:
        self.job, self.site = job, site
        self.started = monotonic()
        self.is_begun = False
        """Whether something may have been changed at the site."""

    def once(self, step: str, effect: Callable[[], Detail]) -> StepRecord:
        """Do a step of this site, unless it is done."""
        return self.job.ledger.steps.once(self.job.key(self.site.name, step), effect)

    @property
    def left_s(self) -> float:
        """Seconds until the site's deadline."""
        return self.job.plan.strategy.site_deadline_s - (monotonic() - self.started)

    def is_locked(self, client: SiteClient) -> bool:
        """Whether the site itself says "not now". One that was begun is finished whatever it says."""
        return is_locked(self.job, client, self.site.name) and done_step(self.job, self.site.name, PREPARE) is None

    def had(self) -> Placement | None:
        """What the site has of this stamp."""
        return self.job.ledger.placements.get(self.site.name, self.job.stamp.name)

    def before(self, has: Placement | None) -> Placement | None:
        """What it had before this rollout, when `has` is what it has: an earlier try may have brought a part."""
        if has is None or has.rollout_id != self.job.plan.rollout_id:
            return has
        earlier = earlier_step(self.job, self.site.name, PREPARE)
        return has if earlier is None else placement_before(earlier.detail)

    def succeeded(self) -> Outcome:
        """The site has the version."""
        return Outcome(subject=self.site.name, status=Status.SUCCEEDED, seconds=monotonic() - self.started)

    def failed(self, error: EdgeError) -> Outcome:
        """How the site ended, and on record what that says about the version there."""
        status, cause = self._status(error), Cause.of(error)
        left: Detail = {**error.left}
        if not self.is_begun and self.is_half():
            left = self._left_before()
        elif not self.is_begun and not cause.reason:
            cause = cause.model_copy(update={"reason": UNCHANGED})
        if self.is_begun and status is Status.FAILED and not isinstance(error, _SAYS_NOTHING):
            self._remember_failure(error)
        seconds = monotonic() - self.started
        return Outcome(subject=self.site.name, status=status, cause=cause, seconds=seconds, detail=left)

    def is_half(self) -> bool:
        """Whether an earlier try of this rollout has changed the site."""
        has = self.had()
        return has is not None and has.rollout_id == self.job.plan.rollout_id

    def _left_before(self) -> Detail:
        rows = self.job.ledger.rollouts.get(self.job.plan.rollout_id).sites
        return next(row.detail for row in rows if row.site == self.site.name)

    def _status(self, error: EdgeError) -> Status:
        return Status.QUARANTINED if isinstance(error, Surprising) else offline_status(error, self.site.when_offline)

    def _remember_failure(self, error: EdgeError) -> None:
        plan = self.job.plan
        said = {"stamp": plan.stamp, "version": plan.version, "digest": plan.digest, "rollout_id": plan.rollout_id}
        at = datetime.now(UTC)
        self.job.ledger.placements.fail(FailedVersion(site=self.site.name, at=at, reason=error.code, **said))

    def check(self, client: SiteClient, refs: Sequence[ObjectRef]) -> Detail:
        """The stamp's own checks, and the time in which they must hold. Raises NotYet and OperationFailed."""
        checks, test_s = self.job.stamp.checks, self.job.plan.strategy.self_test_s
        await_checks(client, checks, self.left_s)
        if test_s:
            self_test(client, checks, refs, test_s)
        return {"checks": len(checks), "self_test_s": test_s}

    def place(self, inventory: Sequence[ObjectRef]) -> None:
        """Put on record what the site has now."""
        plan = self.job.plan
        self.job.ledger.placements.put(
            Placement(
                site=self.site.name,
                stamp=plan.stamp,
                version=plan.version,
                digest=plan.digest,
                content=self.job.renderer.content(self.site, plan.parameters),
                rollout_id=plan.rollout_id,
                at=datetime.now(UTC),
                inventory=tuple(dict.fromkeys(inventory)),
                parameters=plan.parameters,
            )
        )


def placement_before(detail: Detail) -> Placement | None:
    """What the site had before, as the first step put it on record."""
    said = str(detail.get("had") or "")
    return Placement.model_validate_json(said) if said else None


def done_step(job: RolloutJob, site: str, step: str) -> StepRecord | None:
    """A step of a site that is done; None when it is not."""
    is_it = partial(_is_done, step)
    return next(filter(is_it, job.ledger.steps.records(f"rollout:{job.plan.rollout_id}", site)), None)


def earlier_step(job: RolloutJob, site: str, step: str) -> StepRecord | None:
    """A step as an earlier try at the site did it, when the site was retried since."""
    return next(
        filter(partial(_is_done, step), job.ledger.steps.records(earlier_work(job.plan.rollout_id), site)), None
    )


def _is_done(step: str, record: StepRecord) -> bool:
    return record.key.step == step and record.state is StepState.DONE
