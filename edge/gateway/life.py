"""Renewals and resets: events of a device that is known, and that proves with the key on record that they are its own.

They are checked twice: at the door, so that the sender is told, and when they are acted on, since the device may have
changed in between.
"""

from __future__ import annotations

from datetime import datetime

from edge.errors import IdentityRefused
from edge.ledger import Ledger
from edge.model.admission import Challenge, Evidence, Trust
from edge.model.device import Device, DeviceState, Registration
from edge.model.identity import Refusal
from edge.policy.event import Arrival, EventType
from edge.policy.identity import key_fingerprint
from edge.policy.proof import claim_key, registration_digest
from edge.policy.renewal import check_renewal

LIFE = frozenset({EventType.RENEWED, EventType.RESET})
_GONE = (DeviceState.DECOMMISSIONING, DeviceState.DECOMMISSIONED)


def check_life(ledger: Ledger, arrival: Arrival, *, now: datetime, trust: Trust | None) -> Device | None:
    """Check a renewal or a reset; answers the device that is to be changed, or None when that was done before, and for
    any other event.

    Raises IdentityRefused with a `reason`, NotFound for a device that is not known.
    """
    if arrival.type not in LIFE or arrival.registration is None:
        return None
    device = ledger.devices.get(arrival.device_id)
    if _is_done(ledger, device, arrival.registration):
        return None
    if device.state in _GONE:
        raise _refused(Refusal.REVOKED, f"The device is {device.state}: it registers anew", device.device_id)
    _check_challenge(ledger, arrival.registration, arrival.received_at or now)
    keys = [key_fingerprint(device.registration), key_fingerprint(arrival.registration)]
    revoked = ledger.revocations.revoked(keys)
    if arrival.endorsement is not None:
        evidence = Evidence(via=arrival.via, revoked_keys=revoked, revocation_lists=ledger.revocations.lists())
        check_renewal(device, arrival.registration, arrival.endorsement, now, trust=trust, evidence=evidence)
    elif revoked:
        raise _refused(Refusal.REVOKED, "The key was revoked", device.device_id)
    elif claim_key(arrival.registration) != keys[0]:
        what = "A reset must be proven with the key on record"
        raise _refused(Refusal.PROOF_FAILED, what, device.device_id)
    return device


def live(ledger: Ledger, arrival: Arrival, *, trust: Trust | None) -> None:
    """Do what a renewal or a reset says, if it was not done before; raises as `check_life`.

    Raises WriteConflict when the device has changed since it was checked: the next try checks it anew. What comes after
    is the same as with any registration: it is registered, and so answers its challenge.
    """
    at = arrival.received_at or arrival.event.time
    device = check_life(ledger, arrival, now=at, trust=trust)
    if device is None or arrival.registration is None:
        return
    if arrival.type is EventType.RENEWED:
        known = claim_key(device.registration)
        ledger.devices.renew(device.device_id, arrival.registration, at=at, instead_of=known)
    else:
        ledger.devices.begin_anew(device.device_id, reason="reset", generation=device.generation)


def is_past(ledger: Ledger, registration: Registration) -> bool:
    """Whether a registration was on record before and the device has another key since.

    It must not claim the name again. One that is a claim already stays one: it may still be found to be the true one.
    """
    challenge = _challenge(ledger, registration)
    if challenge is None or challenge.answer != registration_digest(registration):
        return False
    key = claim_key(registration)
    if claim_key(ledger.devices.get(registration.device_id).registration) == key:
        return False
    return key not in {claim.key for claim in ledger.devices.claims(registration.device_id)}


def _is_done(ledger: Ledger, device: Device, registration: Registration) -> bool:
    """Whether this very registration is on record already, or was the first to answer its challenge."""
    digest = registration_digest(registration)
    if device.registration.proof == registration.proof and registration_digest(device.registration) == digest:
        return True
    challenge = _challenge(ledger, registration)
    return challenge is not None and challenge.answer == digest


def _check_challenge(ledger: Ledger, registration: Registration, received_at: datetime) -> None:
    device_id = registration.device_id
    challenge = _challenge(ledger, registration)
    if challenge is None or challenge.device_id != device_id:
        raise _refused(Refusal.CHALLENGE_UNKNOWN, "The nonce was never given to this device", device_id)
    if challenge.answered_at is not None:
        raise _refused(Refusal.REPLAYED, "The nonce was answered before", device_id)
    if challenge.expires_at < received_at:
        raise _refused(Refusal.CHALLENGE_EXPIRED, "The challenge was answered too late", device_id)


def _challenge(ledger: Ledger, registration: Registration) -> Challenge | None:
    return ledger.challenges.get(registration.proof.nonce) if registration.proof else None


def _refused(reason: Refusal, what: str, device: str) -> IdentityRefused:
    remedy = "Ask for a new challenge, and sign with the key that the platform knows"
    return IdentityRefused(what, device=device, reason=reason.value, remedy=remedy)
