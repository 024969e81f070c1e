"""On what grounds a device may come in, and with which word it is kept out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import IdentityRefused
from edge.lab.ca import Authority
from edge.lab.tpm import SoftTpm
from edge.model.admission import (
    AdmissionPolicy,
    Admitted,
    Challenge,
    Evidence,
    Need,
    Ownership,
    OwnershipKind,
    PcrReference,
    ProofRule,
    Trust,
)
from edge.model.device import Origin, Registration
from edge.model.identity import Refusal
from edge.policy.admission import admit, carried_voucher, refuse_other_tenant
from edge.policy.identity import key_fingerprint
from edge.policy.proof import registration_digest, sign
from edge.policy.revocation import read_crl
from edge.policy.tpm_credential import activation_answer, make_credential
from edge.policy.tpm_ek import read_ek
from edge.policy.voucher import Voucher, issue_voucher
from tests.pki import NOW, Maker, name, new_key, pem

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
NONCE = "a-nonce-of-the-platform"
MAKER, VOUCHERS, STRANGER = Maker("Good Gateways"), Maker("Voucher service"), Maker("Somebody Else")
KEY, OTHER_KEY = new_key(), new_key()
CERTIFICATE = MAKER.certify(name("gw-1", "SN-1"), key=KEY)
NO_SERIAL = MAKER.certify(name("gw-1"), key=KEY)
FOREIGN = STRANGER.certify(name("gw-1", "SN-1"), key=KEY)


def signed_registration(key: Any = KEY, certificate: x509.Certificate = CERTIFICATE, **more: Any) -> Registration:
    sent = {"device_id": "gw-1", "certificate": pem(certificate), "facts": {"serial": "SN-1"}, **more}
    made = Registration.model_validate(sent)
    return made.model_copy(update={"proof": sign(key, made, NONCE)})


REGISTRATION = signed_registration()
UNPROVEN = REGISTRATION.model_copy(update={"proof": None})
COPIED = signed_registration(OTHER_KEY)
"""From somebody who has the certificate and not its key."""
CHALLENGE = Challenge(
    nonce=NONCE,
    device_id="gw-1",
    issued_at=NOW - MINUTE,
    expires_at=NOW + 14 * MINUTE,
    answered_at=NOW,
    answer=registration_digest(REGISTRATION),
    generation=1,
)


def owned(tenant: str = "plant-a", **more: Any) -> Ownership:
    made = {"ownership_id": tenant, "serial": "SN-1", "tenant": tenant, "kind": OwnershipKind.LIST, **more}
    return Ownership.model_validate({"created_at": NOW - 10 * DAY, **made})


def revocation_list(*revoked: x509.Certificate) -> Any:
    builder = x509.CertificateRevocationListBuilder().issuer_name(MAKER.name)
    builder = builder.last_update(NOW - DAY).next_update(NOW + DAY)
    for one in revoked:
        row = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(NOW - DAY)
        builder = builder.add_revoked_certificate(row.build())
    text = builder.sign(MAKER.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    return read_crl(text, anchors=(MAKER.pem,), now=NOW)


@dataclass(frozen=True)
class Case:
    """A device that may come in, unless a field says otherwise."""

    registration: Registration = REGISTRATION
    policy: dict[str, Any] = field(default_factory=dict)
    challenge: Challenge | None = CHALLENGE
    ownerships: tuple[Ownership, ...] = ()
    via: Origin = Origin.EVENT
    generation: int = 1
    more: dict[str, Any] = field(default_factory=dict)
    """Other evidence."""
    tpm_anchors: tuple[str, ...] = ()
    now: datetime = NOW

    def admit(self) -> Admitted:
        trust = Trust(
            anchors=(MAKER.pem,),
            voucher_anchors=(VOUCHERS.pem,),
            tpm_anchors=self.tpm_anchors,
            policy=AdmissionPolicy(**self.policy),
        )
        evidence = Evidence(
            via=self.via,
            generation=self.generation,
            challenge=self.challenge,
            ownerships=self.ownerships,
            **self.more,
        )
        return admit(self.registration, trust, evidence, now=self.now)

    def refusal(self) -> str:
        with pytest.raises(IdentityRefused) as refused:
            self.admit()
        assert refused.value.where["device"] == "gw-1"
        assert refused.value.remedy
        return refused.value.where["reason"]


def challenge(**changed: Any) -> Challenge:
    return CHALLENGE.model_copy(update=changed)


OWNED = {"ownership": Need.REQUIRED}
MINE: dict[str, Any] = {"used_by": "gw-1", "used_generation": 1, "used_at": NOW - DAY}
ENDED: dict[str, Any] = {**MINE, "ended_at": NOW - MINUTE}
REVOKED_HERE = {"revoked_keys": frozenset([key_fingerprint(REGISTRATION)])}


@pytest.mark.parametrize(
    ("case", "proven", "owner"),
    [
        pytest.param(Case(), True, None, id="proven"),
        pytest.param(Case(UNPROVEN, via=Origin.IMPORT), False, None, id="imported-without-proof"),
        pytest.param(Case(via=Origin.IMPORT), True, None, id="imported-with-proof"),
        pytest.param(Case(UNPROVEN, {"proof": ProofRule.OFF}), False, None, id="proof-off"),
        pytest.param(Case(challenge=challenge(expires_at=NOW)), True, None, id="answered-at-the-last-moment"),
        pytest.param(Case(now=NOW + 30 * DAY), True, None, id="run-long-after-the-challenge"),
        pytest.param(Case(policy=OWNED, ownerships=(owned(),)), True, "plant-a", id="owned"),
        pytest.param(Case(ownerships=(owned("a"), owned("b"))), True, "b", id="the-newest-owner"),
        pytest.param(Case(ownerships=(owned("a", **MINE), owned("b"))), True, "a", id="the-one-it-came-in-on"),
        pytest.param(
            Case(ownerships=(owned(expires_at=NOW - DAY, **MINE),)), True, "plant-a", id="expired-after-it-was-used"
        ),
        pytest.param(
            Case(ownerships=(owned("a", **ENDED), owned("b", created_at=NOW))), True, "b", id="sold-with-a-newer-paper"
        ),
        pytest.param(
            Case(ownerships=(owned("a", used_by="gw-2", used_generation=1), owned("b"))), True, "b", id="a-free-one"
        ),
        pytest.param(
            Case(policy={"revocation_list": Need.REQUIRED}, more={"revocation_lists": (revocation_list(),)}),
            True,
            None,
            id="on-no-list",
        ),
    ],
)
def test_a_device_comes_in(case: Case, proven: bool, owner: str | None) -> None:
    admitted = case.admit()
    assert admitted.identity.device_id == "gw-1"
    assert admitted.proven is proven
    assert (admitted.ownership.tenant if admitted.ownership else None) == owner
    assert admitted.boot_reference is None


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        pytest.param(Case(signed_registration(certificate=FOREIGN)), Refusal.UNKNOWN_ISSUER, id="another-maker"),
        pytest.param(Case(UNPROVEN), Refusal.PROOF_MISSING, id="no-proof"),
        pytest.param(Case(UNPROVEN, via=Origin.MQTT), Refusal.PROOF_MISSING, id="no-proof-over-mqtt"),
        pytest.param(
            Case(UNPROVEN, {"proof": ProofRule.REQUIRED}, via=Origin.IMPORT),
            Refusal.PROOF_MISSING,
            id="imported-where-all-must-prove",
        ),
        pytest.param(Case(COPIED), Refusal.PROOF_FAILED, id="copied-certificate"),
        pytest.param(Case(COPIED, {"proof": ProofRule.OFF}), Refusal.PROOF_FAILED, id="bad-proof-though-off"),
        pytest.param(Case(COPIED, via=Origin.IMPORT), Refusal.PROOF_FAILED, id="bad-proof-imported"),
        pytest.param(Case(challenge=None), Refusal.CHALLENGE_UNKNOWN, id="nonce-of-nobody"),
        pytest.param(
            Case(challenge=challenge(device_id="gw-2")), Refusal.CHALLENGE_UNKNOWN, id="nonce-of-another-device"
        ),
        pytest.param(Case(challenge=challenge(answered_at=None)), Refusal.CHALLENGE_UNKNOWN, id="never-answered"),
        pytest.param(
            Case(challenge=challenge(expires_at=NOW - MINUTE)), Refusal.CHALLENGE_EXPIRED, id="answered-too-late"
        ),
        pytest.param(Case(challenge=challenge(answer="0" * 64)), Refusal.REPLAYED, id="answered-by-another"),
        pytest.param(Case(generation=2), Refusal.REPLAYED, id="answered-in-an-earlier-life"),
        pytest.param(Case(policy=OWNED), Refusal.NOT_OWNED, id="nobody's"),
        pytest.param(
            Case(
                signed_registration(certificate=NO_SERIAL),
                OWNED,
                challenge(answer=registration_digest(signed_registration(certificate=NO_SERIAL))),
                (owned(),),
            ),
            Refusal.NOT_OWNED,
            id="a-serial-number-that-is-only-told",
        ),
        pytest.param(
            Case(ownerships=(owned(expires_at=NOW - DAY),)), Refusal.VOUCHER_EXPIRED, id="expired-before-it-was-used"
        ),
        pytest.param(
            Case(ownerships=(owned(used_by="gw-2", used_generation=1),)), Refusal.VOUCHER_USED, id="used-by-another"
        ),
        pytest.param(Case(ownerships=(owned(**ENDED),)), Refusal.VOUCHER_USED, id="given-up"),
        pytest.param(
            Case(ownerships=(owned("a", **ENDED), owned("b"))), Refusal.VOUCHER_USED, id="a-paper-older-than-the-end"
        ),
        pytest.param(Case(more=REVOKED_HERE), Refusal.REVOKED, id="key-revoked-here"),
        pytest.param(
            Case(more={"revocation_lists": (revocation_list(CERTIFICATE),)}), Refusal.REVOKED, id="on-the-maker's-list"
        ),
        pytest.param(Case(UNPROVEN, more=REVOKED_HERE), Refusal.REVOKED, id="revoked-is-told-before-the-proof"),
        pytest.param(
            Case(policy={"revocation_list": Need.REQUIRED}), Refusal.REVOCATION_UNKNOWN, id="no-list-where-one-must-be"
        ),
        pytest.param(
            Case(policy={"attestation": Need.REQUIRED}), Refusal.ATTESTATION_MISSING, id="no-tpm-where-one-must-be"
        ),
        pytest.param(
            Case(ownerships=(owned(ek_fingerprint="ab" * 32),)),
            Refusal.ATTESTATION_MISSING,
            id="no-tpm-though-its-owner-names-one",
        ),
    ],
)
def test_a_device_is_kept_out(case: Case, reason: Refusal) -> None:
    assert case.refusal() == reason


@pytest.fixture(scope="module")
def attested() -> Case:
    """A device with a TPM after a good boot, whose references the policy knows."""
    maker = Maker("Maker of TPMs")
    tpm = SoftTpm.made_by(Authority(maker.key, maker.certificate, Path()), "0001")
    tpm.boot({0: (b"firmware 1.2",)})
    secret = bytes(32)
    wrapped = make_credential(tpm.ek_certificate, tpm.ak_public, secret=secret, seed=bytes(32))
    answer = activation_answer(tpm.activate(wrapped.id_object, wrapped.secret), NONCE)
    attestation = tpm.attest(NONCE, activation=answer)
    made = signed_registration(attestation=attestation.model_dump(mode="json"))
    good = {index: (value,) for index, value in attestation.pcrs["sha256"].items()}
    reference = PcrReference(name="good", pcrs={"sha256": good})
    known = challenge(
        answer=registration_digest(made),
        activation=answer,
        ak_name=wrapped.ak_name,
        ek_fingerprint=wrapped.ek_fingerprint,
    )
    policy = {"attestation": Need.REQUIRED, "boot_references": (reference,)}
    return Case(made, policy, known, tpm_anchors=(maker.pem,))


def test_a_good_boot_is_named(attested: Case) -> None:
    assert attested.admit().boot_reference == "good"
    assert replace(attested, policy={}).admit().boot_reference == ""


def test_the_tpm_that_the_owner_names_comes_in_and_no_other(attested: Case) -> None:
    assert attested.registration.attestation is not None
    own = read_ek(attested.registration.attestation.ek_certificate).fingerprint
    assert replace(attested, ownerships=(owned(ek_fingerprint=own),)).admit().boot_reference == "good"
    assert replace(attested, ownerships=(owned(ek_fingerprint="ab" * 32),)).refusal() == Refusal.TPM_UNTRUSTED


def test_another_boot_is_refused_though_no_attestation_is_asked_for(attested: Case) -> None:
    other = PcrReference(name="other", pcrs={"sha256": {"0": ("00" * 32,)}})
    assert replace(attested, policy={"boot_references": (other,)}).refusal() == Refusal.PCR_MISMATCH


def test_a_tpm_of_an_unknown_maker_is_refused(attested: Case) -> None:
    assert replace(attested, tpm_anchors=()).refusal() == Refusal.TPM_UNTRUSTED


def test_an_attestation_that_answers_no_challenge_is_refused(attested: Case) -> None:
    unproven = attested.registration.model_copy(update={"proof": None})
    case = replace(attested, registration=unproven, challenge=None, via=Origin.IMPORT)
    assert case.refusal() == Refusal.ATTESTATION_INVALID


def voucher(serial: str = "SN-1", *, days: int = 30, signer: Maker = VOUCHERS) -> str:
    said = Voucher(created_on=NOW - DAY, expires_on=NOW + days * DAY, serial_number=serial, tenant="plant-a")
    return issue_voucher(said, signer.key, [signer.certificate])


TRUST = Trust(anchors=(MAKER.pem,), voucher_anchors=(VOUCHERS.pem,))


def carried(text: str, certificate: x509.Certificate = CERTIFICATE, *known: Ownership, days: int = 0) -> Any:
    made = signed_registration(certificate=certificate, voucher=text)
    return carried_voucher(made, TRUST, known=known, now=NOW + days * DAY)


def test_a_voucher_that_a_device_carries_is_read() -> None:
    assert carried(voucher()).tenant == "plant-a"
    assert carried("") is None


@pytest.mark.parametrize(
    ("text", "certificate", "reason"),
    [
        pytest.param(voucher("SN-2"), CERTIFICATE, Refusal.VOUCHER_INVALID, id="of-another-serial-number"),
        pytest.param(voucher(), NO_SERIAL, Refusal.VOUCHER_INVALID, id="no-serial-number-in-the-certificate"),
        pytest.param(voucher(signer=STRANGER), CERTIFICATE, Refusal.VOUCHER_INVALID, id="signed-by-a-stranger"),
        pytest.param(voucher(days=-1), CERTIFICATE, Refusal.VOUCHER_EXPIRED, id="expired"),
        pytest.param("garbage", CERTIFICATE, Refusal.VOUCHER_INVALID, id="garbage"),
        pytest.param("garbage", FOREIGN, Refusal.UNKNOWN_ISSUER, id="the-chain-is-told-before-the-voucher-is-read"),
    ],
)
def test_a_voucher_that_does_not_fit_is_refused(text: str, certificate: x509.Certificate, reason: Refusal) -> None:
    with pytest.raises(IdentityRefused) as refused:
        carried(text, certificate)
    assert (refused.value.where["reason"], refused.value.where["device"]) == (reason, "gw-1")


def test_a_voucher_that_a_device_came_in_on_stays_good_past_its_end() -> None:
    text = voucher()
    said = carried(text)
    mine = said.model_copy(update={"used_by": "gw-1", "used_generation": 1})
    assert carried(text, CERTIFICATE, mine, days=31) == said
    for other in (said, said.model_copy(update={"used_by": "gw-2"})):
        with pytest.raises(IdentityRefused, match="expired"):
            carried(text, CERTIFICATE, other, days=31)


def test_an_owner_and_a_rule_must_name_the_same_tenant() -> None:
    refuse_other_tenant(owned("plant-a"), "plant-a", device="gw-1")
    refuse_other_tenant(None, "plant-a", device="gw-1")
    with pytest.raises(IdentityRefused) as refused:
        refuse_other_tenant(owned("plant-a"), "plant-b", device="gw-1")
    assert refused.value.where["reason"] == Refusal.OTHER_TENANT
    assert (refused.value.where["owner"], refused.value.where["tenant"]) == ("plant-a", "plant-b")


TIMES = st.sampled_from([NOW - 20 * DAY, NOW - MINUTE, NOW, NOW + MINUTE])
DEVICES = st.sampled_from([None, "gw-1", "gw-2"])
OWNERSHIPS = st.builds(
    owned,
    st.sampled_from(["a", "b"]),
    created_at=TIMES,
    expires_at=st.none() | TIMES,
    ended_at=st.none() | TIMES,
    used_by=DEVICES,
    ek_fingerprint=st.sampled_from(["", "ab" * 32]),
)
CHALLENGES = st.builds(
    challenge,
    device_id=st.sampled_from(["gw-1", "gw-2"]),
    expires_at=TIMES,
    answered_at=st.none() | TIMES,
    answer=st.sampled_from([CHALLENGE.answer, "", "0" * 64]),
    generation=st.sampled_from([None, 1, 2]),
)
POLICIES = st.fixed_dictionaries(
    {"proof": st.sampled_from(ProofRule)}
    | {word: st.sampled_from(Need) for word in ("ownership", "attestation", "revocation_list")}
)
LISTS = st.sampled_from([(), (revocation_list(),), (revocation_list(CERTIFICATE),)])
CASES = st.builds(
    Case,
    registration=st.sampled_from([REGISTRATION, UNPROVEN, COPIED]),
    policy=POLICIES,
    challenge=st.none() | CHALLENGES,
    ownerships=st.lists(OWNERSHIPS, max_size=3).map(tuple),
    via=st.sampled_from(Origin),
    generation=st.sampled_from([1, 2]),
    more=st.fixed_dictionaries({"revocation_lists": LISTS}),
)


def outcome(case: Case) -> tuple[Admitted | None, str]:
    try:
        return case.admit(), ""
    except IdentityRefused as error:
        return None, error.where["reason"]


@settings(max_examples=200, deadline=None)
@given(CASES)
def test_whatever_is_known_a_device_comes_in_on_good_grounds_or_is_refused_with_a_reason(case: Case) -> None:
    admitted, reason = outcome(case)
    if admitted is None:
        assert reason in set(Refusal)
        return
    owner = admitted.ownership
    assert admitted.proven or case.registration is UNPROVEN
    assert owner is not None or case.policy["ownership"] is not Need.REQUIRED
    assert owner is None or (owner.ended_at is None and owner.used_by in (None, "gw-1"))
    assert case.policy["attestation"] is not Need.REQUIRED
