"""What a rollout does at one site: check, keep what is there, apply, and see that it works."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain

from prefect import task
from prefect.cache_policies import NO_CACHE

from edge.clients.kubernetes import SiteClient, ref_of
from edge.errors import EdgeError, NotYet, Throttled
from edge.model.kube import KubeObject, ObjectRef
from edge.model.outcome import Outcome
from edge.model.placement import CatchUpState, Placement
from edge.model.rollout import Delivery, Preflight
from edge.model.site import Site
from edge.model.step import Detail
from edge.policy.snapshot import Bodies
from tasks.applying import apply_objects, await_health
from tasks.fencing import fenced
from tasks.preflight import preflight
from tasks.pruning import prune
from tasks.reconnect import look_again
from tasks.retry import DELAY_S, RETRIES, only_transient
from tasks.rollout import RolloutJob
from tasks.site_gitops import PulledVisit
from tasks.site_visit import PREPARE, Visit, placement_before
from tasks.snapshot import look, take_snapshot
from tasks.waves import work_through

APPLY, HEALTH = "apply", "health"
_WAITS = (CatchUpState.QUEUED, CatchUpState.RUNNING, CatchUpState.QUARANTINED)


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


def stamp_site(job: RolloutJob, site: Site) -> Outcome | None:
    """Bring the stamp to one site and wait until it works. A failure is an outcome, not an exception.

    None: the site itself says "not now", and nothing was done.
    """
    by_gitops = job.plan.strategy.delivery is Delivery.GITOPS
    visit = PulledVisit(job, site) if by_gitops else DirectVisit(job, site)
    try:
        was_let = visit.bring()
    except EdgeError as error:
        return visit.failed(error)
    return visit.succeeded() if was_let else None


class DirectVisit(Visit):
    """The platform applies the objects itself."""

    fresh: Sequence[KubeObject] = ()
    """The site's answers to what was applied a moment ago: a first look at the objects that costs no request."""

    def bring(self) -> bool:
        """The steps in their order. False: the site is locked."""
        job, name = self.job, self.site.name
        stages = job.renderer.stages(self.site, job.plan.parameters)
        objects = tuple(chain.from_iterable(stages))
        with job.credentials.client(name) as opened:
            if self.is_locked(opened):
                return False
            with fenced(opened, name, job.plan.rollout_id) as client:
                prepared = self.once(PREPARE, partial(self._prepare, client, objects))
                self.is_begun = True
                self.once(APPLY, partial(self._apply, client, stages, placement_before(prepared.detail)))
                self.once(HEALTH, partial(self._health, client, objects))
        return True

    def _prepare(self, client: SiteClient, objects: Sequence[KubeObject]) -> Detail:
        """Check all there is to check, and keep what is there. Nothing of the stamp is written yet."""
        has, refs = self.had(), [ref_of(obj) for obj in objects]
        had = self.before(has)
        old = [ref for ref in (had.inventory if had else ()) if ref not in set(refs)]
        live = look(client, [*refs, *old])
        self._look_again(client, has, live)
        checked = self._preflight(client, objects, live)
        work, stamp = self.job.plan.rollout_id, self.job.stamp.name
        kept = take_snapshot(client, work, [*refs, *old], stamp=stamp, live=live)
        guard = str(client.fence.guard) if client.fence else ""
        before = had.model_dump_json() if had else ""
        return {**checked, "snapshot": str(kept["digest"]), "guard": guard, "had": before}

    def _preflight(self, client: SiteClient, objects: Sequence[KubeObject], live: Bodies) -> Detail:
        if self.job.plan.strategy.preflight is Preflight.NONE:
            return {}
        return preflight(client, self.job.stamp, objects, live=live, policies=self.job.policies)

    def _look_again(self, client: SiteClient, had: Placement | None, live: Bodies) -> None:
        """A site that was away may have changed in ways that nobody expected: then a person looks first."""
        missed = self.job.ledger.catch_ups.get(self.site.name, self.job.stamp.name)
        if missed is not None and missed.state in _WAITS:
            look_again(client, had, approved_by=missed.approved_by, live=live)

    def _apply(self, client: SiteClient, stages: Sequence[Sequence[KubeObject]], had: Placement | None) -> Detail:
        """Apply stage by stage, each once the one before works; then take away what is no longer part of the stamp."""
        answers: list[KubeObject] = []
        pruned: list[str] = []
        refs = [ref_of(obj) for obj in chain.from_iterable(stages)]
        try:
            for number, stage in enumerate(stages):
                apply_objects(client, stage, answers)
                if number + 1 < len(stages):
                    await_health(client, answers[-len(stage) :], self.left_s)
            detail = self._prune(client, had, refs, pruned)
        except EdgeError as error:
            error.where["applied"] = f"{len(answers)} of {len(refs)} objects"
            error.left = _left(refs, answers, pruned, error)
            self.place([*refs, *(had.inventory if had else ())])
            raise
        self.place(refs)
        self.fresh = answers if len(stages) == 1 else ()
        return {"objects": len(refs), **detail}

    def _prune(self, client: SiteClient, had: Placement | None, refs: Sequence[ObjectRef], gone: list[str]) -> Detail:
        if had is None or not self.job.plan.strategy.prune:
            return {}
        return prune(client, self.job.stamp.name, had.inventory, refs, gone=gone)

    def _health(self, client: SiteClient, objects: Sequence[KubeObject]) -> Detail:
        detail = await_health(client, self.fresh or objects, self.left_s)
        return {**detail, **self.check(client, [ref_of(obj) for obj in objects])}


def _left(
    refs: Sequence[ObjectRef], answers: Sequence[KubeObject], pruned: list[str], error: EdgeError
) -> dict[str, list[str]]:
    """Which objects the site has. Of one whose write got no answer nobody knows."""
    done = {ref_of(answer) for answer in answers}
    unsure = error.where.get("object", "") if error.transient and not isinstance(error, NotYet | Throttled) else ""
    rest = [str(ref) for ref in refs if ref not in done]
    left = {
        "applied": [str(ref) for ref in refs if ref in done],
        "unsure": [ref for ref in rest if ref == unsure],
        "not_applied": [ref for ref in rest if ref != unsure],
        "pruned": pruned,
    }
    return {word: objects for word, objects in left.items() if objects}
