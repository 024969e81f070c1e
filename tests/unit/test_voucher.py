"""Whose word on the owner of a device is believed."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import IdentityRefused, InvalidInput
from edge.model.admission import Ownership, OwnershipKind
from edge.model.identity import Refusal
from edge.policy.voucher import MEMBER, Voucher, issue_voucher, read_voucher, verified_voucher
from tests.pki import NOW, Maker, key_usage, name, new_key

ROOT = Maker("Voucher service", path_length=2)
STRANGER = Maker("Somebody Else")
KEY = new_key()
RSA_KEY = rsa.generate_private_key(65537, 2048)
SIGNER = ROOT.certify(name("Signer 1"), key_usage(sign=True), key=KEY)
RSA_SIGNER = ROOT.certify(name("Signer 2"), key=RSA_KEY)
CONTENT = Voucher(created_on=NOW, expires_on=NOW + timedelta(days=30), serial_number="SN-1", tenant="plant-a")
CLAIMS = {"created-on": "2026-05-04T12:00:00Z", "serial-number": "SN-1", "edge-platform:tenant": "plant-a"}
GOOD = issue_voucher(CONTENT, KEY, [SIGNER])


def x5c(*certificates: x509.Certificate) -> list[str]:
    return [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in certificates]


def part(content: Any) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(payload: Any, *, key: Any = KEY, algorithm: str = "ES256", **header: Any) -> str:
    """A JWS by a signer that is trusted, whatever it holds."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    headers = {"x5c": x5c(SIGNER), **header}
    return jwt.PyJWS().encode(raw, key, algorithm=algorithm, headers=headers)


def by(subject: x509.Name, *extensions: x509.ExtensionType, key: Any = KEY, days: int = 365) -> str:
    """A voucher whose signer's certificate is as told."""
    return issue_voucher(CONTENT, key, [ROOT.certify(subject, *extensions, key=key, days=days)])


def with_parts(text: str, **changed: str) -> str:
    header, payload, signature = text.split(".")
    parts = {"header": header, "payload": payload, "signature": signature} | changed
    return ".".join(parts.values())


def read(text: str, now: datetime = NOW, anchors: Sequence[str] = (ROOT.pem,)) -> Ownership:
    return read_voucher(text, anchors=anchors, now=now)


def refusal(text: str, now: datetime = NOW) -> str:
    with pytest.raises(IdentityRefused) as refused:
        read(text, now)
    assert refused.value.remedy
    return refused.value.where["reason"]


def test_a_voucher_says_whose_a_serial_number_is() -> None:
    found = read(issue_voucher(CONTENT.model_copy(update={"endorsement_key": "ab" * 32}), KEY, [SIGNER]))
    assert found == Ownership(
        ownership_id=found.ownership_id,
        serial="SN-1",
        tenant="plant-a",
        kind=OwnershipKind.VOUCHER,
        issuer="CN=Signer 1",
        created_at=NOW,
        expires_at=NOW + timedelta(days=30),
        ek_fingerprint="ab" * 32,
    )


def test_a_trusted_authority_may_sign_itself() -> None:
    assert read(issue_voucher(CONTENT, ROOT.key, [ROOT.certificate])).tenant == "plant-a"


def test_a_signer_may_stand_under_an_authority_in_between() -> None:
    middle, key = Maker("Sales", ROOT), new_key()
    signer = middle.certify(name("Signer 3"), key=key)
    assert read(issue_voucher(CONTENT, key, [signer, middle.certificate])).tenant == "plant-a"
    assert refusal(issue_voucher(CONTENT, key, [signer])) == Refusal.VOUCHER_INVALID


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(ec.generate_private_key(ec.SECP384R1()), id="p-384"),
        pytest.param(ec.generate_private_key(ec.SECP521R1()), id="p-521"),
        pytest.param(ed25519.Ed25519PrivateKey.generate(), id="ed25519"),
        pytest.param(RSA_KEY, id="rsa"),
    ],
)
def test_strong_keys_of_every_kind_sign(key: Any) -> None:
    assert read(by(name("Signer"), key=key)).serial == "SN-1"


def test_other_members_of_the_standard_decide_nothing() -> None:
    more = {"assertion": "verified", "idevid-issuer": "AAAA", "domain-cert-revocation-checks": False}
    found = read(signed({MEMBER: {**CLAIMS, **more}}))
    assert (found.tenant, found.expires_at) == ("plant-a", None)


