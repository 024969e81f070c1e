"""The acts of onboarding: who is it, where does it belong, connect it, give it a baseline, and prove that it holds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from edge.errors import ConnectRefused, EdgeError, IdentityRefused, NotYet, WriteConflict
from edge.model.device import Device, DeviceState
from edge.model.outcome import Cause, Outcome, Status
from edge.model.site import Site, SiteState
from edge.model.step import Detail, StepState
from edge.policy.onboarding import attempt_key, onboarding_work
from tasks.admission import OPEN, assigned, identify, record_site, rightful
from tasks.baseline import apply_baseline, verify_baseline
from tasks.coming_back import comes_back
from tasks.onboarding_job import OnboardingJob
from tasks.onboarding_outcome import last_attempt, recorded_outcome
from tasks.taking_back import as_before_unless_in

BUSY_S = 3.0
"""How long to wait before looking again at a device on which another run works, in seconds."""


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="onboard {devices[0]}")
def onboard_devices(job: OnboardingJob, devices: tuple[str, ...], last: frozenset[str] = frozenset()) -> list[Outcome]:
    """Let these devices in, one after the other. A device that may not come in is an outcome, not an exception.

    Each is tried once; who tries again, and when, is the run's business (`tasks.onboarding_rounds`). For those in
    `last` it is the run's last try: one that is not in then is taken back.
    """
    return [_onboard(job, device, last=device in last) for device in devices]


def _onboard(job: OnboardingJob, device_id: str, *, last: bool) -> Outcome:
    started = monotonic()
    try:
        with job.holding(device_id) as held:
            outcome = _tried(job, device_id, last=last) if held else busy(device_id)
    except EdgeError as error:  # the ledger's own, for instance: the next try finds the device as it is
        outcome = _failed(device_id, Status.FAILED, error)
    return outcome.model_copy(update={"seconds": monotonic() - started})


def busy(device_id: str) -> Outcome:
    """Another run works on the device right now: nothing was done."""
    error = NotYet("Another run works on this device", device=device_id)
    error.retry_after = BUSY_S
    return Outcome(subject=device_id, status=Status.HELD, cause=Cause.of(error))


def _tried(job: OnboardingJob, device_id: str, *, last: bool) -> Outcome:
    """One try of a device that this run holds."""
    device = comes_back(job.ledger, job.ledger.devices.get(device_id), job.trust)
    if device.state not in OPEN:
        return recorded_outcome(job.ledger, device)
    device = rightful(job, device)
    job.ledger.devices.move(device_id, DeviceState.ONBOARDING, expected=OPEN)
    key, before = attempt_key(device), last_attempt(job.ledger, device)
    if before is not None and before.state is StepState.DONE:  # it was let in, and somebody opened it again
        job.ledger.steps.forget(key.work, key.subject)
    try:
        job.ledger.steps.once(key, partial(_in_or_as_before, job, device, last=last))
    except (IdentityRefused, ConnectRefused) as refused:
        return _ended(job, device, DeviceState.QUARANTINED, refused)
    except EdgeError as error:
        return _ended(job, device, DeviceState.FAILED, error)
    return Outcome(subject=device_id, status=Status.SUCCEEDED)


def _ended(job: OnboardingJob, device: Device, state: DeviceState, error: EdgeError) -> Outcome:
    """Put on record how a try failed, unless the device is no longer this run's to speak for."""
    if not job.holds(device.device_id):
        return busy(device.device_id)
    try:
        job.ledger.devices.move(device.device_id, state, reason=str(error), expected=(DeviceState.ONBOARDING,))
    except WriteConflict:  # an operator was quicker: what they made of it counts
        return recorded_outcome(job.ledger, job.ledger.devices.get(device.device_id))
    quarantined = state is DeviceState.QUARANTINED
    return _failed(device.device_id, Status.QUARANTINED if quarantined else Status.FAILED, error)


def _failed(device_id: str, status: Status, error: EdgeError) -> Outcome:
    get_run_logger().warning("%s: %s", device_id, error)
    return Outcome(subject=device_id, status=status, cause=Cause.of(error))


def _in_or_as_before(job: OnboardingJob, device: Device, *, last: bool) -> Detail:
    with as_before_unless_in(job, device, last=last):
        return _let_in(job, device)


def _let_in(job: OnboardingJob, device: Device) -> Detail:
    """The steps in their order; each is remembered, and none runs after one that failed."""
    step = partial(_step, job, device)
    step("identity", partial(identify, job, device))
    site = assigned(job, device)
    step("assign", partial(record_site, job, device, site))
    with job.credentials.client(site.name) as client:
        if job.arc is not None:
            earlier, holds = _earlier(job, device), partial(job.holds, device.device_id)
            connect = partial(job.arc.connect, onboarding_work(device), site, client, earlier, holds)
            site = site.model_copy(update={"arc_id": step("connect", connect).get("arc_id")})
        step("baseline", partial(apply_baseline, client, site, job.baseline))
        step("verify", partial(verify_baseline, client, site, job.baseline))
    return _let(job, device, site)


def _let(job: OnboardingJob, device: Device, site: Site) -> Detail:
    _refuse_lost(job, device)
    job.ledger.sites.update(site.name, state=SiteState.CONNECTED, arc_id=site.arc_id)
    job.ledger.devices.move(
        device.device_id,
        DeviceState.CONNECTED,
        site=site.name,
        tenant=site.tenant,
        expected=(DeviceState.ONBOARDING,),
    )
    return {"site": site.name, "tenant": site.tenant}


def _step(job: OnboardingJob, device: Device, name: str, effect: Callable[[], Detail]) -> Detail:
    _refuse_lost(job, device)
    return job.ledger.steps.once(job.key(device, name), effect).detail


def _refuse_lost(job: OnboardingJob, device: Device) -> None:
    """Stop before the next step when the device is another's by now: another run's, or an operator's."""
    state = job.ledger.devices.get(device.device_id).state
    if state is not DeviceState.ONBOARDING or not job.holds(device.device_id):
        raise WriteConflict("The device is no longer this run's to work on", device=device.device_id, state=state)


def _earlier(job: OnboardingJob, device: Device) -> list[str]:
    """Earlier onboardings of the same device: under other certificates, or in earlier lives."""
    known = {record.key.work for record in job.ledger.steps.fleet(f"onboarding:{device.device_id}:")}
    return sorted(known - {onboarding_work(device)})
