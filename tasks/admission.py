"""The acts of admission: who is the device, and where does it belong."""

from __future__ import annotations

from datetime import UTC, datetime

from edge.errors import IdentityRefused
from edge.model.admission import Admitted, Evidence, Ownership
from edge.model.device import Device, DeviceState, Origin, Registration
from edge.model.identity import Refusal
from edge.model.site import Site
from edge.model.step import Detail
from edge.policy.admission import admit, carried_voucher, refuse_other_tenant
from edge.policy.assignment import assign, keep_site
from edge.policy.identity import key_fingerprint, refuse_contested
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
    if not claims or _admitted(job, device, device.registration, device.via) is not None:
        return device
    good = [claim.key for claim in claims if _admitted(job, device, claim.registration, claim.via) is not None]
    return job.ledger.devices.adopt(device.device_id, good[0]) if len(good) == 1 else device


def identify(job: OnboardingJob, device: Device) -> Detail:
    """Let the device in or raise IdentityRefused; the detail says on what grounds it came in."""
    admitted = _admit(job, device, device.registration, device.via)
    claims = job.ledger.devices.claims(device.device_id)
    rivals = [_admitted(job, device, claim.registration, claim.via) for claim in claims]
    refuse_contested(admitted.identity.fingerprint, [rival.identity for rival in rivals if rival is not None])
    if admitted.ownership is not None:
        _use(job, device, admitted.ownership)
    return _grounds_of(admitted)


def _use(job: OnboardingJob, device: Device, owned: Ownership) -> None:
    """The device comes in on it. A voucher that it carries is put on record only now that all of it is proven."""
    on_record = {one.ownership_id for one in job.ledger.ownerships.of_serial(owned.serial)}
    if owned.ownership_id not in on_record:
        job.ledger.ownerships.record(owned)
    life, at = device.generation, datetime.now(UTC)
    job.ledger.ownerships.use(owned.ownership_id, device_id=device.device_id, generation=life, at=at)


def _grounds_of(admitted: Admitted) -> Detail:
    identity, owner = admitted.identity, admitted.ownership
    return {
        "fingerprint": identity.fingerprint,
        "not_after": identity.not_after.isoformat(),
        "issuer": identity.issuer,
        "proven": admitted.proven,
        "owner": owner.tenant if owner else "",
        "ownership": owner.ownership_id if owner else "",
        "attested": admitted.boot_reference is not None,
        "boot_reference": admitted.boot_reference or "",
    }


def _admitted(job: OnboardingJob, device: Device, registration: Registration, via: Origin) -> Admitted | None:
    try:
        return _admit(job, device, registration, via)
    except IdentityRefused:
        return None


def _admit(job: OnboardingJob, device: Device, registration: Registration, via: Origin) -> Admitted:
    return admit(registration, job.trust, _evidence(job, device, registration, via), now=datetime.now(UTC))


def _evidence(job: OnboardingJob, device: Device, registration: Registration, via: Origin) -> Evidence:
    """What the ledger knows of a registration, and what the voucher says that it carries."""
    ledger = job.ledger
    known = ledger.ownerships.of_serial(registration.facts.serial)
    voucher = carried_voucher(registration, job.trust, known=known, now=datetime.now(UTC))
    if voucher is not None and voucher.ownership_id not in {one.ownership_id for one in known}:
        known = (*known, voucher)
    return Evidence(
        via=via,
        generation=device.generation,
        challenge=ledger.challenges.get(registration.proof.nonce) if registration.proof else None,
        ownerships=known,
        revocation_lists=ledger.revocations.lists(),
        revoked_keys=ledger.revocations.revoked([key_fingerprint(registration)]),
    )


def assigned(job: OnboardingJob, device: Device) -> Site:
    """Decided afresh on each try: rules may have changed since a try that failed. A given site stays the device's.

    A place that is kept for the device goes before the rules. Raises IdentityRefused when no rule matches, when the
    owner on record is another tenant, or when the site belongs to another device.
    """
    owner = _owner(job, device)
    site = _kept(job, device) or _decided(job, device, owner)
    refuse_other_tenant(owner, site.tenant, device=device.device_id)
    _refuse_taken(job, device, site)
    return site


def _owner(job: OnboardingJob, device: Device) -> Ownership | None:
    known = job.ledger.ownerships.of_serial(device.registration.facts.serial)
    return owner_of(known, device)


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
        raise IdentityRefused(
            "No assignment rule matches this device", remedy=remedy, device=device.device_id, reason=Refusal.NO_RULE
        )
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
            reason=Refusal.SITE_TAKEN,
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
