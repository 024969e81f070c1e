"""The acts of an update: order a version at a device's nodes, wait for what their updaters say, and remember it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from time import monotonic

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.credentials import SiteCredentials
from blocks.ledger import EdgeLedger
from blocks.load import load
from edge.clients.kubernetes import SiteClient
from edge.clients.node_update import node_update_definition
from edge.errors import EdgeError, NotFound, NotYet, OperationFailed, Rejected, Transient
from edge.ledger import Ledger
from edge.model.device import Device, DeviceState
from edge.model.firmware import (
    Component,
    NodeReport,
    UpdatableDevice,
    UpdateAttempt,
    UpdateOrder,
    UpdateOutcome,
    UpdateRefusal,
    UpdateVerdict,
)
from edge.model.outcome import Cause, Outcome, Status
from edge.model.rollout import ENDED, Rollout, RolloutPlan, Strategy
from edge.model.site import Site, SiteSelector
from edge.model.step import Detail, StepKey, StepRecord
from edge.policy.firmware import (
    check_means,
    check_times,
    digest_of,
    node_update,
    node_update_ref,
    plan_update,
    read_report,
    refusal_of,
    rollout_name,
    settled,
    updatable,
    verdict_of,
    with_report,
)
from edge.policy.rollout import offline_status
from edge.policy.site import select_sites
from edge.policy.strategy import check_strategy
from tasks.applying import apply_objects
from tasks.retry import DELAY_S, RETRIES, only_transient
from tasks.waves import WavesJob, work_through

ORDER, VERDICT = "order", "verdict"
_REMEDIES = {
    UpdateRefusal.FAILED_BEFORE: "Build another version",
    UpdateRefusal.UPDATE_RUNNING: "Wait until that update has ended; delete the NodeUpdate of an updater that is stuck",
    UpdateRefusal.NOT_NEWER: "Ask for going back if it is meant",
}
"""What to do about refusals that only the device itself, or another run, can bring to light."""


class UpdateJob(WavesJob):
    """One run of an update in this process."""

    def __init__(
        self,
        plan: RolloutPlan,
        order: UpdateOrder,
        ledger: Ledger,
        credentials: SiteCredentials,
        claim_s: float = 100.0,
    ) -> None:
        super().__init__(plan, ledger, credentials, claim_s=claim_s)
        self.order = order

    def work(self, device_id: str) -> str:
        """The name of this try on the device: the same until its end is on record."""
        wanted = (self.order.component, self.order.version)
        before = sum((one.component, one.version) == wanted for one in self.ledger.firmware.attempts(device_id))
        return f"update:{self.order.component}:{self.order.version}:{before + 1}"


class Candidates:
    """The devices of a selection: which get the version, and why the others do not."""

    def __init__(self, ledger: Ledger, order: UpdateOrder, selector: SiteSelector) -> None:
        self.due: list[Site] = []
        self.refused: dict[str, UpdateRefusal] = {}
        connected = {device.site: device for device in ledger.devices.list(state=DeviceState.CONNECTED)}
        for site in select_sites(ledger.sites.list(), selector):
            device = connected.get(site.name)
            refusal = refusal_of(order, known(ledger, device, order)) if device else UpdateRefusal.NOT_CONNECTED
            if refusal is None:
                self.due.append(site)
            else:
                self.refused[device.device_id if device else site.name] = refusal


def known(ledger: Ledger, device: Device, order: UpdateOrder) -> UpdatableDevice:
    """What is on record of the device that bears on the update."""
    return updatable(device, ledger.firmware.attempts(device.device_id), order.component)


@contextmanager
def open_update(
    order: UpdateOrder, sites: SiteSelector, strategy: Strategy, blocks: Mapping[str, str]
) -> Iterator[tuple[UpdateJob | None, Candidates]]:
    """Plan the update, or go on with the unfinished one of the same order; no job when no device gets the version.

    `blocks` names the blocks `ledger` and `credentials`. Raises InvalidInput before anything is changed.
    """
    check_times(order, strategy)
    check_means(strategy)
    block = load(EdgeLedger, blocks["ledger"])
    with block.client() as ledger:
        candidates = Candidates(ledger, order, sites)
        begun = unfinished_update(ledger, order, sites)
        plan = begun.plan if begun else _plan(ledger, order, candidates.due, strategy)
        if plan is None:
            yield None, candidates
            return
        ledger.rollouts.start(plan)
        credentials = load(SiteCredentials, blocks["credentials"])
        yield UpdateJob(plan, order, ledger, credentials, block.claim_s), candidates


def unfinished_update(ledger: Ledger, order: UpdateOrder, selector: SiteSelector) -> Rollout | None:
    """The latest update by the same order, to some of these sites, that has not ended.

    Its sites are more than those that are due now: some have the version already.
    """
    wanted, selected = digest_of(order), {site.name for site in select_sites(ledger.sites.list(), selector)}
    for rollout in ledger.rollouts.list():
        cohort = {site for wave in rollout.plan.waves for site in wave.sites}
        if rollout.state not in ENDED and rollout.plan.digest == wanted and cohort <= selected:
            return rollout
    return None


def _plan(ledger: Ledger, order: UpdateOrder, due: Sequence[Site], strategy: Strategy) -> RolloutPlan | None:
    if not due:
        return None
    check_strategy(strategy, due, datetime.now(UTC))
    attempt = 1 + ledger.rollouts.count(rollout_name(order.component), order.version)
    return plan_update(order, due, strategy, attempt)


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAY_S,
    retry_condition_fn=only_transient,
    task_run_name="update {sites[0]}",
)
def update_sites(job: UpdateJob, sites: tuple[str, ...]) -> int:
    """Bring the version to the devices of these sites that have not ended yet; see `work_through`."""
    return work_through(job, sites, partial(update_site, job))


def update_site(job: UpdateJob, site: Site) -> Outcome:
    """Update the nodes of one site's device, one after another. A failure is an outcome, not an exception.

    How it ended is on record for the device, unless nothing was ordered: a site that is away when it is asked first is
    as before. Once something was ordered, silence is a failure even where absence is normal.
    """
    started = monotonic()
    ended = partial(Outcome, subject=site.name)
    this: _Try | None = None
    try:
        this = _Try(job, _device_at(job, site))
        trouble = None if this.is_there else _update_nodes(job, this, site)
    except EdgeError as error:
        begun = this is not None and this.ordered is not None
        status = Status.FAILED if begun else offline_status(error, site.when_offline)
        return ended(status=status, cause=Cause.of(error), seconds=monotonic() - started)
    if trouble is not None:
        return ended(status=Status.FAILED, cause=Cause.of(trouble), seconds=monotonic() - started)
    return ended(status=Status.SUCCEEDED, seconds=monotonic() - started)


class _Try:
    """One try of the version on one device, and the last order that it was given."""

    def __init__(self, job: UpdateJob, device: UpdatableDevice) -> None:
        self.device = device
        self.work = job.work(device.device_id)
        self.is_there = refusal_of(job.order, device) is UpdateRefusal.ALREADY_THERE
        self.ordered: StepRecord | None = None

    def key(self, step: str, node: str) -> StepKey:
        """The step's key, the same on every run of this try."""
        return StepKey(work=self.work, subject=self.device.device_id, step=f"{step}:{node}")


