"""May a device go on under a new certificate? The new key proves itself, and the old one speaks for it.

The endorsement ties the new certificate to the device that is known: a manufacturer, or whoever can get a certificate
from one, cannot take a name over by issuing a second certificate for it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509

from edge.errors import IdentityRefused
from edge.model.admission import Evidence, Trust
from edge.model.device import Device, Endorsement, Registration
from edge.model.identity import Refusal
from edge.policy.chain import ChainRefused
from edge.policy.identity import key_fingerprint, prove_identity
from edge.policy.proof import claim_key, vouched
from edge.policy.revocation import check_revocation

GRACE = timedelta(days=30)
"""How long after its end an old certificate may still endorse.

A site that was dark when its certificate ended must be able to renew itself without a visit. It ends, because issuers
take expired certificates off their revocation lists (RFC 5280, 3.3): from then on nobody tells of a stolen key.
"""

ENDS_SOON = timedelta(days=30)
"""Devices whose certificate ends within this time are listed for renewal."""

_REMEDY = "Renew with a certificate of the same manufacturer that the old key endorses; else decommission the device"


def check_renewal(  # noqa: PLR0913 - who, under what, on whose word, when, and what that rests on
    device: Device,
    registration: Registration,
    endorsement: Endorsement,
    now: datetime,
    *,
    trust: Trust | None = None,
    evidence: Evidence | None = None,
) -> None:
    """Raise IdentityRefused with a `reason` unless the device may go on under the certificate of `registration`.

    It must be the same device by id and serial number, under a certificate that a trusted manufacturer issued and that
    is valid now; its key must hold the registration's proof, and the key on record must endorse the same bytes. Neither
    may be revoked, here or by its issuer (`evidence`), and an old certificate endorses until `GRACE` after its end. The
    challenge is checked by the caller. Without `trust` the issuer is not looked at: for callers that do so themselves.
    """
    _check_same_device(device, registration)
    _check_grace(device, now)
    old, new = key_fingerprint(device.registration), key_fingerprint(registration)
    revoked = evidence.revoked_keys if evidence is not None else frozenset()
    if old in revoked:
        raise _refused(Refusal.REVOKED, "The old key was revoked: it speaks for nobody", device)
    if new in revoked:
        raise _refused(Refusal.REVOKED, "The new key was revoked", device)
    if trust is not None:
        _check_chains(device, registration, (trust, evidence), now)
    if claim_key(registration) != new:
        raise _refused(Refusal.PROOF_FAILED, "The new key does not prove itself", device)
    _check_endorsement(device, registration, endorsement)


def certificate_end(registration: Registration) -> datetime | None:
    """When the leaf certificate ends, UTC; None when it cannot be read."""
    try:
        return x509.load_pem_x509_certificates(registration.certificate.encode())[0].not_valid_after_utc
    except ValueError:
        return None


def ends_soon(registration: Registration, *, now: datetime, within: timedelta = ENDS_SOON) -> bool:
    """Whether the certificate has ended or ends within that time; one that cannot be read counts too."""
    end = certificate_end(registration)
    return end is None or end - now <= within


def _check_same_device(device: Device, registration: Registration) -> None:
    if registration.device_id != device.device_id:
        raise _refused(Refusal.WRONG_NAME, f"The renewal is {registration.device_id}'s", device)
    known, told = device.registration.facts.serial, registration.facts.serial
    if told != known:
        raise _refused(Refusal.WRONG_SERIAL, f"The serial number is {known!r}, not {told!r}", device)


def _check_chains(
    device: Device, registration: Registration, grounds: tuple[Trust, Evidence | None], now: datetime
) -> None:
    """The new certificate leads to a trusted manufacturer, and no list takes it back; the old one did while it held."""
    trust, evidence = grounds
    end = certificate_end(device.registration)
    for one, at in ((registration, now), (device.registration, min(now, end) if end else now)):
        proven = prove_identity(one, trusted=trust.anchors, now=at)
        lists = evidence.revocation_lists if evidence is not None else ()
        try:
            check_revocation(proven.chain, lists, need=trust.policy.revocation_list, now=now)
        except ChainRefused as error:
            raise _refused(error.reason, str(error), device) from error


def _check_grace(device: Device, now: datetime) -> None:
    end = certificate_end(device.registration)
    if end is None or now > end + GRACE:
        what = f"The old certificate ended more than {GRACE.days} days ago: it endorses nothing any more"
        raise _refused(Refusal.EXPIRED, what, device)


def _check_endorsement(device: Device, registration: Registration, endorsement: Endorsement) -> None:
    nonce = registration.proof.nonce if registration.proof else ""
    if not vouched(device.registration.certificate, registration, endorsement, nonce):
        raise _refused(Refusal.PROOF_FAILED, "The key on record does not endorse the new certificate", device)


def _refused(reason: Refusal, what: str, device: Device) -> IdentityRefused:
    return IdentityRefused(what, device=device.device_id, reason=reason.value, remedy=_REMEDY)
