"""What letting a device in rests on: challenges, owners, revocations, and who proves that it holds its key."""

from __future__ import annotations

import base64
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from edge.errors import EdgeError, IdentityRefused, LedgerMismatch, NotFound
from edge.ledger import Ledger
from edge.model.admission import Challenge, Ownership, OwnershipKind, RevocationList
from edge.model.device import DeviceFacts, DeviceState, Origin, Proof, Registration
from edge.policy.proof import claim_key, registration_digest, signed_bytes

AT = datetime(2026, 3, 1, 8, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NONCE = "nonce-0123456789abcdef"


@cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def certificate(name: str) -> str:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "dev-1")])
    builder = x509.CertificateBuilder(subject, subject, key(name).public_key(), 1, AT, AT + HOUR)
    return builder.sign(key(name), hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def unproven(name: str = "own", **facts: str) -> Registration:
    given = DeviceFacts.model_validate({"serial": "SN-1", **facts})
    return Registration(device_id="dev-1", certificate=certificate(name), facts=given)


def proven(name: str = "own", nonce: str = NONCE, signer: str = "", **facts: str) -> Registration:
    """A registration that `signer` signed; by default the holder of its key."""
    bare = unproven(name, **facts)
    signature = key(signer or name).sign(signed_bytes(bare, nonce), ec.ECDSA(hashes.SHA256()))
    proof = Proof(nonce=nonce, algorithm="ES256", signature=base64.b64encode(signature).decode())
    return bare.model_copy(update={"proof": proof})


def challenge(nonce: str = NONCE, device: str = "dev-1", at: datetime = AT) -> Challenge:
    return Challenge(nonce=nonce, device_id=device, issued_at=at, expires_at=at + 5 * MINUTE)


def voucher(name: str = "v1", **changes: object) -> Ownership:
    fields = {"ownership_id": name, "serial": "SN-1", "tenant": "factory", "kind": "voucher", "created_at": AT}
    return Ownership.model_validate({**fields, **changes})


def crl(number: int, at: datetime = AT, issuer: str = "aa") -> RevocationList:
    return RevocationList(issuer=issuer, issuer_name="CN=Maker", number=number, this_update=at, pem=f"list {number}")


def actions(ledger: Ledger) -> list[str]:
    return [entry.action for entry in ledger.audit.entries()]


def test_a_challenge_comes_back_and_leaves_nothing_on_the_trail(ledger: Ledger) -> None:
    assert ledger.challenges.issue(challenge()) == challenge()
    assert ledger.challenges.get(NONCE) == challenge()
    assert ledger.challenges.get("another") is None
    assert actions(ledger) == []
    with pytest.raises(LedgerMismatch):
        ledger.challenges.issue(challenge(device="dev-2"))


def test_a_proof_answers_its_challenge_and_the_first_answer_sticks(ledger: Ledger) -> None:
    ledger.challenges.issue(challenge())
    sent = proven()
    ledger.devices.register(sent, at=AT, received_at=AT + MINUTE)
    first = challenge().model_copy(
        update={"answered_at": AT + MINUTE, "answer": registration_digest(sent), "generation": 1}
    )
    assert ledger.challenges.get(NONCE) == first
    ledger.devices.register(proven(location="hall 9"), at=AT + HOUR)
    assert ledger.challenges.get(NONCE) == first


@pytest.mark.parametrize(
    ("registration", "given_to"),
    [
        pytest.param(unproven(), "dev-1", id="no-proof"),
        pytest.param(proven(signer="thief"), "dev-1", id="another-signed"),
        pytest.param(proven(), "dev-2", id="given-to-another-device"),
    ],
)
def test_what_proves_nothing_leaves_the_challenge_open(
    ledger: Ledger, registration: Registration, given_to: str
) -> None:
    ledger.challenges.issue(challenge(device=given_to))
    ledger.devices.register(registration, at=AT)
    assert ledger.challenges.get(NONCE) == challenge(device=given_to)


def test_a_challenge_is_answered_in_the_life_in_which_it_came(ledger: Ledger) -> None:
    ledger.devices.register(proven(nonce="nonce-of-the-first-life"), at=AT)
    ledger.devices.begin_anew("dev-1", reason="reset")
    ledger.challenges.issue(challenge())
    ledger.devices.register(proven(), at=AT + HOUR)
    answered = ledger.challenges.get(NONCE)
    assert answered is not None
    assert answered.generation == 2


def test_old_challenges_go_and_the_one_a_device_answered_last_stays(ledger: Ledger) -> None:
    for number in range(3):
        ledger.challenges.issue(challenge(f"nonce-number-{number:06}"))
    for number in (0, 1):
        sent = proven(nonce=f"nonce-number-{number:06}")
        ledger.devices.register(sent, at=AT, received_at=AT + number * MINUTE)
    ledger.challenges.issue(challenge(at=AT + HOUR))
    assert ledger.challenges.purge(AT) == 0
    assert ledger.challenges.purge(AT + HOUR) == 2
    left = [name for name in ("nonce-number-000001", NONCE) if ledger.challenges.get(name)]
    assert left == ["nonce-number-000001", NONCE]


def test_what_was_sent_comes_back_with_the_same_digest(ledger: Ledger) -> None:
    facts = {"serial": "SN-1", "position": {"latitude": 48, "longitude": 11.5}}
    sent = Registration.model_validate({"device_id": "dev-1", "certificate": certificate("own"), "facts": facts})
    kept = ledger.devices.register(sent, at=AT).registration
    assert registration_digest(kept) == registration_digest(sent)
    assert registration_digest(kept) != registration_digest(Registration.model_validate(sent.model_dump()))


@pytest.mark.parametrize("at", [pytest.param(AT + HOUR, id="later"), pytest.param(AT - HOUR, id="earlier")])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(DeviceState.QUARANTINED, DeviceState.REGISTERED, id="quarantined"),
        pytest.param(DeviceState.FAILED, DeviceState.REGISTERED, id="failed"),
        pytest.param(DeviceState.ONBOARDING, DeviceState.ONBOARDING, id="onboarding"),
        pytest.param(DeviceState.CONNECTED, DeviceState.CONNECTED, id="connected"),
        pytest.param(DeviceState.DECOMMISSIONED, DeviceState.DECOMMISSIONED, id="decommissioned"),
    ],
)
def test_who_proves_the_key_replaces_who_only_named_it(
    ledger: Ledger, before: DeviceState, after: DeviceState, at: datetime
) -> None:
    ledger.devices.register(unproven(location="hall 1"), at=AT, via=Origin.IMPORT)
    ledger.devices.move("dev-1", before)
    device = ledger.devices.register(proven(), at=at, via=Origin.MQTT)
    assert (device.registration, device.registered_at, device.via) == (proven_as_sent(device), at, Origin.MQTT)
    assert device.state is after
    assert ledger.devices.claims("dev-1") == ()
    # From here on nobody without the key changes anything.
    ledger.devices.register(unproven(location="hall 9"), at=AT + 2 * HOUR)
    assert ledger.devices.get("dev-1") == device
    assert [claim.key for claim in ledger.devices.claims("dev-1")] == [claim_key(unproven())]