def _device_at(job: UpdateJob, site: Site) -> UpdatableDevice:
    for device in job.ledger.devices.list(site=site.name, state=DeviceState.CONNECTED):
        return known(job.ledger, device, job.order)
    raise NotFound("No connected device belongs to the site", site=site.name)


def _update_nodes(job: UpdateJob, this: _Try, site: Site) -> EdgeError | None:
    """Stop at the first node that does not confirm; answers what went wrong there. How it ended is remembered."""
    with job.credentials.client(site.name) as client:
        nodes = sorted(str(node["metadata"]["name"]) for node in client.list("v1", "Node"))
        for node in nodes:
            order = partial(_order, client, job.order, this.device, node)
            this.ordered = job.ledger.steps.once(this.key(ORDER, node), order)
            verdict, trouble = _await_verdict(job, client, this, node)
            if trouble is not None or node == nodes[-1]:
                _remember(job, this.device, verdict, this.ordered)
            if trouble is not None:
                return trouble
    return None


def _order(client: SiteClient, order: UpdateOrder, device: UpdatableDevice, node: str) -> Detail:
    """Ask the node's updater for the version. The same order again changes nothing."""
    report = _report(client, order.component, node)
    device = with_report(device, report)
    refusal = refusal_of(order, device)
    if refusal in _REMEDIES:
        raise Rejected(
            f"The device does not take this version: {refusal}",
            remedy=_REMEDIES[refusal],
            site=client.site,
            node=node,
            reason=refusal,
            running=device.running or device.current,
        )
    apply_objects(client, [node_update_definition(), node_update(order, node)], [])
    return {"node": node, "from": device.current}


def _report(client: SiteClient, component: Component, node: str) -> NodeReport:
    try:
        return read_report(client.get(node_update_ref(component, node)))
    except NotFound:
        return NodeReport()


def _await_verdict(job: UpdateJob, client: SiteClient, this: _Try, node: str) -> tuple[UpdateVerdict, EdgeError | None]:
    """What the updater said in the end, and the error that this is unless it confirmed."""
    wait = partial(_wait, client, job.order, node, job.plan.strategy.site_deadline_s)
    try:
        said = job.ledger.steps.once(this.key(VERDICT, node), wait).detail
    except Transient as silence:
        trouble = NotYet(f"The device gave no verdict: {silence.what}", site=client.site, node=node)
        return UpdateVerdict(outcome=UpdateOutcome.SILENT, reason=silence.what), trouble
    verdict = UpdateVerdict(outcome=UpdateOutcome(str(said["outcome"])), reason=str(said["reason"]))
    if verdict.outcome is UpdateOutcome.CONFIRMED:
        return verdict, None
    remedy = "This version is not tried there again; build another"
    what = f"The update ended as {verdict.outcome}: {verdict.reason}"
    return verdict, OperationFailed(what, remedy=remedy, site=client.site, node=node)


def _wait(client: SiteClient, order: UpdateOrder, node: str, within_s: float) -> Detail:
    """Wait for the verdict. The API server may be away for a while, because a node reboots. Raises NotYet."""
    ref = node_update_ref(order.component, node)
    client.wait_for([ref], partial(settled, order), within_s=within_s)
    verdict = verdict_of(order, read_report(client.get(ref)))
    if verdict is None:
        raise NotYet("The order was changed while it was waited for", site=client.site, node=node)
    return {"outcome": verdict.outcome, "reason": verdict.reason}


def _remember(job: UpdateJob, device: UpdatableDevice, verdict: UpdateVerdict, ordered: StepRecord) -> None:
    """The try is known by the time of its order, so remembering it again after a kill changes nothing."""
    job.ledger.firmware.record(
        UpdateAttempt(
            device_id=device.device_id,
            component=job.order.component,
            version=job.order.version,
            outcome=verdict.outcome,
            reason=verdict.reason,
            from_version=str(ordered.detail.get("from", "")),
            at=ordered.ended_at or ordered.started_at,
        )
    )
