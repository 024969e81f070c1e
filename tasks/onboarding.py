"""The acts of onboarding: who is it, where does it belong, connect it, give it a baseline, and prove that it holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic

from prefect import get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE

from blocks.admission import DeviceAdmission
from blocks.arc import ArcSubscription
from blocks.credentials import SiteCredentials
from blocks.ledger import EdgeLedger
from blocks.load import load
from edge.clients.kubernetes import SiteClient
from edge.errors import ConnectRefused, EdgeError, IdentityRefused, NotYet, Transient
from edge.ledger import Ledger
from edge.model.device import Device, DeviceState, Registration
from edge.model.event import EventKey
from edge.model.kube import ObjectRef
from edge.model.outcome import Cause, Outcome, Status
from edge.model.site import Site, SiteState
from edge.model.step import Detail, StepKey
from edge.policy.assignment import assign
from edge.policy.baseline import baseline_faults, baseline_objects
from edge.policy.identity import check_identity, refuse_contested
from edge.policy.onboarding import onboarding_work
from tasks.arc import ArcConnection
from tasks.retry import DELAY_S, RETRIES, only_transient

RENEW_S = 20.0
"""How often a run says that it still works on the registrations it took, in seconds."""

STALE_AFTER = timedelta(seconds=100)
"""A run that has not said so for this long is taken for dead. The gateway waits a little longer (`reclaim_after_s`)."""

OPEN = (DeviceState.REGISTERED, DeviceState.ONBOARDING, DeviceState.FAILED)


class OnboardingJob:
    """One run of onboarding in this process. A plain class, so that Prefect does not look into it."""

    def __init__(
        self,
        ledger: Ledger,
        credentials: SiteCredentials,
        admission: DeviceAdmission,
        arc: ArcConnection | None,
    ) -> None:
        self.ledger = ledger
        self.credentials = credentials
        self.trusted = admission.anchors()
        self.rules = admission.assignment_rules()
        self.arc = arc

    def key(self, device: Device, step: str) -> StepKey:
        """The step's key, the same on every try."""
        return StepKey(work=onboarding_work(device), subject=device.device_id, step=step)


@contextmanager
def open_onboarding(blocks: Mapping[str, str]) -> Iterator[OnboardingJob]:
    """What onboarding works with. `blocks` names the blocks `ledger`, `credentials`, `admission` and `arc`.

    Raises InvalidInput when one of them cannot be used: no device is touched then, and the registrations wait.
    """
    subscription = load(ArcSubscription, blocks["arc"])
    credentials = load(SiteCredentials, blocks["credentials"])
    admission = load(DeviceAdmission, blocks["admission"])
    arc = ArcConnection(subscription, credentials) if subscription.used else None
    if arc is not None:
        arc.prepare()
    with load(EdgeLedger, blocks["ledger"]).client() as ledger:
        yield OnboardingJob(ledger, credentials, admission, arc)


@contextmanager
def holding_batch(job: OnboardingJob, batch: str, *, renew_s: float = RENEW_S) -> Iterator[tuple[EventKey, ...]]:
    """Take the batch's registrations for this run, so that the gateway does not send them again while it is alive.

    The claim is renewed every `renew_s` seconds. A run that is killed renews no more, and the gateway sends what it
    held again.
    """
    if not batch:
        yield ()
        return
    by, over = str(runtime.flow_run.id), threading.Event()
    taken = job.ledger.inbox.claim(batch, by=by, stale_before=datetime.now(UTC) - STALE_AFTER)
    renewing = threading.Thread(target=_renew, args=(job.ledger, batch, by, over, renew_s), daemon=True)
    renewing.start()
    try:
        yield tuple(event.key for event in taken)
    finally:
        over.set()
        renewing.join()


def _renew(ledger: Ledger, batch: str, by: str, over: threading.Event, renew_s: float) -> None:
    while not over.wait(renew_s):
        try:
            ledger.inbox.renew(batch, by=by)
        except Transient:  # the next time will do: several may be missed
            continue


def settle_batch(job: OnboardingJob, taken: tuple[EventKey, ...]) -> None:
    """The batch's registrations are done with: each device's state says how it ended."""
    if taken:
        job.ledger.inbox.mark_handled(taken)


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAY_S,
    retry_condition_fn=only_transient,
    task_run_name="onboard {devices[0]}",
)
def onboard_devices(job: OnboardingJob, devices: tuple[str, ...]) -> list[Outcome]:
    """Let these devices in, one after the other. A device that may not come in is an outcome, not an exception.

    Raises Transient while there are tries left and a device failed for a reason that may pass; who ended stays so.
    """
    outcomes = [_onboard(job, job.ledger.devices.get(device)) for device in devices]
    again = [found for found in outcomes if found.cause is not None and found.cause.transient]
    if again and runtime.task_run.run_count <= RETRIES:
        names = ", ".join(found.subject for found in again)
        raise NotYet(
            "Devices will be tried again", devices=names, cause=again[0].cause.message if again[0].cause else ""
        )
    return outcomes