def proven_as_sent(device: object) -> Registration:
    """An ECDSA signature is another each time, so a registration is compared with the proof it came with."""
    kept = device.registration  # type: ignore[attr-defined] - a Device
    assert claim_key(kept) == claim_key(proven())
    return kept  # type: ignore[no-any-return] - as above


def test_a_proof_of_another_key_is_a_claim_that_settles_its_unproven_one(ledger: Ledger) -> None:
    ledger.devices.register(unproven(), at=AT)
    ledger.devices.register(unproven("rival"), at=AT + MINUTE)
    ledger.devices.register(proven("rival"), at=AT + HOUR, via=Origin.MQTT)
    (claim,) = ledger.devices.claims("dev-1")
    assert (claim.key, claim.via) == (claim_key(proven("rival")), Origin.MQTT)
    adopted = ledger.devices.adopt("dev-1", claim.key)
    assert (adopted.registration, adopted.via) == (claim.registration, Origin.MQTT)
    assert [old.via for old in ledger.devices.claims("dev-1")] == [Origin.EVENT]


def test_an_earlier_registration_that_comes_again_as_new_changes_nothing(ledger: Ledger) -> None:
    """The event's time is not signed: who replays a registration can give it any."""
    for number, model in enumerate(("old", "new"), start=1):
        ledger.challenges.issue(challenge(nonce=f"nonce-number-{number:04}"))
        ledger.devices.register(proven(nonce=f"nonce-number-{number:04}", model=model), at=AT + timedelta(hours=number))
    before = actions(ledger)
    again = ledger.devices.register(proven(nonce="nonce-number-0001", model="old"), at=AT + timedelta(hours=9))
    assert again.registration.facts.model == "new"
    long_ago = ledger.devices.register(proven(nonce="nonce-long-purged", model="old"), at=AT + timedelta(hours=9))
    assert long_ago.registration.facts.model == "new"
    assert actions(ledger) == before


