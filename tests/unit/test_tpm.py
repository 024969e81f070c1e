"""The attestation check, link by link of its chain of trust."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import IdentityRefused
from edge.lab.ca import Authority
from edge.lab.tpm import SoftTpm, endorsement_certificate
from edge.model.admission import AdmissionPolicy, Challenge, PcrReference, Trust
from edge.model.device import Attestation
from edge.policy.tpm import check_attestation
from edge.policy.tpm_credential import activation_answer, make_credential
from edge.policy.tpm_ek import read_ek

NOW = datetime.now(UTC)
NONCE = "a-nonce-of-a-unit-test"
SECRET, SEED = bytes(range(32)), bytes(range(32, 64))
FIRMWARE = {0: (b"firmware 1.2",), 7: (b"secure boot", b"keys")}


class World(NamedTuple):
    """A maker of TPMs, one of its TPMs after a good boot, and a challenge that was made for it."""

    maker: Authority
    tpm: SoftTpm
    challenge: Challenge
    trust: Trust
    attestation: Attestation


def challenge_for(tpm: SoftTpm, nonce: str = NONCE) -> tuple[Challenge, str]:
    """A challenge with a credential for this TPM, and what the TPM answers."""
    made = make_credential(tpm.ek_certificate, tpm.ak_public, secret=SECRET, seed=SEED)
    challenge = Challenge(
        nonce=nonce,
        device_id="gw-1",
        issued_at=NOW,
        expires_at=NOW + timedelta(minutes=5),
        activation=activation_answer(SECRET, nonce),
        ak_name=made.ak_name,
        ek_fingerprint=made.ek_fingerprint,
    )
    return challenge, activation_answer(tpm.activate(made.id_object, made.secret), nonce)


def trust_in(maker: Authority, *references: PcrReference) -> Trust:
    anchor = maker.certificate.public_bytes(Encoding.PEM).decode()
    return Trust(anchors=(), tpm_anchors=(anchor,), policy=AdmissionPolicy(boot_references=references))


def reference(tpm: SoftTpm, name: str = "good", model: str = "", **changed: str) -> PcrReference:
    """What the TPM says now as a reference; `changed` maps p<index> to another value."""
    values = tpm.attest(NONCE).pcrs["sha256"]
    values |= {index.removeprefix("p"): value for index, value in changed.items()}
    return PcrReference(name=name, model=model, pcrs={"sha256": {index: (value,) for index, value in values.items()}})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    maker = Authority.open(tmp_path_factory.mktemp("maker") / "maker", "Maker of TPMs")
    tpm = SoftTpm.made_by(maker, "0001")
    tpm.boot(FIRMWARE)
    challenge, answer = challenge_for(tpm)
    return World(maker, tpm, challenge, trust_in(maker, reference(tpm)), tpm.attest(NONCE, activation=answer))


def check(world: World, *, model: str = "m", ek_fingerprint: str = "", now: datetime = NOW) -> str:
    return check_attestation(
        world.attestation,
        challenge=world.challenge,
        trust=world.trust,
        model=model,
        ek_fingerprint=ek_fingerprint,
        now=now,
    )


def refusal(world: World, **asked: object) -> tuple[str, str]:
    with pytest.raises(IdentityRefused) as refused:
        check(world, **asked)  # type: ignore[arg-type]  # the keywords of check
    return refused.value.where["reason"], refused.value.what


def attested(world: World, **changed: object) -> World:
    return world._replace(attestation=world.attestation.model_copy(update=changed))


def test_a_good_boot_is_named(world: World) -> None:
    assert check(world) == "good"


def test_a_good_boot_has_no_name_when_the_policy_has_no_references(world: World) -> None:
    assert check(world._replace(trust=trust_in(world.maker))) == ""


def test_the_endorsement_key_that_the_voucher_names_is_let_in(world: World) -> None:
    assert check(world, ek_fingerprint=read_ek(world.tpm.ek_certificate).fingerprint.upper()) == "good"


def test_a_tpm_with_an_rsa_endorsement_key_is_let_in(world: World) -> None:
    tpm = SoftTpm.made_by(world.maker, "0002", with_rsa=True)
    tpm.boot(FIRMWARE)
    challenge, answer = challenge_for(tpm)
    assert check(world._replace(challenge=challenge, attestation=tpm.attest(NONCE, activation=answer))) == "good"


def test_a_device_without_attestation_is_told_apart(world: World) -> None:
    with pytest.raises(IdentityRefused) as refused:
        check_attestation(None, challenge=world.challenge, trust=world.trust, model="", ek_fingerprint="", now=NOW)
    assert refused.value.where["reason"] == "attestation-missing"


def test_a_quote_that_answers_no_challenge_is_refused(world: World) -> None:
    with pytest.raises(IdentityRefused, match="answers no challenge"):
        check_attestation(world.attestation, challenge=None, trust=world.trust, model="", ek_fingerprint="", now=NOW)


UNBOUND: list[tuple[str, Callable[[World], World], str]] = [
    (
        "challenge-without-credential",
        lambda world: world._replace(challenge=world.challenge.model_copy(update={"activation": ""})),
        "held no credential",
    ),
    ("not-activated", lambda world: attested(world, activation=""), "did not recover"),
    ("wrong-answer", lambda world: attested(world, activation="0" * 64), "did not recover"),
    ("another-ak", lambda world: attested(world, ak_public=other(world).ak_public), "attestation key is another"),
    ("another-ek", lambda world: attested(world, ek_certificate=other(world).ek_certificate), "endorsement key is"),
    (
        "quote-for-another-nonce",
        lambda world: attested(world, quote=(told := world.tpm.attest("other")).quote, signature=told.signature),
        "another challenge",
    ),
    (
        "quote-by-another-key",
        lambda world: attested(world, quote=(told := other(world).attest(NONCE)).quote, signature=told.signature),
        "not signed by the attestation key",
    ),
]


def other(world: World) -> SoftTpm:
    """Another TPM of the same maker."""
    return SoftTpm.made_by(world.maker, "0009")


@pytest.mark.parametrize(("change", "what"), [pytest.param(*case[1:], id=case[0]) for case in UNBOUND])
def test_a_quote_that_is_not_bound_to_this_tpm_and_challenge_is_refused(
    world: World, change: Callable[[World], World], what: str
) -> None:
    reason, told = refusal(change(world))
    assert (reason, what in told) == ("attestation-invalid", True), told


def test_a_tpm_of_ones_own_does_not_pass_for_the_one_of_a_stolen_certificate(world: World) -> None:
    mine = SoftTpm.made_by(world.maker, "0666")
    mine.boot(FIRMWARE)
    challenge, answer = challenge_for(mine)
    stolen = mine.attest(NONCE, activation=answer).model_copy(update={"ek_certificate": world.tpm.ek_certificate})
    assert refusal(world._replace(challenge=challenge, attestation=stolen))[0] == "attestation-invalid"


def test_values_that_were_not_quoted_are_refused(world: World) -> None:
    told = world.attestation.pcrs["sha256"]
    lied = attested(world, pcrs={"sha256": {**told, "0": "00" * 32}})
    assert refusal(lied) == ("attestation-invalid", "The PCR values are not the ones that were quoted")
    more = attested(world, pcrs={"sha256": {**told, "14": "00" * 32}})
    assert refusal(more) == ("attestation-invalid", "The PCR values are not those that the quote selects")
    fewer = attested(world, pcrs={"sha256": {index: told[index] for index in ("0", "1")}})
    assert refusal(fewer)[0] == "attestation-invalid"


@pytest.mark.parametrize(
    "pcrs",
    [
        pytest.param({"sha256": {"00": "00" * 32}}, id="index-with-zero"),
        pytest.param({"sha256": {"32": "00" * 32}}, id="index-too-high"),
        pytest.param({"sha256": {"-1": "00" * 32}}, id="index-negative"),
        pytest.param({"sha256": {"²": "00" * 32}}, id="index-not-ascii"),
        pytest.param({"sha256": {"0": "00" * 20}}, id="value-too-short"),
        pytest.param({"sha256": {"0": "zz" * 32}}, id="value-not-hex"),
        pytest.param({"sha256": {"0": " 00" * 32}}, id="value-with-spaces"),
        pytest.param({"md5": {"0": "00" * 16}}, id="bank"),
    ],
)
def test_malformed_pcr_values_are_refused(world: World, pcrs: dict[str, dict[str, str]]) -> None:
    assert refusal(attested(world, pcrs=pcrs))[0] == "attestation-invalid"


def test_a_tpm_of_a_maker_who_is_not_trusted_is_refused(world: World, tmp_path: object) -> None:
    assert refusal(world._replace(trust=Trust(anchors=())))[1] == "No maker of TPMs is trusted"
    stranger = Authority.open(tmp_path / "stranger", "Maker of TPMs")  # type: ignore[operator]  # a path
    assert refusal(world._replace(trust=trust_in(stranger)))[0] == "tpm-untrusted"


def test_an_endorsement_certificate_out_of_date_is_refused(world: World) -> None:
    assert refusal(world, now=NOW + timedelta(days=9000))[0] == "tpm-untrusted"


def test_another_endorsement_key_than_the_vouchers_is_refused(world: World) -> None:
    reason, what = refusal(world, ek_fingerprint="ab" * 32)
    assert (reason, "voucher" in what) == ("tpm-untrusted", True)


def test_the_makers_own_certificate_is_no_endorsement_certificate(world: World) -> None:
    own = world.maker.certificate.public_bytes(Encoding.PEM).decode()
    assert refusal(attested(world, ek_certificate=own)) == (
        "tpm-untrusted",
        "The endorsement certificate is a certificate authority's own",
    )


def test_a_certificate_for_another_purpose_is_no_endorsement_certificate(world: World, tmp_path: object) -> None:
    world.maker.device(tmp_path, "gw-1", "SN-1")  # type: ignore[arg-type]  # a path
    device = (tmp_path / "gw-1.crt").read_text()  # type: ignore[operator]  # a path
    assert refusal(attested(world, ek_certificate=device)) == (
        "tpm-untrusted",
        "The certificate is not meant for an endorsement key",
    )


def test_an_endorsement_key_on_an_unknown_curve_is_refused(world: World) -> None:
    odd = endorsement_certificate(world.maker, ec.generate_private_key(ec.SECP521R1()).public_key(), "1")
    reason, what = refusal(attested(world, ek_certificate=odd))
    assert (reason, what.startswith("The endorsement key is secp521r1")) == ("attestation-invalid", True)


def test_another_boot_is_told_apart_from_the_nearest_reference(world: World) -> None:
    far = reference(world.tpm, "far", p0="00" * 32, p1="11" * 32)
    near = reference(world.tpm, "near", p7="22" * 32)
    reason, what = refusal(world._replace(trust=trust_in(world.maker, far, near)))
    value = world.attestation.pcrs["sha256"]["7"][:8]
    assert reason == "pcr-mismatch"
    assert what == f"Nearest is the reference set 'near', but PCR 7 of sha256 is {value}, known 22222222"


def test_a_reference_may_allow_several_values_in_any_case(world: World) -> None:
    value = world.attestation.pcrs["sha256"]["0"].upper()
    some = PcrReference(name="some", pcrs={"sha256": {"0": ("11" * 32, f"0x{value}".replace("0X", "0x"))}})
    assert check(world._replace(trust=trust_in(world.maker, some))) == "some"


def test_a_pcr_of_the_reference_that_was_not_quoted_is_a_mismatch(world: World) -> None:
    fuller = reference(world.tpm, "fuller", p14="00" * 32)
    reason, what = refusal(world._replace(trust=trust_in(world.maker, fuller)))
    assert (reason, what.endswith("PCR 14 of sha256 was not quoted")) == ("pcr-mismatch", True)


def test_a_reference_that_names_no_pcr_fits_nothing(world: World) -> None:
    empty = PcrReference(name="empty", pcrs={"sha256": {}})
    reason, what = refusal(world._replace(trust=trust_in(world.maker, empty)))
    assert (reason, what) == ("pcr-mismatch", "Nearest is the reference set 'empty', but it names no PCR")


def test_a_quote_that_covers_nothing_is_refused(world: World) -> None:
    nothing = world.tpm.attest(NONCE, activation=world.challenge.activation, pcrs=())
    assert refusal(world._replace(attestation=nothing)) == ("attestation-invalid", "The quote covers no PCR")


def test_references_of_other_models_do_not_count(world: World) -> None:
    strange = world._replace(trust=trust_in(world.maker, reference(world.tpm, "theirs", "other")))
    assert refusal(strange) == ("pcr-mismatch", "No reference set is for the model 'm'")
    assert check(strange, model="other") == "theirs"


FIELDS = ("ek_certificate", "ak_public", "quote", "signature")


# The library warns of a serial number that is not positive.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(field=st.sampled_from(FIELDS), data=st.data())
def test_whatever_is_changed_in_an_attestation_is_refused_with_a_reason(
    world: World, field: str, data: st.DataObject
) -> None:
    """A byte changed, or the end cut off: nothing but a refusal comes of it."""
    text = getattr(world.attestation, field)
    content = bytearray(text.encode() if field == "ek_certificate" else base64.b64decode(text))
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    changed = content.decode("latin-1") if field == "ek_certificate" else base64.b64encode(content).decode()
    if field == "ek_certificate" and _reads_the_same(changed, text):
        return
    assert refusal(attested(world, **{field: changed}))[0] in {"attestation-invalid", "tpm-untrusted"}


def _reads_the_same(changed: str, text: str) -> bool:
    """Text outside of the PEM block, and its last line break, mean nothing."""
    try:
        return read_ek(changed).leaf == read_ek(text).leaf
    except IdentityRefused:
        return False
