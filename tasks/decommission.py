"""The acts of decommissioning: each is done, then proven by reading, and only then on record as done."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from prefect import task
from prefect.cache_policies import NO_CACHE

from edge.clients.kubernetes import SiteClient
from edge.errors import EdgeError, IdentityRefused, NotYet
from edge.model.arc import ConnectedCluster
from edge.model.decommission import LeaveProof, LeaveStep
from edge.model.device import Device, DeviceState
from edge.model.outcome import Cause
from edge.model.site import Site, SiteState
from edge.model.step import Detail
from edge.policy.arc import made_by
from edge.policy.baseline import baseline_namespace
from edge.policy.decommission import LOSS, OWED_WHEN_LOST, REVOKED_WHY, leaving_life, proven_detail
from edge.policy.identity import key_fingerprint
from tasks.arc_progress import run_log
from tasks.decommission_job import LeaveJob, now
from tasks.wipe import footprints, left_access, remove

_NO_SITE = proven_detail(["the ledger"], ["the device has no site"])


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="decommission {device_id}")
def decommission(job: LeaveJob, device_id: str, reason: str, *, lost: bool) -> LeaveProof:
    """Let a device go; answers what is proven and what is owed. Started again, it goes on where it was.

    Its access is revoked before anything else, also when another run works on it. A step that fails is owed and does
    not keep the next from being done, unless that needs it.
    """
    device = leaving_life(job.ledger.devices.get(device_id))
    job.once(device, LeaveStep.REVOKE, partial(revoke, job, device, reason))
    if lost:
        job.once(device, LOSS, lambda: {"reason": reason})
    with job.alone(device_id):
        _empty(job, device)
        proof = job.proof(device)
        owed = {step.step for step in proof.owed} - {LeaveStep.FORGET, LeaveStep.FREE}
        if owed <= set(OWED_WHEN_LOST if proof.lost else ()):
            _let_go(job, device)
    return job.proof(device)


def _empty(job: LeaveJob, device: Device) -> None:
    """Cluster and Azure. What cannot be done now is left owed."""
    site = job.site(device)
    with ExitStack() as opened:
        reach = partial(_reach, job, site, opened)
        _try(job, device, LeaveStep.WIPE, partial(wipe, job, device, site, reach))
        _try(job, device, LeaveStep.ACCESS, partial(check_access, job, device, site, reach))
    _try(job, device, LeaveStep.AZURE, partial(leave_azure, job, device, site))


def _let_go(job: LeaveJob, device: Device) -> None:
    site = job.site(device)
    _try(job, device, LeaveStep.FORGET, partial(forget, job, device, site))
    _try(job, device, LeaveStep.FREE, partial(free, job, device, site))
    _settle(job, device, site)


def _settle(job: LeaveJob, device: Device, site: Site | None) -> None:
    """A lost cluster that was seen again and wiped: what was brought back for that goes again, and the debt is paid."""
    if site is not None and not job.ledger.devices.list(site=site.name):
        job.credentials.forget(site.name)
    if job.ledger.devices.get(device.device_id).state is DeviceState.DECOMMISSIONED:
        job.ledger.devices.release(device.device_id, state=DeviceState.DECOMMISSIONED, reason=_why(job, device))


def _try(job: LeaveJob, device: Device, step: LeaveStep, effect: Callable[[], Detail]) -> None:
    try:
        job.once(device, step, effect)
    except EdgeError as error:
        run_log().warning("%s: %s is owed: %s", device.device_id, step, Cause.of(error).message)


def _reach(job: LeaveJob, site: Site | None, opened: ExitStack) -> SiteClient:
    assert site is not None
    return opened.enter_context(job.credentials.client(site.name))


def revoke(job: LeaveJob, device: Device, reason: str) -> Detail:
    """Key and ownership let nobody in from now on."""
    at, device_id = now(), device.device_id
    fingerprint = _fingerprint(device)
    if fingerprint:
        why = f"{REVOKED_WHY}: {reason}" if reason else REVOKED_WHY
        job.ledger.revocations.revoke_key(fingerprint, device_id=device_id, reason=why, at=at)
    for owned in _standing(job, device):
        job.ledger.ownerships.end(owned, at=at)
    job.ledger.devices.move(device_id, DeviceState.DECOMMISSIONING, reason=reason)
    state = job.ledger.devices.get(device_id).state
    if state is not DeviceState.DECOMMISSIONING or _standing(job, device):
        raise NotYet("The device is not revoked", device=device_id, state=state)
    if fingerprint and not job.ledger.revocations.revoked([fingerprint]):
        raise NotYet("The device's key is not revoked", device=device_id)
    return proven_detail(
        ["the device's state", "the revoked keys", "the ownerships of its serial number"],
        [f"it is {state}", f"key {fingerprint[:16] or '(unreadable)'} is revoked", "no ownership of its tenant stands"],
        site=device.site or "",
        tenant=device.tenant or "",
        reason=reason,
    )


def _fingerprint(device: Device) -> str:
    try:
        return key_fingerprint(device.registration)
    except IdentityRefused:  # nobody can prove to hold a key that cannot be read
        return ""


def _standing(job: LeaveJob, device: Device) -> list[str]:
    """Ownerships that let this device in, or could again for the same tenant; another's are not touched.

    Neither is one on which another device came in: this one may only have told that serial number.
    """
    return [
        owned.ownership_id
        for owned in job.ledger.ownerships.of_serial(device.registration.facts.serial)
        if owned.ended_at is None
        and (owned.used_by == device.device_id or (owned.used_by is None and owned.tenant == device.tenant))
    ]


def wipe(job: LeaveJob, device: Device, site: Site | None, reach: Callable[[], SiteClient]) -> Detail:
    """Take agents and objects off the cluster, and look at every kind again."""
    if site is None:
        return _NO_SITE
    job.refuse_taken(device, site)
    client = reach()
    client.version()
    if job.arc is not None and _is_ours(job, device, site):
        job.arc.disconnect(site, client)
    found, _ = footprints(client)
    remove(client, found)
    left, kinds = footprints(client)
    faults = [f"{mark.ref} ({mark.mark})" for mark in left]
    if job.arc is not None:
        faults += job.arc.disconnect_faults(site, client) if _is_ours(job, device, site) else []
    if faults:
        raise NotYet("The cluster is not clean", site=site.name, left="; ".join(faults[:10]))
    looked_at = f"every object of {kinds} kinds that the cluster serves, by label and field manager"
    return proven_detail([looked_at, "namespaces, definitions and release of the Arc agents"], _removed(len(found)))


def _removed(count: int) -> list[str]:
    return [f"nothing of the platform's; {count} objects were removed or given up", "no agents"]


def check_access(job: LeaveJob, device: Device, site: Site | None, reach: Callable[[], SiteClient]) -> Detail:
    """The tenant's account and every right of it are gone, by reading."""
    if site is None:
        return _NO_SITE
    job.refuse_taken(device, site)
    namespace = baseline_namespace(site)
    faults = left_access(reach(), namespace)
    if faults:
        raise NotYet("The tenant still has access", site=site.name, left="; ".join(faults[:10]))
    return proven_detail(
        [f"service accounts of {namespace}", "all role bindings", "all cluster role bindings"],
        [f"no account, and no binding names one of {namespace}"],
    )


