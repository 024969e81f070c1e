"""The acts of onboarding: who is it, where does it belong, connect it, give it a baseline, and prove that it holds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic

from prefect import get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE

from edge.errors import ConnectRefused, EdgeError, IdentityRefused, NotYet
from edge.model.device import Device, DeviceState
from edge.model.outcome import Cause, Outcome, Status
from edge.model.site import Site, SiteState
from edge.model.step import Detail
from edge.policy.onboarding import onboarding_work
from tasks.admission import OPEN, assigned, identify, record_site, rightful
from tasks.baseline import apply_baseline, verify_baseline
from tasks.onboarding_job import OnboardingJob
from tasks.retry import DELAY_S, RETRIES, only_transient


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
    device = rightful(job, device)
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
    step("identity", partial(identify, job, device))
    site = assigned(job, device)
    step("assign", partial(record_site, job, device, site))
    with job.credentials.client(site.name) as client:
        if job.arc is not None:
            arc_id = step("connect", partial(job.arc.connect, onboarding_work(device), site, client)).get("arc_id")
            site = site.model_copy(update={"arc_id": arc_id})
        step("baseline", partial(apply_baseline, client, site))
        step("verify", partial(verify_baseline, client, site))
    job.ledger.sites.update(site.name, state=SiteState.CONNECTED, arc_id=site.arc_id)
    return site


def _step(job: OnboardingJob, device: Device, name: str, effect: Callable[[], Detail]) -> Detail:
    return job.ledger.steps.once(job.key(device, name), effect).detail
