"""May this device come in? Identity, revocation, proof of possession, ownership and boot, in this order.

Each question is answered from values alone: the registration, whom the operator trusts, and what the ledger knows.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from edge.errors import IdentityRefused, InvalidInput
from edge.model.admission import (
    AdmissionPolicy,
    Admitted,
    Challenge,
    Evidence,
    Need,
    Ownership,
    ProofRule,
    Trust,
)
from edge.model.device import Origin, Registration
from edge.model.identity import DeviceIdentity, Refusal
from edge.policy.chain import ChainRefused
from edge.policy.identity import Proven, prove_identity
from edge.policy.owner import standing
from edge.policy.proof import registration_digest, vouched
from edge.policy.revocation import check_revocation
from edge.policy.tpm import check_attestation
from edge.policy.voucher import refuse_expired, verified_voucher
from edge.policy.yaml_text import parse_yaml

_ASK_ANEW = "Let the device ask for a new challenge and register again"
_REMEDIES = {
    Refusal.REVOKED: "Replace the device; or, if its key was revoked by mistake, `edge trust restore-key`",
    Refusal.REVOCATION_UNKNOWN: "Give the issuer's newest list with `edge trust crl`",
    Refusal.PROOF_MISSING: _ASK_ANEW,
    Refusal.PROOF_FAILED: "Somebody uses a copied certificate, or the device signs something else: look at the device",
    Refusal.CHALLENGE_UNKNOWN: _ASK_ANEW,
    Refusal.CHALLENGE_EXPIRED: _ASK_ANEW,
    Refusal.REPLAYED: _ASK_ANEW,
    Refusal.NOT_OWNED: "Give a voucher with `edge trust voucher`, or allow the serial number with `edge trust allow`",
    Refusal.VOUCHER_EXPIRED: "Ask whoever issued the voucher for a new one",
    Refusal.VOUCHER_USED: "Look for the other device with this serial number; give a new voucher for the true one",
    Refusal.OTHER_TENANT: "Correct the rule, or have the owner's voucher or list changed",
}


def admit(registration: Registration, trust: Trust, evidence: Evidence, *, now: datetime) -> Admitted:
    """On what grounds the device may come in. Raises IdentityRefused with `reason`, a `Refusal`."""
    proven = prove_identity(registration, trusted=trust.anchors, now=now)
    identity = proven.identity
    _check_not_revoked(proven, trust.policy, evidence, now)
    possession = _check_proof(registration, trust.policy.proof, evidence)
    ownership = _owner(identity, trust.policy.ownership, evidence, now)
    boot = _check_boot(registration, trust, evidence, ownership, now)
    return Admitted(identity=identity, proven=possession, ownership=ownership, boot_reference=boot)


def carried_voucher(
    registration: Registration, trust: Trust, *, known: Sequence[Ownership] = (), now: datetime
) -> Ownership | None:
    """What the voucher says that a registration carries; None without one.

    The device's certificate is looked at first, so that a voucher is never read for somebody unknown. `known` are the
    ownerships on record: a voucher that the device came in on stays good past its end. Raises IdentityRefused with
    `reason`, also for a voucher of another serial number.
    """
    if not registration.voucher:
        return None
    identity = prove_identity(registration, trusted=trust.anchors, now=now).identity
    try:
        return _voucher_of(identity, registration.voucher, trust.voucher_anchors, known, now)
    except IdentityRefused as error:
        error.where.setdefault("device", registration.device_id)
        raise


def _voucher_of(
    identity: DeviceIdentity, text: str, anchors: Sequence[str], known: Sequence[Ownership], now: datetime
) -> Ownership:
    voucher = verified_voucher(text, anchors=anchors, now=now)
    if voucher.serial != identity.device_serial:
        what = f"The voucher is for the serial number {voucher.serial!r}, which the device's certificate does not name"
        raise _refused(Refusal.VOUCHER_INVALID, what, identity.device_id)
    if voucher.ownership_id not in {one.ownership_id for one in known if one.used_by == identity.device_id}:
        refuse_expired(voucher, now)
    return voucher


def refuse_other_tenant(ownership: Ownership | None, tenant: str, *, device: str) -> None:
    """Raise IdentityRefused (`other-tenant`) when the owner on record is not the tenant that the rule gives."""
    if ownership is not None and ownership.tenant != tenant:
        what = "The device belongs to another tenant than the rule gives it"
        raise _refused(Refusal.OTHER_TENANT, what, device, owner=ownership.tenant, tenant=tenant)


def parse_admission_policy(text: str | bytes, origin: str) -> AdmissionPolicy:
    """The policy in a YAML text. Raises InvalidInput naming `origin`, the field and the value."""
    try:
        return AdmissionPolicy.model_validate(parse_yaml(text, origin=origin))
    except ValidationError as error:
        fault: Any = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        raise InvalidInput(fault["msg"], file=origin, field=field, value=str(fault.get("input"))[:200]) from error


def _check_not_revoked(proven: Proven, policy: AdmissionPolicy, evidence: Evidence, now: datetime) -> None:
    device = proven.identity.device_id
    if proven.identity.fingerprint in evidence.revoked_keys:
        raise _refused(Refusal.REVOKED, "The device's key was revoked here", device)
    try:
        check_revocation(proven.chain, evidence.revocation_lists, need=policy.revocation_list, now=now)
    except ChainRefused as error:
        raise _refused(error.reason, str(error), device) from error


def _check_proof(registration: Registration, rule: ProofRule, evidence: Evidence) -> bool:
    """Whether the device proved that it holds its key. A proof that is given must hold, whatever the rule."""
    device, proof = registration.device_id, registration.proof
    if proof is None:
        exempt = rule is ProofRule.EXCEPT_IMPORTS and evidence.via is Origin.IMPORT
        if rule is ProofRule.OFF or exempt:
            return False
        raise _refused(Refusal.PROOF_MISSING, "The device does not prove that it holds its key", device)
    if not vouched(registration.certificate, registration, proof, proof.nonce):
        raise _refused(Refusal.PROOF_FAILED, "The signature is not one of the device's key over this", device)
    _check_challenge(registration, evidence.challenge, evidence.generation)
    return True


def _check_challenge(registration: Registration, challenge: Challenge | None, generation: int) -> None:
    device = registration.device_id
    if challenge is None or challenge.device_id != device:
        raise _refused(Refusal.CHALLENGE_UNKNOWN, "The nonce was never given to this device", device)
    if challenge.answered_at is None:
        raise _refused(Refusal.CHALLENGE_UNKNOWN, "The challenge was not answered by this registration", device)
    if challenge.answered_at > challenge.expires_at:
        raise _refused(Refusal.CHALLENGE_EXPIRED, "The challenge was answered too late", device)
    if not hmac.compare_digest(challenge.answer, registration_digest(registration)):
        raise _refused(Refusal.REPLAYED, "The nonce was answered before, by another registration", device)
    if challenge.generation != generation:
        raise _refused(Refusal.REPLAYED, "The nonce was answered in an earlier life of the device", device)


def _owner(identity: DeviceIdentity, need: Need, evidence: Evidence, now: datetime) -> Ownership | None:
    """The ownership that lets the device in. The serial number must be proven: anybody can say that of another."""
    known = evidence.ownerships if identity.device_serial else ()
    papers = standing(known)
    mine = [one for one in papers if one.used_by == identity.device_id]
    free = [one for one in papers if one.used_by is None and (one.expires_at is None or one.expires_at > now)]
    found = mine or free
    if not found:
        _refuse_without_owner(identity.device_id, need, known)
    return found[-1] if found else None


def _refuse_without_owner(device: str, need: Need, known: Sequence[Ownership]) -> None:
    """Say why nothing on record lets the device in; a serial number that nobody owns may pass, unless one must."""
    papers = standing(known)
    if any(one.used_by is None for one in papers):
        raise _refused(Refusal.VOUCHER_EXPIRED, "What ties the device to a tenant has expired", device)
    if papers:
        what = "The voucher or the row of a list has let in another device"
        where = {"other": papers[-1].used_by, "voucher": papers[-1].ownership_id}
        raise _refused(Refusal.VOUCHER_USED, what, device, **where)
    if known:
        what = "The device was given up, and nothing newer ties it to a tenant"
        raise _refused(Refusal.VOUCHER_USED, what, device)
    if need is Need.REQUIRED:
        raise _refused(Refusal.NOT_OWNED, "Nothing ties the device's serial number to a tenant", device)


def _check_boot(
    registration: Registration, trust: Trust, evidence: Evidence, ownership: Ownership | None, now: datetime
) -> str | None:
    """The reference that the quote fits. A device whose owner names its TPM must show it."""
    endorsed = ownership.ek_fingerprint if ownership is not None else ""
    needed = trust.policy.attestation is Need.REQUIRED or endorsed
    if registration.attestation is None and not needed:
        return None
    try:
        return check_attestation(
            registration.attestation,
            challenge=evidence.challenge,
            trust=trust,
            model=registration.facts.model,
            ek_fingerprint=endorsed,
            now=now,
        )
    except IdentityRefused as error:
        error.where.setdefault("device", registration.device_id)
        raise


def _refused(reason: Refusal, what: str, device: str, **where: object) -> IdentityRefused:
    remedy = _REMEDIES.get(reason, "Look at the device at its place")
    return IdentityRefused(what, remedy=remedy, device=device, reason=reason.value, **where)
