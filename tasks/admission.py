"""The acts of admission: who is the device, and where does it belong."""

from __future__ import annotations

from datetime import UTC, datetime

from edge.errors import IdentityRefused
from edge.model.device import Device, DeviceState, Registration
from edge.model.site import Site
from edge.model.step import Detail
from edge.policy.assignment import assign
from edge.policy.identity import check_identity, refuse_contested
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


def record_site(job: OnboardingJob, device: Device, site: Site) -> Detail:
    job.ledger.tenants.ensure(site.tenant)
    job.ledger.sites.put(site)
    job.ledger.devices.move(device.device_id, DeviceState.ONBOARDING, site=site.name, tenant=site.tenant, expected=OPEN)
    return {"site": site.name, "tenant": site.tenant}