def leave_azure(job: LeaveJob, device: Device, site: Site | None) -> Detail:
    """The connected cluster is gone, by reading. One of that name that is not this device's is left alone."""
    if job.arc is None or site is None:
        return proven_detail(["the platform's configuration"], ["it connects nothing to Azure Arc"])
    job.refuse_taken(device, site)
    target = job.arc.subscription.target(site).resource_id
    if not _is_ours(job, device, site):
        return proven_detail([target], ["a connected cluster of that name is another's: it is left alone"])
    job.arc.disconnect(site, None)
    faults = job.arc.disconnect_faults(site, None)
    if faults:
        raise NotYet("The connected cluster is not gone", left="; ".join(faults))
    return proven_detail([target], ["no connected cluster"])


def _is_ours(job: LeaveJob, device: Device, site: Site) -> bool:
    """Whether the resource of the site's name is this device's, or there is none."""
    assert job.arc is not None
    resource: ConnectedCluster | None = job.arc.arc.get(job.arc.subscription.target(site))
    if resource is None or resource.resource_id.lower() == (site.arc_id or "").lower():
        return True
    works = {record.key.work for record in job.ledger.steps.fleet(f"onboarding:{device.device_id}:")}
    return made_by(resource, works)


def forget(job: LeaveJob, device: Device, site: Site | None) -> Detail:
    """The platform gives up the cluster's credential."""
    if site is None:
        return _NO_SITE
    job.refuse_taken(device, site)
    job.credentials.forget(site.name)
    file = job.credentials.file(site.name)
    if file.exists():
        raise NotYet("The credential is still there", site=site.name, file=file)
    return proven_detail([file.name], ["no such file among the credentials"])


def free(job: LeaveJob, device: Device, site: Site | None) -> Detail:
    """Site and device belong to nobody; what happened there stays on record."""
    if site is not None and not job.ledger.devices.list(site=site.name, states=_LIVING):
        job.ledger.sites.update(site.name, state=SiteState.DECOMMISSIONED, arc_id=None)
        for placed in job.ledger.placements.of_site(site.name):  # the wipe took their objects away
            job.ledger.placements.drop(site.name, placed.stamp)
    released = job.ledger.devices.release(
        device.device_id, state=DeviceState.DECOMMISSIONED, reason=_why(job, device), ends=device.generation
    )
    found = [f"the device is {released.state}, without site and tenant"]
    if site is not None:
        found.append(f"site {site.name} is {job.ledger.sites.get(site.name).state}, and no device has it")
    return proven_detail(["the ledger"], found)


def _why(job: LeaveJob, device: Device) -> str:
    owed = [step.step.value for step in job.proof(device).owed if step.step in OWED_WHEN_LOST]
    return f"lost; owed: {', '.join(owed)}" if owed else "decommissioned; nothing is left"


_LIVING = tuple(
    state for state in DeviceState if state not in (DeviceState.DECOMMISSIONING, DeviceState.DECOMMISSIONED)
)