def _onboard(job: OnboardingJob, device: Device) -> Outcome:
    started = monotonic()
    if device.state not in OPEN:
        return Outcome(subject=device.device_id, status=_status_of(device.state))
    device = _rightful(job, device)
    job.ledger.devices.move(device.device_id, DeviceState.ONBOARDING, expected=OPEN)
    try:
        site = _let_in(job, device)
    except (IdentityRefused, ConnectRefused) as refused:
        job.ledger.devices.move(device.device_id, DeviceState.QUARANTINED, reason=str(refused))
        return _ended(device, Status.QUARANTINED, started, refused)
    except EdgeError as error:
        job.ledger.devices.move(device.device_id, DeviceState.FAILED, reason=str(error))
        return _ended(device, Status.FAILED, started, error)
    job.ledger.devices.move(device.device_id, DeviceState.CONNECTED, site=site.name, tenant=site.tenant)
    return _ended(device, Status.SUCCEEDED, started)


def _rightful(job: OnboardingJob, device: Device) -> Device:
    """The device, with the registration that holds.

    Whoever was the first to name a device with a bad certificate must not keep it out: when the one on record does not
    hold and just one of the others does, that one takes its place.
    """
    claims = job.ledger.devices.claims(device.device_id)
    if not claims or _holds(job, device.registration):
        return device
    good = [claim.key for claim in claims if _holds(job, claim.registration)]
    return job.ledger.devices.adopt(device.device_id, good[0]) if len(good) == 1 else device


def _holds(job: OnboardingJob, registration: Registration) -> bool:
    try:
        check_identity(registration, trusted=job.trusted, now=datetime.now(UTC))
    except IdentityRefused:
        return False
    return True


def _status_of(state: DeviceState) -> Status:
    return Status.QUARANTINED if state is DeviceState.QUARANTINED else Status.SUCCEEDED


def _ended(device: Device, status: Status, started: float, error: EdgeError | None = None) -> Outcome:
    if error is not None:
        get_run_logger().warning("%s: %s", device.device_id, error)
    cause = Cause.of(error) if error else None
    return Outcome(subject=device.device_id, status=status, cause=cause, seconds=monotonic() - started)


def _let_in(job: OnboardingJob, device: Device) -> Site:
    """The steps in their order; each is remembered, and none runs after one that failed."""
    step = partial(_step, job, device)
    step("identity", partial(_identify, job, device))
    site = _assigned(job, device)
    step("assign", partial(_record_site, job, device, site))
    with job.credentials.client(site.name) as client:
        if job.arc is not None:
            arc_id = step("connect", partial(job.arc.connect, onboarding_work(device), site, client)).get("arc_id")
            site = site.model_copy(update={"arc_id": arc_id})
        step("baseline", partial(_apply_baseline, client, site))
        step("verify", partial(_verify_baseline, client, site))
    job.ledger.sites.update(site.name, state=SiteState.CONNECTED, arc_id=site.arc_id)
    return site


def _step(job: OnboardingJob, device: Device, name: str, effect: Callable[[], Detail]) -> Detail:
    return job.ledger.steps.once(job.key(device, name), effect).detail


def _identify(job: OnboardingJob, device: Device) -> Detail:
    now = datetime.now(UTC)
    identity = check_identity(device.registration, trusted=job.trusted, now=now)
    claims = [claim.registration for claim in job.ledger.devices.claims(device.device_id)]
    refuse_contested(claims, trusted=job.trusted, now=now)
    return {"fingerprint": identity.fingerprint, "not_after": identity.not_after.isoformat()}


def _assigned(job: OnboardingJob, device: Device) -> Site:
    """Decided afresh on each try: rules may have changed since a try that failed. A given site stays the device's."""
    assignment = assign(device.registration, job.rules)
    if assignment.site is None:
        remedy = "Add a rule for such devices, or correct the device's facts"
        raise IdentityRefused("No assignment rule matches this device", remedy=remedy, device=device.device_id)
    owner = job.ledger.devices.of_site(assignment.site.name)
    if owner is not None and owner.device_id != device.device_id:
        remedy = "Decommission the other device first, or correct the rule"
        raise IdentityRefused(
            "The site that the rule gives belongs to another device",
            remedy=remedy,
            device=device.device_id,
            site=assignment.site.name,
            other=owner.device_id,
        )
    return assignment.site


def _record_site(job: OnboardingJob, device: Device, site: Site) -> Detail:
    job.ledger.tenants.ensure(site.tenant)
    job.ledger.sites.put(site)
    job.ledger.devices.move(device.device_id, DeviceState.ONBOARDING, site=site.name, tenant=site.tenant, expected=OPEN)
    return {"site": site.name, "tenant": site.tenant}


def _apply_baseline(client: SiteClient, site: Site) -> Detail:
    objects = baseline_objects(site)
    for obj in objects:
        client.apply(obj)
    return {"objects": len(objects)}


def _verify_baseline(client: SiteClient, site: Site) -> Detail:
    """Read back what was applied. Raises NotYet naming what is missing or different."""
    found = [client.get(ObjectRef.of(obj)) for obj in baseline_objects(site)]
    faults = baseline_faults(site, found)
    if faults:
        raise NotYet("The baseline does not hold", site=site.name, faults="; ".join(faults))
    return {"objects": len(found)}
