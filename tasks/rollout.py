"""The acts of a rollout: put a stamp on a site, and see that it works. The ledger remembers each site's steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.credentials import SiteCredentials
from blocks.ledger import EdgeLedger
from blocks.load import load
from edge.clients.files import find_stamp, read_stamp_folder
from edge.clients.kubernetes import SiteClient
from edge.errors import EdgeError, InvalidInput, SiteSilent, SiteUnreachable
from edge.ledger import Ledger
from edge.model.kube import KubeObject
from edge.model.outcome import Cause, Outcome, Status
from edge.model.rollout import RolloutPlan, Strategy
from edge.model.site import Site, SiteSelector
from edge.model.stamp import Stamp
from edge.model.step import Detail, StepKey
from edge.policy.apply_order import phases
from edge.policy.health import health_of
from edge.policy.parameters import site_parameters
from edge.policy.render import render
from edge.policy.rollout import offline_status, plan_rollout
from edge.policy.site import select_sites
from edge.policy.stamp import parse_stamp
from edge.settings import Settings
from tasks.retry import DELAY_S, RETRIES, only_transient
from tasks.waves import WavesJob, work_through

APPLY, HEALTH = "apply", "health"

SERVED_WITHIN_S = 30.0
"""How long a custom resource definition may take until its objects are served."""


class RolloutJob(WavesJob):
    """One run of a stamp's rollout in this process."""

    def __init__(self, plan: RolloutPlan, stamp: Stamp, ledger: Ledger, credentials: SiteCredentials) -> None:
        super().__init__(plan, ledger, credentials)
        self.stamp = stamp

    def key(self, site: str, step: str) -> StepKey:
        """The step's key, the same on every try."""
        return StepKey(work=f"rollout:{self.plan.rollout_id}", subject=site, step=step)


@contextmanager
def open_rollout(
    stamp: str,
    sites: SiteSelector,
    parameters: Mapping[str, str],
    strategy: Strategy,
    blocks: Mapping[str, str],
) -> Iterator[RolloutJob]:
    """Plan the rollout, or go on with the unfinished one of the same stamp, content, sites and parameters.

    `blocks` names the blocks `ledger` and `credentials`. Raises InvalidInput before anything is changed.
    """
    with load(EdgeLedger, blocks["ledger"]).client() as ledger:
        found = _find(ledger, stamp)
        cohort = select_sites(ledger.sites.list(), sites)
        if not cohort:
            raise InvalidInput("No site matches", field="sites", value=sites.model_dump_json(exclude_defaults=True))
        ledger.stamps.record(found)
        plan = _resume(ledger, found, cohort, parameters) or _plan(ledger, found, cohort, parameters, strategy)
        ledger.rollouts.start(plan)
        yield RolloutJob(plan, found, ledger, load(SiteCredentials, blocks["credentials"]))


def _find(ledger: Ledger, stamp: str) -> Stamp:
    """`name@version` is what the ledger has recorded; anything else is a folder, or the name of one."""
    name, at, version = stamp.partition("@")
    if at:
        return ledger.stamps.get(name, version)
    return parse_stamp(read_stamp_folder(find_stamp(stamp, Settings().stamp_folders)))


def _resume(ledger: Ledger, stamp: Stamp, cohort: Sequence[Site], parameters: Mapping[str, str]) -> RolloutPlan | None:
    names = tuple(site.name for site in cohort)
    begun = ledger.rollouts.unfinished(stamp.name, stamp.version, stamp.digest, names)
    if begun is None or begun.plan.parameters != dict(parameters):
        return None
    return begun.plan


def _plan(
    ledger: Ledger, stamp: Stamp, cohort: Sequence[Site], parameters: Mapping[str, str], strategy: Strategy
) -> RolloutPlan:
    for site in cohort:
        render(stamp, site_parameters(site, parameters))
    attempt = 1 + ledger.rollouts.count(stamp.name, stamp.version)
    return plan_rollout(stamp, cohort, strategy, parameters, attempt)


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAY_S,
    retry_condition_fn=only_transient,
    task_run_name="stamp {sites[0]}",
)
def stamp_sites(job: RolloutJob, sites: tuple[str, ...]) -> int:
    """Put the stamp on each of these sites that has not ended yet; see `work_through`."""
    return work_through(job, sites, partial(stamp_site, job))


def stamp_site(job: RolloutJob, site: Site) -> Outcome:
    """Apply the stamp's objects to one site and wait until they work. A failure is an outcome, not an exception."""
    started = monotonic()
    ended = partial(Outcome, subject=site.name)
    try:
        objects = render(job.stamp, site_parameters(site, job.plan.parameters))
        with job.credentials.client(site.name) as client:
            answers: list[KubeObject] = []
            job.ledger.steps.once(job.key(site.name, APPLY), partial(apply_objects, client, objects, answers))
            within_s = job.plan.strategy.site_deadline_s - (monotonic() - started)
            job.ledger.steps.once(
                job.key(site.name, HEALTH), partial(await_health, client, answers or objects, within_s)
            )
    except (SiteUnreachable, SiteSilent) as away:
        status = offline_status(away, site.when_offline)
        return ended(status=status, cause=Cause.of(away), seconds=monotonic() - started)
    except EdgeError as error:
        return ended(status=Status.FAILED, cause=Cause.of(error), seconds=monotonic() - started)
    return ended(status=Status.SUCCEEDED, seconds=monotonic() - started)


def apply_objects(client: SiteClient, objects: Sequence[KubeObject], answers: list[KubeObject]) -> Detail:
    """Apply in phases: a custom resource definition is served before its objects come. The site's answers are added."""
    for phase in phases(objects):
        applied = [client.apply(obj) for obj in phase]
        answers.extend(applied)
        definitions = [obj for obj in applied if obj["kind"] == "CustomResourceDefinition"]
        if definitions:
            client.wait_for(definitions, health_of, within_s=SERVED_WITHIN_S)
    return {"objects": len(objects)}


def await_health(client: SiteClient, objects: Sequence[KubeObject], within_s: float) -> Detail:
    """Wait until every object is Current; what the site answered to an apply may show that it is already.

    Raises NotYet in the end, OperationFailed when one has failed.
    """
    client.wait_for(objects, health_of, within_s=max(within_s, 1.0))
    return {"objects": len(objects)}
