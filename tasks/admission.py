"""The acts of admission: who is the device, and where does it belong."""

from __future__ import annotations

from datetime import UTC, datetime

from edge.errors import IdentityRefused
from edge.model.admission import Ownership
from edge.model.device import Device, DeviceState, Registration
from edge.model.identity import Refusal
from edge.model.site import Site
from edge.model.step import Detail
from edge.policy.assignment import assign, keep_site
from edge.policy.identity import check_identity, refuse_contested
from edge.policy.owner import owner_of
from tasks.onboarding_job import OnboardingJob

OPEN = (DeviceState.REGISTERED, DeviceState.ONBOARDING, DeviceState.FAILED)
"""States from which onboarding goes on."""


def rightful(job: OnboardingJob, device: Device) -> Device:
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


def identify(job: OnboardingJob, device: Device) -> Detail:
    now = datetime.now(UTC)
    identity = check_identity(device.registration, trusted=job.trusted, now=now)
    claims = [claim.registration for claim in job.ledger.devices.claims(device.device_id)]
    refuse_contested(claims, trusted=job.trusted, now=now)
    return {"fingerprint": identity.fingerprint, "not_after": identity.not_after.isoformat()}


def assigned(job: OnboardingJob, device: Device) -> Site:
    """Decided afresh on each try: rules may have changed since a try that failed. A given site stays the device's.

    A place that is kept for the device goes before the rules. Raises IdentityRefused when no rule matches, when the
    owner on record is another tenant, or when the site belongs to another device.
    """
    owner = _owner(job, device)
    site = _kept(job, device) or _decided(job, device, owner)
    if owner is not None and owner.tenant != site.tenant:
        raise IdentityRefused(
            "The device belongs to another tenant than the rule gives it",
            remedy="Correct the rule, or have the owner's voucher or list changed",
            reason=Refusal.OTHER_TENANT,
            device=device.device_id,
            owner=owner.tenant,
            tenant=site.tenant,
        )
    _refuse_taken(job, device, site)
    return site


def _owner(job: OnboardingJob, device: Device) -> Ownership | None:
    known = job.ledger.ownerships.of_serial(device.registration.facts.serial)
    return owner_of(known, device, now=datetime.now(UTC))


def _kept(job: OnboardingJob, device: Device) -> Site | None:
    """The site of the device that this one replaces."""
    reserved = job.ledger.reservations.of(device.device_id)
    if reserved is None or (reserved.used_at is not None and device.site is not None):
        return None
    return job.ledger.sites.get(reserved.site)


def _decided(job: OnboardingJob, device: Device, owner: Ownership | None) -> Site:
    assignment = assign(device.registration, job.rules, owner.tenant if owner else None)
    if device.site is not None:
        return keep_site(job.ledger.sites.get(device.site), assignment)
    if assignment.site is None:
        remedy = "Add a rule for such devices, or correct the device's facts"
        raise IdentityRefused("No assignment rule matches this device", remedy=remedy, device=device.device_id)
    return assignment.site


def _refuse_taken(job: OnboardingJob, device: Device, site: Site) -> None:
    others = [one for one in job.ledger.devices.list(site=site.name) if one.device_id != device.device_id]
    if others:
        raise IdentityRefused(
            "The site that the rule gives belongs to another device",
            remedy="Decommission the other device first, or correct the rule",
            device=device.device_id,
            site=site.name,
            other=others[0].device_id,
        )


def record_site(job: OnboardingJob, device: Device, site: Site) -> Detail:
    """Make the site the device's. The detail says on what grounds: rule and target, or that a place was kept."""
    grounds = _grounds(job, device, site)
    job.ledger.tenants.ensure(site.tenant)
    job.ledger.sites.put(site)
    job.ledger.devices.move(device.device_id, DeviceState.ONBOARDING, site=site.name, tenant=site.tenant, expected=OPEN)
    if job.ledger.reservations.of(device.device_id) is not None:
        job.ledger.reservations.use(device.device_id, at=datetime.now(UTC))
    return {"site": site.name, "tenant": site.tenant, **grounds}


def _grounds(job: OnboardingJob, device: Device, site: Site) -> Detail:
    if _kept(job, device) is not None:
        return {"rule": "", "why": "The site was kept for this device, which replaces another"}
    owner = _owner(job, device)
    assignment = assign(device.registration, job.rules, owner.tenant if owner else None)
    if assignment.site is None or assignment.site.name != site.name:
        return {"rule": "", "why": "The device keeps the site that it had"}
    target = assignment.choice.target if assignment.choice else None
    return {"rule": assignment.rule or "", "why": assignment.why, **({"target": target.name} if target else {})}