def test_the_same_content_signed_twice_is_the_same_voucher() -> None:
    again = issue_voucher(CONTENT, KEY, [SIGNER])
    assert again != GOOD
    assert read(again).ownership_id == read(GOOD).ownership_id
    other = issue_voucher(CONTENT.model_copy(update={"nonce": "other"}), KEY, [SIGNER])
    assert read(other).ownership_id != read(GOOD).ownership_id


def test_a_voucher_is_good_until_it_expires() -> None:
    assert read(GOOD, NOW + timedelta(days=29)).tenant == "plant-a"
    assert refusal(GOOD, NOW + timedelta(days=30)) == Refusal.VOUCHER_EXPIRED
    late = verified_voucher(GOOD, anchors=[ROOT.pem], now=NOW + timedelta(days=31))
    assert late == read(GOOD)


OTHER = issue_voucher(CONTENT.model_copy(update={"tenant": "plant-b"}), KEY, [SIGNER])
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
HEADER = {"alg": "ES256", "x5c": x5c(SIGNER)}


def hs256_with_the_public_key() -> str:
    """As an attacker makes it: the public key in PEM taken for a shared secret."""
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    text = f"{part({**HEADER, 'alg': 'HS256'})}.{part({MEMBER: CLAIMS})}"
    return f"{text}.{part(algorithm.sign(text.encode(), PUBLIC))}"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(with_parts(GOOD, payload=OTHER.split(".")[1]), id="payload-of-another"),
        pytest.param(with_parts(GOOD, signature=OTHER.split(".")[2]), id="signature-of-another"),
        pytest.param(with_parts(GOOD, signature=""), id="no-signature"),
        pytest.param(with_parts(GOOD, header=part({**HEADER, "x5c": x5c(RSA_SIGNER)})), id="another's-certificate"),
        pytest.param(with_parts(GOOD, header=part({**HEADER, "typ": "JWT"})), id="header-changed"),
        pytest.param(GOOD[:-1] + ("A" if GOOD[-1] != "A" else "Q"), id="last-character-changed"),
        pytest.param(with_parts(GOOD, header=part({**HEADER, "alg": "none"}), signature=""), id="alg-none"),
        pytest.param(hs256_with_the_public_key(), id="hs256-with-the-public-key"),
        pytest.param(signed({MEMBER: CLAIMS}, key=RSA_KEY, algorithm="RS256"), id="rs256-under-an-ec-certificate"),
        pytest.param(signed({MEMBER: CLAIMS}, x5c=x5c(RSA_SIGNER)), id="es256-under-an-rsa-certificate"),
        pytest.param(
            signed({MEMBER: CLAIMS}, key=RSA_KEY, algorithm="RS512", x5c=x5c(RSA_SIGNER)), id="an-algorithm-not-taken"
        ),
        pytest.param(signed({MEMBER: CLAIMS}, key=new_key()), id="signed-by-another-key"),
    ],
)
def test_what_was_tampered_with_is_refused(text: str) -> None:
    assert refusal(text) == Refusal.VOUCHER_INVALID


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"x5c": None}, id="none"),
        pytest.param({"x5c": []}, id="empty"),
        pytest.param({"x5c": x5c(SIGNER)[0]}, id="no-list"),
        pytest.param({"x5c": x5c(*[SIGNER] * 5)}, id="too-long"),
        pytest.param({"x5c": ["!!"]}, id="no-base64"),
        pytest.param({"x5c": [base64.b64encode(b"no certificate").decode()]}, id="no-certificate"),
        pytest.param({"x5c": [7]}, id="a-number"),
    ],
)
def test_a_voucher_must_carry_its_signers_certificates(header: dict[str, Any]) -> None:
    assert refusal(signed({MEMBER: CLAIMS}, **header)) == Refusal.VOUCHER_INVALID


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"no json", id="no-json"),
        pytest.param(b"[" * 20000, id="deep"),
        pytest.param([MEMBER], id="a-list"),
        pytest.param({}, id="empty"),
        pytest.param({MEMBER: None}, id="nothing"),
        *(
            pytest.param(
                {MEMBER: {name: value for name, value in CLAIMS.items() if name != lost}}, id=f"without-{lost}"
            )
            for lost in CLAIMS
        ),
        pytest.param({MEMBER: {**CLAIMS, "edge-platform:tenant": "Plant A"}}, id="tenant-of-a-bad-form"),
        pytest.param({MEMBER: {**CLAIMS, "edge-platform:tenant": "../x"}}, id="tenant-as-a-path"),
        pytest.param({MEMBER: {**CLAIMS, "serial-number": ""}}, id="no-serial-number"),
        pytest.param({MEMBER: {**CLAIMS, "serial-number": "x" * 129}}, id="long-serial-number"),
        pytest.param({MEMBER: {**CLAIMS, "created-on": "2026-05-04T12:00:00"}}, id="time-without-a-zone"),
        pytest.param({MEMBER: {**CLAIMS, "edge-platform:endorsement-key": "xyz"}}, id="endorsement-key-of-a-bad-form"),
    ],
)
def test_a_signed_voucher_of_another_form_is_refused(payload: Any) -> None:
    assert refusal(signed(payload)) == Refusal.VOUCHER_INVALID