def test_an_owner_is_recorded_once_with_its_tenant(ledger: Ledger) -> None:
    assert ledger.ownerships.record(voucher()) == voucher()
    assert ledger.ownerships.record(voucher()) == voucher()
    assert ledger.ownerships.get("v1") == voucher()
    assert [tenant.name for tenant in ledger.tenants.list()] == ["factory"]
    assert actions(ledger) == ["tenant.added", "ownership.recorded"]
    with pytest.raises(LedgerMismatch):
        ledger.ownerships.record(voucher(serial="SN-2"))
    with pytest.raises(NotFound):
        ledger.ownerships.get("v2")


def test_a_list_that_is_read_again_changes_nothing(ledger: Ledger) -> None:
    row = voucher("plant/SN-1", kind=OwnershipKind.LIST)
    ledger.ownerships.record(row)
    ledger.ownerships.end("plant/SN-1", at=AT)
    again = ledger.ownerships.record(row.model_copy(update={"created_at": AT + HOUR}))
    assert (again.created_at, again.ended_at) == (AT, AT)


def test_owners_are_found_oldest_first(ledger: Ledger) -> None:
    ledger.ownerships.record(voucher("b", created_at=AT + HOUR, tenant="second"))
    ledger.ownerships.record(voucher("c"))
    ledger.ownerships.record(voucher("a", serial="SN-2", created_at=AT + MINUTE))
    assert [found.ownership_id for found in ledger.ownerships.of_serial("SN-1")] == ["c", "b"]
    assert [found.ownership_id for found in ledger.ownerships.list(tenant="factory")] == ["c", "a"]
    assert [found.ownership_id for found in ledger.ownerships.list()] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("device", "generation", "ended", "reason"),
    [
        pytest.param("dev-1", 1, False, None, id="the-same-again"),
        pytest.param("dev-1", 1, True, None, id="the-same-after-its-end"),
        pytest.param("dev-2", 1, False, "voucher-used", id="another-device"),
        pytest.param("dev-1", 2, True, "not-owned", id="another-life-after-its-end"),
    ],
)
def test_an_owner_lets_in_one_device_until_its_end(
    ledger: Ledger, device: str, generation: int, ended: bool, reason: str | None
) -> None:
    ledger.ownerships.record(voucher())
    used = ledger.ownerships.use("v1", device_id="dev-1", generation=1, at=AT)
    if ended:
        used = ledger.ownerships.end("v1", at=AT)
    if reason is None:
        assert ledger.ownerships.use("v1", device_id=device, generation=generation, at=AT + HOUR) == used
        return
    with pytest.raises(IdentityRefused) as refused:
        ledger.ownerships.use("v1", device_id=device, generation=generation, at=AT + HOUR)
    assert refused.value.where["reason"] == reason
    assert ledger.ownerships.get("v1") == used


def test_a_device_comes_in_again_in_a_later_life(ledger: Ledger) -> None:
    ledger.ownerships.record(voucher())
    for generation in (1, 2):
        used = ledger.ownerships.use("v1", device_id="dev-1", generation=generation, at=AT + generation * HOUR)
        assert (used.used_generation, used.used_at) == (generation, AT + generation * HOUR)
        assert ledger.ownerships.get("v1") == used
    assert actions(ledger).count("ownership.used") == 2


def test_an_owner_that_was_ended_lets_nobody_in(ledger: Ledger) -> None:
    ledger.ownerships.record(voucher())
    assert ledger.ownerships.end("v1", at=AT) == ledger.ownerships.end("v1", at=AT + HOUR)
    with pytest.raises(IdentityRefused) as refused:
        ledger.ownerships.use("v1", device_id="dev-1", generation=1, at=AT)
    assert refused.value.where["reason"] == "not-owned"


