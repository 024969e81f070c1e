"""A device is connected, or its site is as before: what an onboarding did that fails for good is taken back.

Only what this life of the device made goes. What the site is by an earlier life's right, a connection that was found
and kept or objects that were there, stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from edge.clients.helm import agents_found, uninstall_arc_agents
from edge.clients.kubernetes import SiteClient
from edge.errors import EdgeError
from edge.model.device import Device, DeviceState
from edge.model.site import Site, SiteState
from edge.model.step import StepRecord, StepState
from edge.policy.arc import made_by
from edge.policy.onboarding import life_prefix
from tasks.arc import ArcConnection
from tasks.arc_undo import left_of
from tasks.baseline import remove_baseline
from tasks.onboarding_job import OnboardingJob

TAKEN_BACK = ("connect", "baseline", "verify")
"""The steps that change a site, or prove it; a later try does them anew."""


@contextmanager
def as_before_unless_in(job: OnboardingJob, device: Device, *, last: bool) -> Iterator[None]:
    """Take back what was done when the try inside fails for good: it may not pass, or it is the `last` one.

    What could not be taken back is named in the error, as `left_behind`.
    """
    try:
        yield
    except EdgeError as error:
        if last or not error.transient:
            left = [*filter(None, [error.where.get("left_behind")]), *take_back(job, device)]
            if left:
                error.where["left_behind"] = "; ".join(dict.fromkeys(left))
        raise


def take_back(job: OnboardingJob, device: Device) -> list[str]:
    """Make the site what it was before this life of the device; answers what could not be taken back.

    Nothing is done for a device that is no longer this run's, or that was connected in this life already.
    """
    found = job.ledger.devices.get(device.device_id)
    records = job.ledger.steps.fleet(life_prefix(device))
    begun = {record.key.step for record in records if _left_something(record)}
    if not begun or found.site is None or found.state is not DeviceState.ONBOARDING:
        return []
    site = job.ledger.sites.get(found.site)
    if site.state is SiteState.CONNECTED and any(_is_done(record, "verify") for record in records):
        return []
    left = _Return(job, device, site, records).run(begun)
    if job.holds(device.device_id):  # also what is left behind is found by a connect that begins anew
        for work in {record.key.work for record in records}:
            job.ledger.steps.forget(work, device.device_id, only=TAKEN_BACK)
    return left


def _left_something(record: StepRecord) -> bool:
    """A connect that failed has undone itself; of a baseline that failed, some may be there."""
    if record.key.step == "connect":
        return record.state is not StepState.FAILED
    return record.key.step == "baseline"


def _is_done(record: StepRecord, step: str) -> bool:
    return record.key.step == step and record.state is StepState.DONE


class _Return:
    """The way back of one site."""

    def __init__(self, job: OnboardingJob, device: Device, site: Site, records: Sequence[StepRecord]) -> None:
        self._job = job
        self._site = site
        self._works = {record.key.work for record in records}
        self._since = min(record.started_at for record in records)
        self._holds = partial(job.holds, device.device_id)

    def run(self, begun: set[str]) -> list[str]:
        """What could not be taken back. Agents stay while their resource does: the next try finds them connected."""
        arc, left = self._job.arc, []
        if arc is not None and "connect" in begun:
            left += self._do(f"connected cluster {self._site.name}", partial(self._disconnect, arc))
            if not left:
                left += self._do("agents on the cluster", self._remove_agents)
        if "baseline" in begun:
            left += self._do("baseline on the cluster", self._remove_baseline)
        return left

    def _do(self, what: str, act: Callable[[], None]) -> list[str]:
        return left_of({what: act}, self._holds)

    def _disconnect(self, arc: ArcConnection) -> None:
        """Delete the resource if this life made it, and the site is connected no more; not one that was found."""
        target = arc.subscription.target(self._site)
        resource = arc.arc.get(target)
        if resource is not None and made_by(resource, self._works):
            arc.arc.delete(target)
        if not made_by(resource, self._works) and resource is not None:
            return
        if (self._site.arc_id or "").lower() == target.resource_id.lower():
            self._job.ledger.sites.update(self._site.name, state=SiteState.KNOWN, arc_id=None)

    def _remove_agents(self) -> None:
        with self._cluster() as cluster:
            ours = agents_found(cluster).onboarding in self._works
        if ours:
            uninstall_arc_agents(self._job.credentials.text(self._site.name))

    def _remove_baseline(self) -> None:
        site, arc = self._site, self._job.arc
        if arc is not None:  # the agents' own policy is among the objects
            site = site.model_copy(update={"arc_id": arc.subscription.target(site).resource_id})
        with self._cluster() as cluster:
            remove_baseline(cluster, site, self._job.baseline, since=self._since)

    def _cluster(self) -> SiteClient:
        return self._job.credentials.client(self._site.name)
