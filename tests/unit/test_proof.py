"""What a device signs, and whose signature over it holds."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import InvalidInput
from edge.model.device import Proof, Registration
from edge.policy.identity import key_fingerprint
from edge.policy.proof import claim_key, registration_digest, sign, signed_bytes, vouched
from tests.pki import Maker, name, new_key, pem

NONCE = "a-nonce-of-the-platform"
MAKER = Maker("Good Gateways")
KEY, P384, P521 = new_key(), ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP521R1())
RSA_KEY, ED_KEY = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()

BY_OPENSSL = """\
-----BEGIN CERTIFICATE-----
MIIBkTCCATmgAwIBAgIUOfRCS54GaVQ68Ify8SmbdxNxLBUwCgYIKoZIzj0EAwIw
HjENMAsGA1UEAwwEZ3ctMTENMAsGA1UEBRMEU04tMTAgFw0yNjExMjQxNTUzNDRa
GA8yMTI2MTAzMTE1NTM0NFowHjENMAsGA1UEAwwEZ3ctMTENMAsGA1UEBRMEU04t
MTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABAGleAdapD7JOeLvQXuHYJNrNpwS
lE29Oeh1axvgRF4DN2TWjVc2K3GJNH4Z3k39S7x3APO0IlqKLoSZrpsNTbSjUzBR
MB0GA1UdDgQWBBTEqAbNphmBpSFFVX8V8RMVyMlD1zAfBgNVHSMEGDAWgBTEqAbN
phmBpSFFVX8V8RMVyMlD1zAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0YA
MEMCIHECNG5B93XEnd8BZUonq2Lh3+cjOC96oO1LI8qrXYnxAh8Ywk+TNKJuV3wP
b4wXfrglVbdxm1SJYhG5eb17m48g
-----END CERTIFICATE-----
"""
DIGEST_BY_JQ = "61f5667357bb7d246f5388a08c78911be84521a1dd2ab0bf53ae7c9f67dd2a5a"
SIGNATURE_BY_OPENSSL = (
    "MEUCIF+3WRk4jpyf6lNvzJvMGICzKJNjXeEnCucowjuGmWvnAiEAqSV/lspJHCfZQJLhm8vffqgydnq1zfPc8G0o7Vs4opI="
)
"""Made with `jq -cSj . | openssl dgst -sha256` and `openssl dgst -sha256 -sign`, as in docs/gateway.md."""


def registration(key: Any = KEY, **facts: Any) -> Registration:
    certificate = pem(MAKER.certify(name("gw-1"), key=key))
    sent = {"device_id": "gw-1", "certificate": certificate, "facts": {"serial": "SN-1", **facts}}
    return Registration.model_validate(sent)


def holds(made: Registration, proof: Proof, nonce: str = NONCE) -> bool:
    return vouched(made.certificate, made, proof, nonce)


def proof_of(signature: bytes, algorithm: str = "ES256") -> Proof:
    sent = {"nonce": NONCE, "algorithm": algorithm, "signature": base64.b64encode(signature).decode()}
    return Proof.model_validate(sent)


def test_what_is_signed_is_what_jq_and_openssl_make() -> None:
    facts = {"serial": "SN-1", "model": "Größe „7“ €", "hardware": {"ram": "8 GiB", "cpu": '4\t\\"x/'}}
    made = Registration.model_validate({"device_id": "gw-1", "certificate": BY_OPENSSL, "facts": facts})
    assert registration_digest(made) == DIGEST_BY_JQ
    assert signed_bytes(made, NONCE) == f"edge-platform registration v1\n{NONCE}\n{DIGEST_BY_JQ}".encode()
    proof = proof_of(base64.b64decode(SIGNATURE_BY_OPENSSL))
    assert claim_key(made.model_copy(update={"proof": proof})) == key_fingerprint(made)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        pytest.param(KEY, "ES256", id="p-256"),
        pytest.param(P384, "ES384", id="p-384"),
        pytest.param(P521, "ES512", id="p-521"),
        pytest.param(ED_KEY, "EdDSA", id="ed25519"),
        pytest.param(RSA_KEY, "RS256", id="rsa"),
    ],
)
def test_each_kind_of_key_proves_itself_with_its_algorithm_only(key: Any, algorithm: str) -> None:
    made = registration(key)
    proof = sign(key, made, NONCE)
    assert proof.algorithm == algorithm
    assert holds(made, proof)
    others = {"ES256", "ES384", "ES512", "EdDSA", "RS256", "PS256"} - {algorithm}
    assert not any(holds(made, proof.model_copy(update={"algorithm": other})) for other in others)


def test_an_rsa_key_may_sign_with_pss() -> None:
    made = registration(RSA_KEY)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    signature = RSA_KEY.sign(signed_bytes(made, NONCE), pss, hashes.SHA256())
    assert holds(made, proof_of(signature, "PS256"))
    assert not holds(made, proof_of(signature, "RS256"))


def test_the_curve_must_be_the_algorithms() -> None:
    made = registration(P384)
    signature = P384.sign(signed_bytes(made, NONCE), ec.ECDSA(hashes.SHA256()))
    assert not holds(made, proof_of(signature, "ES256"))


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(ec.generate_private_key(ec.SECP256K1()), id="curve-of-another-trade"),
        pytest.param(dsa.generate_private_key(1024), id="dsa"),
    ],
)
def test_keys_of_other_kinds_sign_nothing(key: Any) -> None:
    with pytest.raises(InvalidInput, match="proves nothing"):
        sign(key, registration(), NONCE)


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param({"serial": "SN-2"}, id="serial"),
        pytest.param({"location": "here"}, id="one-more"),
        pytest.param({"position": {"latitude": 1, "longitude": 2}}, id="position"),
        pytest.param({"hardware": {"ram": "9"}}, id="hardware"),
    ],
)
def test_a_signature_holds_for_no_other_facts(facts: dict[str, Any]) -> None:
    made = registration()
    proof = sign(KEY, made, NONCE)
    changed = Registration.model_validate(
        {"device_id": "gw-1", "certificate": made.certificate, "facts": {"serial": "SN-1", **facts}}
    )
    assert holds(made, proof)
    assert not holds(changed, proof)


def test_a_signature_holds_for_no_other_nonce_device_voucher_or_key() -> None:
    made = registration()
    proof = sign(KEY, made, NONCE)
    assert not holds(made, proof, "another-nonce-of-the-platform")
    assert not holds(made.model_copy(update={"device_id": "gw-2"}), proof)
    assert not holds(Registration.model_validate({**made.model_dump(exclude_unset=True), "voucher": "x"}), proof)
    assert not vouched(registration(new_key()).certificate, made, proof, NONCE)


@pytest.mark.parametrize("signature", ["", "!!", "AAAA", "ä", "A" * 4096])
def test_what_is_no_signature_does_not_hold(signature: str) -> None:
    made = registration()
    assert not holds(made, Proof(nonce=NONCE, algorithm="ES256", signature=signature))


def test_a_claim_is_known_by_how_far_it_is_proven() -> None:
    made = registration()
    fingerprint = key_fingerprint(made)
    proven = made.model_copy(update={"proof": sign(KEY, made, NONCE)})
    by_another = made.model_copy(update={"proof": sign(new_key(), made, NONCE)})
    assert claim_key(made) == claim_key(by_another) == f"unproven:{fingerprint}"
    assert claim_key(proven) == fingerprint
    garbage = made.model_copy(update={"certificate": "garbage"})
    assert claim_key(garbage) == f"unreadable:{hashlib.sha256(b'garbage').hexdigest()}"


def test_the_proof_itself_is_not_signed() -> None:
    made = registration()
    assert registration_digest(made.model_copy(update={"proof": sign(KEY, made, NONCE)})) == registration_digest(made)


@pytest.mark.parametrize(
    ("latitude", "canonical"),
    [
        pytest.param(52.0, b"52", id="whole"),
        pytest.param(52, b"52", id="an-integer"),
        pytest.param(-0.0, b"0", id="minus-zero"),
        pytest.param(0.1, b"0.1", id="a-tenth"),
        pytest.param(1e-7, b"1e-7", id="tiny"),
        pytest.param(47.37690000000001, b"47.37690000000001", id="many-places"),
    ],
)
def test_numbers_are_signed_as_the_standard_writes_them(latitude: float, canonical: bytes) -> None:
    made = registration(position={"latitude": latitude, "longitude": 8.5})
    text = made.certificate.replace("\n", "\\n").encode()
    facts = b'"facts":{"position":{"latitude":' + canonical + b',"longitude":8.5},"serial":"SN-1"}'
    whole = b'{"certificate":"' + text + b'","device_id":"gw-1",' + facts + b"}"
    assert registration_digest(made) == hashlib.sha256(whole).hexdigest()


def test_only_what_was_sent_is_signed_defaults_included() -> None:
    short, full = registration(), registration(model="", architecture="amd64", hardware={})
    full = full.model_copy(update={"certificate": short.certificate})
    assert short.facts == full.facts
    assert registration_digest(short) != registration_digest(full)
    assert holds(full, sign(KEY, full, NONCE))
    assert holds(short, sign(KEY, short, NONCE))


@given(st.text(max_size=40), st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4))
def test_a_registration_kept_as_json_has_the_same_digest(model: str, hardware: dict[str, str]) -> None:
    certificate = pem(MAKER.certificate)
    facts = {"serial": "SN-1", "model": model, "hardware": hardware}
    made = Registration.model_validate({"device_id": "gw-1", "certificate": certificate, "facts": facts})
    kept = Registration.model_validate_json(made.model_dump_json(exclude_unset=True))
    assert registration_digest(kept) == registration_digest(made)