def test_what_a_device_came_in_on_ends_with_it(ledger: Ledger) -> None:
    for name, device in (("a", "dev-1"), ("b", "dev-1"), ("c", "dev-2")):
        ledger.ownerships.record(voucher(name))
        ledger.ownerships.use(name, device_id=device, generation=1, at=AT)
    assert ledger.ownerships.end_for_device("dev-1", at=AT + HOUR) == 2
    assert ledger.ownerships.end_for_device("dev-1", at=AT + HOUR) == 0
    assert [found.ended_at for found in ledger.ownerships.list()] == [AT + HOUR, AT + HOUR, None]
    assert actions(ledger).count("ownership.ended") == 2


USE = """
import sys
from datetime import UTC, datetime
from edge.errors import IdentityRefused
from edge.ledger import Ledger

with Ledger.open(sys.argv[1]) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        ledger.ownerships.use("v1", device_id=sys.argv[2], generation=1, at=datetime.now(UTC))
    except IdentityRefused as refused:
        print(refused.where["reason"])
    else:
        print("in")
"""


def test_of_two_processes_that_use_a_voucher_at_once_one_wins(ledger: Ledger, ledger_url: str) -> None:
    ledger.ownerships.record(voucher())
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    racers = [
        subprocess.Popen([sys.executable, "-c", USE, ledger_url, f"dev-{number}"], **pipes)  # type: ignore[call-overload] - one mapping for three keywords
        for number in (1, 2)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate()[0].strip() for racer in racers]
    assert sorted(said) == ["in", "voucher-used"]
    assert ledger.ownerships.get("v1").used_by == f"dev-{said.index('in') + 1}"


def test_of_many_that_use_a_voucher_at_once_one_wins(ledger: Ledger, ledger_url: str) -> None:
    ledger.ownerships.record(voucher())

    def use(number: int) -> str:
        book = (ledger if number % 2 else other).ownerships
        try:
            return book.use("v1", device_id=f"dev-{number}", generation=1, at=AT).used_by or ""
        except EdgeError as refused:
            return refused.where["reason"]

    with Ledger.open(ledger_url) as other, ThreadPoolExecutor(12) as pool:
        said = list(pool.map(use, range(12)))
    winner = ledger.ownerships.get("v1").used_by
    assert sorted(said) == sorted([winner, *["voucher-used"] * 11])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param(crl(6), True, id="higher-number"),
        pytest.param(crl(5, AT + HOUR), True, id="same-number-later"),
        pytest.param(crl(5), False, id="the-same"),
        pytest.param(crl(4, AT + HOUR), False, id="lower-number-later"),
        pytest.param(crl(1, issuer="bb"), True, id="another-issuer"),
        pytest.param(crl(2**150), True, id="number-of-many-bytes"),
    ],
)
def test_only_a_newer_list_replaces_the_one_on_record(ledger: Ledger, given: RevocationList, kept: bool) -> None:
    ledger.revocations.put_list(crl(5))
    assert ledger.revocations.put_list(given) is kept
    assert (given in ledger.revocations.lists()) is (kept or given == crl(5))
    assert actions(ledger) == ["revocation-list.kept"] * (2 if kept else 1)


def test_a_key_is_revoked_and_restored(ledger: Ledger) -> None:
    first = ledger.revocations.revoke_key("aa", device_id="dev-1", reason="stolen", at=AT)
    assert ledger.revocations.revoke_key("aa", device_id="dev-1", reason="again", at=AT + HOUR) == first
    ledger.revocations.revoke_key("bb", device_id="dev-2", reason="", at=AT + HOUR)
    assert ledger.revocations.revoked(["aa", "cc"]) == {"aa"}
    assert ledger.revocations.revoked([]) == frozenset()
    on_record = ledger.revocations.keys()
    assert [revoked.fingerprint for revoked in on_record] == ["aa", "bb"]
    assert ledger.revocations.restore_key("aa")
    assert not ledger.revocations.restore_key("aa")
    assert ledger.revocations.revoked(["aa"]) == frozenset()
    assert actions(ledger) == ["key.revoked", "key.revoked", "key.restored"]
    assert ledger.audit.entries()[0].detail == {"fingerprint": "aa", "reason": "stolen"}
