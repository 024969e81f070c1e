"""What a rollout does at one site: check, keep what is there, apply, and see that it works."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from time import monotonic

from prefect import task
from prefect.cache_policies import NO_CACHE

from edge.clients.kubernetes import SiteClient, ref_of
from edge.errors import EdgeError, SiteSilent, SiteUnreachable, Surprising
from edge.model.kube import KubeObject, ObjectRef
from edge.model.outcome import Cause, Outcome, Status
from edge.model.placement import CatchUpState, FailedVersion, Placement
from edge.model.rollout import Preflight
from edge.model.site import Site
from edge.model.step import Detail
from edge.policy.rollout import UNCHANGED, offline_status
from edge.policy.snapshot import Bodies
from tasks.applying import apply_objects, await_health
from tasks.checks import await_checks, self_test
from tasks.fencing import fenced
from tasks.preflight import preflight
from tasks.pruning import prune
from tasks.reconnect import look_again
from tasks.retry import DELAY_S, RETRIES, only_transient
from tasks.rollout import RolloutJob
from tasks.snapshot import look, take_snapshot
from tasks.waves import work_through

PREPARE, APPLY, HEALTH = "prepare", "apply", "health"


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAY_S,
    retry_condition_fn=only_transient,
    task_run_name="stamp {sites[0]}",
)
def stamp_sites(job: RolloutJob, sites: tuple[str, ...]) -> int:
    """Put the stamp on each of these sites that may begin; see `work_through`."""
    return work_through(job, sites, partial(stamp_site, job))


def stamp_site(job: RolloutJob, site: Site) -> Outcome:
    """Bring the stamp to one site and wait until it works. A failure is an outcome, not an exception."""
    started = monotonic()
    visit = _Visit(job, site, started)
    try:
        with job.credentials.client(site.name) as client, fenced(client, site.name, job.plan.rollout_id) as mine:
            visit.bring(mine)
    except EdgeError as error:
        return visit.failed(error)
    return Outcome(subject=site.name, status=Status.SUCCEEDED, seconds=monotonic() - started)


class _Visit:
    """One try at one site."""

    def __init__(self, job: RolloutJob, site: Site, started: float) -> None:
        self.job, self.site, self.started = job, site, started
        self.is_begun = False
        """Whether something may have been written of the stamp."""

    def bring(self, client: SiteClient) -> None:
        """The steps in their order; each is remembered, and none runs after one that failed."""
        once, key = self.job.ledger.steps.once, partial(self.job.key, self.site.name)
        stages = self.job.renderer.stages(self.site, self.job.plan.parameters)
        objects = tuple(chain.from_iterable(stages))
        prepared = once(key(PREPARE), partial(self._prepare, client, objects))
        self.is_begun = True
        had = placement_before(prepared.detail)
        once(key(APPLY), partial(self._apply, client, stages, had))
        once(key(HEALTH), partial(self._health, client, objects))

    def failed(self, error: EdgeError) -> Outcome:
        """How the site ended, and on record what that says about the version there."""
        status = self._status(error)
        cause = Cause.of(error)
        if not self.is_begun and not cause.reason:
            cause = cause.model_copy(update={"reason": UNCHANGED})
        if self.is_begun and status is Status.FAILED and not isinstance(error, SiteUnreachable | SiteSilent):
            self._remember_failure(error)
        return Outcome(subject=self.site.name, status=status, cause=cause, seconds=monotonic() - self.started)

    def _status(self, error: EdgeError) -> Status:
        if isinstance(error, Surprising):
            return Status.QUARANTINED
        return offline_status(error, self.site.when_offline)

    def _remember_failure(self, error: EdgeError) -> None:
        plan = self.job.plan
        said = {"stamp": plan.stamp, "version": plan.version, "digest": plan.digest, "rollout_id": plan.rollout_id}
        at = self.job.facts()[1]
        self.job.ledger.placements.fail(FailedVersion(site=self.site.name, at=at, reason=error.code, **said))

    def _prepare(self, client: SiteClient, objects: Sequence[KubeObject]) -> Detail:
        """Check all there is to check, and keep what is there. Nothing of the stamp is written yet."""
        job, site = self.job, self.site
        had = job.ledger.placements.get(site.name, job.stamp.name)
        refs = [ref_of(obj) for obj in objects]
        old = [ref for ref in (had.inventory if had else ()) if ref not in set(refs)]
        live = look(client, [*refs, *old])
        self._look_again(client, had, live)
        checked = self._preflight(client, objects, live)
        kept = take_snapshot(client, job.plan.rollout_id, [*refs, *old], stamp=job.stamp.name, live=live)
        return {**checked, "snapshot": str(kept["digest"]), "had": had.model_dump_json() if had else ""}

    def _preflight(self, client: SiteClient, objects: Sequence[KubeObject], live: Bodies) -> Detail:
        if self.job.plan.strategy.preflight is Preflight.NONE:
            return {}
        return preflight(client, self.job.stamp, objects, live=live, policies=self.job.policies)

    def _look_again(self, client: SiteClient, had: Placement | None, live: Bodies) -> None:
        """A site that was away may have changed in ways that nobody expected: then a person looks first."""
        missed = self.job.ledger.catch_ups.get(self.site.name, self.job.stamp.name)
        if missed is not None and missed.state in (CatchUpState.QUEUED, CatchUpState.RUNNING):
            look_again(client, had, approved_by=missed.approved_by, live=live)

    def _apply(self, client: SiteClient, stages: Sequence[Sequence[KubeObject]], had: Placement | None) -> Detail:
        """Apply stage by stage, each once the one before works; then take away what is no longer part of the stamp."""
        answers: list[KubeObject] = []
        refs = [ref_of(obj) for obj in chain.from_iterable(stages)]
        try:
            for number, stage in enumerate(stages):
                apply_objects(client, stage, answers)
                if number + 1 < len(stages):
                    await_health(client, answers[-len(stage) :], self._left_s())
            pruned = self._prune(client, had, refs)
        except EdgeError as error:
            error.where["applied"] = f"{len(answers)} of {len(refs)} objects"
            self._place([*refs, *(had.inventory if had else ())])
            raise
        self._place(refs)
        return {"objects": len(refs), **pruned}

    def _prune(self, client: SiteClient, had: Placement | None, refs: Sequence[ObjectRef]) -> Detail:
        if had is None or not self.job.plan.strategy.prune:
            return {}
        return prune(client, self.job.stamp.name, had.inventory, refs)

    def _health(self, client: SiteClient, objects: Sequence[KubeObject]) -> Detail:
        detail = await_health(client, objects, self._left_s())
        checks, test_s = self.job.stamp.checks, self.job.plan.strategy.self_test_s
        await_checks(client, checks, self._left_s())
        if test_s:
            self_test(client, checks, [ref_of(obj) for obj in objects], test_s)
        return {**detail, "checks": len(checks), "self_test_s": test_s}

    def _place(self, inventory: Sequence[ObjectRef]) -> None:
        """Put on record what the site has now."""
        job, plan = self.job, self.job.plan
        job.ledger.placements.put(
            Placement(
                site=self.site.name,
                stamp=plan.stamp,
                version=plan.version,
                digest=plan.digest,
                content=job.renderer.content(self.site, plan.parameters),
                rollout_id=plan.rollout_id,
                at=job.facts()[1],
                inventory=tuple(dict.fromkeys(inventory)),
                parameters=plan.parameters,
            )
        )

    def _left_s(self) -> float:
        return self.job.plan.strategy.site_deadline_s - (monotonic() - self.started)


def placement_before(detail: Detail) -> Placement | None:
    """What the site had before, as the first step put it on record."""
    said = str(detail.get("had") or "")
    return Placement.model_validate_json(said) if said else None