STRANGERS = new_key()


@pytest.mark.parametrize(
    ("text", "now"),
    [
        pytest.param(
            issue_voucher(CONTENT, STRANGERS, [STRANGER.certify(name("Signer"), key=STRANGERS)]), NOW, id="a-stranger"
        ),
        pytest.param(
            issue_voucher(CONTENT, STRANGER.key, [STRANGER.certificate]), NOW, id="a-stranger-who-trusts-itself"
        ),
        pytest.param(by(name("Signer"), days=1), NOW + timedelta(days=2), id="its-certificate-expired"),
        pytest.param(by(name("Signer"), days=1), NOW - timedelta(days=2), id="its-certificate-not-yet-valid"),
        pytest.param(by(name("Signer"), key_usage(agree=True)), NOW, id="may-not-sign"),
        pytest.param(by(name("dev-1"), x509.ExtendedKeyUsage([Usage.CLIENT_AUTH])), NOW, id="a-client"),
        pytest.param(by(name("dev-1", "SN-1")), NOW, id="a-device-as-in-802.1AR"),
    ],
)
def test_a_signer_that_may_not_is_refused(text: str, now: datetime) -> None:
    assert refusal(text, now) == Refusal.VOUCHER_INVALID


def test_an_organisation_with_a_register_number_may_sign() -> None:
    text = by(name("Gateways Ltd", "HRB 4711"), x509.ExtendedKeyUsage([Usage.CODE_SIGNING]))
    assert read(text).tenant == "plant-a"


def test_a_trusted_signer_whose_certificate_expired_is_refused() -> None:
    old = Maker("Old voucher service", days=10)
    text = issue_voucher(CONTENT, old.key, [old.certificate])
    assert read(text, anchors=[old.pem]).tenant == "plant-a"
    with pytest.raises(IdentityRefused, match="expired"):
        read(text, NOW + timedelta(days=11), anchors=[old.pem])


def test_a_trusted_signer_that_may_only_certify_is_refused() -> None:
    offline = Maker("Offline root", usage=key_usage(certify=True))
    with pytest.raises(IdentityRefused, match="does not allow signatures"):
        read(issue_voucher(CONTENT, offline.key, [offline.certificate]), anchors=[offline.pem])


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(ec.generate_private_key(ec.SECP256K1()), id="curve-of-another-trade"),
        pytest.param(rsa.generate_private_key(65537, 1024), id="rsa-1024"),
        pytest.param(dsa.generate_private_key(1024), id="dsa"),
    ],
)
def test_weak_and_unknown_keys_neither_sign_nor_are_believed(key: Any) -> None:
    signer = ROOT.certify(name("Signer"), key=key)
    with pytest.raises(InvalidInput, match="signs no vouchers"):
        issue_voucher(CONTENT, key, [signer])
    assert refusal(signed({MEMBER: CLAIMS}, x5c=x5c(signer))) == Refusal.VOUCHER_INVALID


def test_nobody_is_believed_when_nobody_is_trusted() -> None:
    with pytest.raises(IdentityRefused, match="No issuer is trusted"):
        read(GOOD, anchors=[])


def test_anchors_that_cannot_be_read_are_an_input_error() -> None:
    with pytest.raises(InvalidInput):
        read(GOOD, anchors=["garbage"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["alg", "x5c", "b64", "crit"]), inner),
    max_leaves=6,
)


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    for whole in (text, f"{text}.{text}.{text}", with_parts(GOOD, payload=text), with_parts(GOOD, signature=text)):
        with pytest.raises(IdentityRefused):
            read(whole)


@given(JSON, JSON)
def test_no_header_and_no_content_break_the_reader(header: Any, content: Any) -> None:
    for whole in (f"{part(header)}.{part(content)}.AAAA", signed(content), signed({MEMBER: content})):
        with pytest.raises(IdentityRefused):
            read(whole)


def test_a_header_that_is_nested_too_deep_is_refused() -> None:
    assert refusal(f"{part(b'[' * 40000)}.{part({})}.AAAA") == Refusal.VOUCHER_INVALID
