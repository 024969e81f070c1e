"""Whose certificate is believed, and with which word the others are refused."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from edge.errors import IdentityRefused, InvalidInput
from edge.model.device import DeviceFacts, Registration
from edge.model.identity import DeviceIdentity, Refusal
from edge.policy.identity import check_identity, key_fingerprint, prove_identity, refuse_contested
from tests.pki import NOW, Maker, builder, key_usage, name, new_key, pem

DEVICE = "dev-0001"


def device(maker: Maker, common_name: str = DEVICE, *extensions: x509.ExtensionType, key: Any = None) -> str:
    """A device's certificate in PEM."""
    return pem(maker.certify(name(common_name), *extensions, key=key))


def registration(certificate: str, device_id: str = DEVICE, serial: str = "SN-1") -> Registration:
    return Registration(device_id=device_id, certificate=certificate, facts=DeviceFacts(serial=serial))


def refusal(certificate: str, trusted: str, *, device_id: str = DEVICE, now: datetime = NOW) -> str:
    with pytest.raises(IdentityRefused) as caught:
        check_identity(registration(certificate, device_id), trusted=[trusted], now=now)
    assert caught.value.where["device"] == device_id
    return caught.value.where["reason"]


@pytest.fixture(scope="module")
def maker() -> Maker:
    return Maker("Good Gateways")


def test_a_device_of_a_trusted_manufacturer_is_who_its_certificate_says(maker: Maker) -> None:
    key = new_key()
    certificate = maker.certify(
        name(DEVICE, "SN-1"), x509.ExtendedKeyUsage([Usage.CLIENT_AUTH]), key_usage(sign=True), key=key
    )
    proven = prove_identity(registration(pem(certificate)), trusted=[maker.pem], now=NOW)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert proven.chain == (certificate, maker.certificate)
    assert proven.identity == DeviceIdentity(
        device_id=DEVICE,
        subject=certificate.subject.rfc4514_string(),
        issuer="CN=Good Gateways",
        serial=f"{certificate.serial_number:x}",
        device_serial="SN-1",
        fingerprint=hashlib.sha256(public).hexdigest(),
        not_after=NOW + timedelta(days=365),
    )


@pytest.mark.parametrize(
    ("common_name", "extensions"),
    [
        pytest.param(DEVICE, [], id="no-extensions-as-in-802.1AR"),
        pytest.param("Gateway 5000", [x509.SubjectAlternativeName([x509.DNSName(DEVICE)])], id="name-in-dns-name"),
        pytest.param(DEVICE, [x509.ExtendedKeyUsage([Usage.SERVER_AUTH, Usage.CLIENT_AUTH])], id="both-usages"),
        pytest.param(DEVICE, [x509.ExtendedKeyUsage([Usage.ANY_EXTENDED_KEY_USAGE])], id="any-usage"),
        pytest.param(DEVICE, [x509.BasicConstraints(ca=False, path_length=None)], id="says-it-is-no-ca"),
    ],
)
def test_device_certificates_of_several_styles_are_taken(
    maker: Maker, common_name: str, extensions: list[x509.ExtensionType]
) -> None:
    made = registration(device(maker, common_name, *extensions))
    assert check_identity(made, trusted=[maker.pem], now=NOW).device_id == DEVICE


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(rsa.generate_private_key(65537, 2048), id="rsa-2048"),
        pytest.param(ec.generate_private_key(ec.SECP384R1()), id="p-384"),
        pytest.param(ed25519.Ed25519PrivateKey.generate(), id="ed25519"),
    ],
)
def test_strong_keys_are_taken(maker: Maker, key: Any) -> None:
    made = registration(device(maker, key=key))
    assert check_identity(made, trusted=[maker.pem], now=NOW).device_id == DEVICE


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(rsa.generate_private_key(65537, 1024), id="rsa-1024"),
        pytest.param(ec.generate_private_key(ec.SECP256K1()), id="curve-of-another-trade"),
        pytest.param(dsa.generate_private_key(1024), id="dsa"),
    ],
)
def test_weak_keys_are_refused(maker: Maker, key: Any) -> None:
    assert refusal(device(maker, key=key), maker.pem) == Refusal.WEAK_KEY


@pytest.mark.parametrize(
    ("days", "reason"),
    [pytest.param(366, Refusal.EXPIRED, id="expired"), pytest.param(-2, Refusal.NOT_YET_VALID, id="not-yet-valid")],
)
def test_a_certificate_outside_its_dates_is_refused(maker: Maker, days: int, reason: Refusal) -> None:
    assert refusal(device(maker), maker.pem, now=NOW + timedelta(days=days)) == reason


@pytest.mark.parametrize(
    "extensions",
    [
        pytest.param([x509.ExtendedKeyUsage([Usage.SERVER_AUTH])], id="a-server's"),
        pytest.param([key_usage(agree=True)], id="cannot-sign"),
        pytest.param([x509.BasicConstraints(ca=True, path_length=0)], id="an-authority's"),
    ],
)
def test_a_certificate_for_another_use_is_refused(maker: Maker, extensions: list[x509.ExtensionType]) -> None:
    assert refusal(device(maker, DEVICE, *extensions), maker.pem) == Refusal.WRONG_USAGE


def test_the_manufacturers_own_certificate_is_no_device(maker: Maker) -> None:
    assert refusal(maker.pem, maker.pem, device_id="Good-Gateways") == Refusal.WRONG_USAGE


def test_a_certificate_of_a_foreign_manufacturer_is_refused(maker: Maker) -> None:
    stranger = Maker("Somebody Else")
    assert refusal(device(stranger), maker.pem) == Refusal.UNKNOWN_ISSUER
    plant = Maker("Plant 7", stranger)
    assert refusal(device(plant) + plant.pem, maker.pem) == Refusal.UNKNOWN_ISSUER
    assert refusal(device(stranger) + stranger.pem, maker.pem) == Refusal.UNKNOWN_ISSUER


def test_a_certificate_that_signed_itself_is_refused(maker: Maker) -> None:
    key = new_key()
    certificate = builder(name(DEVICE), name(DEVICE), key, days=365).sign(key, hashes.SHA256())
    assert refusal(pem(certificate), maker.pem) == Refusal.UNKNOWN_ISSUER


def test_an_issuer_that_only_borrows_the_name_is_refused(maker: Maker) -> None:
    assert refusal(device(Maker("Good Gateways")), maker.pem) == Refusal.BAD_CHAIN


def test_nobody_is_let_in_when_nobody_is_trusted(maker: Maker) -> None:
    with pytest.raises(IdentityRefused, match="No issuer is trusted") as refused:
        check_identity(registration(device(maker)), trusted=[], now=NOW)
    assert refused.value.where["reason"] == Refusal.UNKNOWN_ISSUER


@pytest.mark.parametrize(
    ("common_name", "device_id"),
    [
        pytest.param("dev-0002", DEVICE, id="another-device"),
        pytest.param("dev-00010", DEVICE, id="longer-name"),
        pytest.param("*", DEVICE, id="wildcard"),
        pytest.param(DEVICE, "DEV-0001", id="other-case"),
    ],
)
def test_a_good_certificate_of_another_device_is_refused(maker: Maker, common_name: str, device_id: str) -> None:
    assert refusal(device(maker, common_name), maker.pem, device_id=device_id) == Refusal.WRONG_NAME


def test_the_serial_number_must_be_the_certificates_where_that_names_one(maker: Maker) -> None:
    certificate = pem(maker.certify(name(DEVICE, "SN-2")))
    with pytest.raises(IdentityRefused, match=r"'SN-1'.*'SN-2'") as refused:
        check_identity(registration(certificate, serial="SN-1"), trusted=[maker.pem], now=NOW)
    assert refused.value.where["reason"] == Refusal.WRONG_SERIAL
    found = check_identity(registration(certificate, serial="SN-2"), trusted=[maker.pem], now=NOW)
    assert found.device_serial == "SN-2"


def test_without_a_serial_number_in_the_certificate_none_is_proven(maker: Maker) -> None:
    assert check_identity(registration(device(maker)), trusted=[maker.pem], now=NOW).device_serial == ""


def test_a_chain_through_an_intermediate_holds_only_with_the_intermediate(maker: Maker) -> None:
    plant = Maker("Plant 7", maker, path_length=0)
    certificate = device(plant)
    whole = registration(certificate + plant.pem)
    assert check_identity(whole, trusted=[maker.pem], now=NOW).issuer == "CN=Plant 7"
    assert refusal(certificate, maker.pem) == Refusal.UNKNOWN_ISSUER


@pytest.mark.parametrize(
    "usage",
    [
        pytest.param(key_usage(certify=True), id="certifies"),
        pytest.param(key_usage(certify=True, sign=True), id="certifies-and-signs"),
    ],
)
def test_an_authority_in_between_may_certify_when_its_usage_says_so(maker: Maker, usage: x509.KeyUsage) -> None:
    plant = Maker("Plant 7", maker, usage=usage)
    made = registration(device(plant) + plant.pem)
    assert check_identity(made, trusted=[maker.pem], now=NOW).device_id == DEVICE


@pytest.mark.parametrize(
    "usage", [pytest.param(key_usage(sign=True), id="signs-only"), pytest.param(None, id="says-nothing")]
)
def test_an_authority_in_between_that_may_not_certify_is_refused(maker: Maker, usage: x509.KeyUsage | None) -> None:
    plant = Maker("Plant 7", maker, usage=usage)
    assert refusal(device(plant) + plant.pem, maker.pem) == Refusal.BAD_CHAIN


def test_an_authority_in_between_that_has_expired_is_refused(maker: Maker) -> None:
    plant = Maker("Plant 7", maker, days=30)
    whole = device(plant) + plant.pem
    assert check_identity(registration(whole), trusted=[maker.pem], now=NOW).device_id == DEVICE
    assert refusal(whole, maker.pem, now=NOW + timedelta(days=31)) == Refusal.BAD_CHAIN


def test_a_trusted_authority_that_has_expired_is_refused() -> None:
    old = Maker("Old Gateways", days=30)
    assert refusal(device(old), old.pem, now=NOW + timedelta(days=31)) == Refusal.BAD_CHAIN


def test_an_authority_makes_no_more_authorities_than_its_path_length(maker: Maker) -> None:
    plant = Maker("Plant 7", maker, path_length=0)
    line = Maker("Line 3", plant, path_length=0)
    assert refusal(device(line) + line.pem + plant.pem, maker.pem) == Refusal.BAD_CHAIN


def test_a_device_cannot_sign_for_another_device(maker: Maker) -> None:
    key = new_key()
    signer = device(maker, "dev-0009", key=key)
    forged = builder(name(DEVICE), name("dev-0009"), new_key(), days=9).sign(key, hashes.SHA256())
    assert refusal(pem(forged) + signer, maker.pem) == Refusal.BAD_CHAIN


def test_the_longest_chain_that_is_read_has_four_certificates() -> None:
    root = Maker("Root", path_length=None)
    makers = [root]
    for number in range(4):
        makers.append(Maker(f"Level {number}", makers[-1], path_length=None))
    four = device(makers[3]) + "".join(one.pem for one in makers[3:0:-1])
    assert check_identity(registration(four), trusted=[root.pem], now=NOW).issuer == "CN=Level 2"
    five = device(makers[4]) + "".join(one.pem for one in makers[4:0:-1])
    assert refusal(five, root.pem) == Refusal.BAD_CHAIN


def within(*names: str) -> x509.NameConstraints:
    return x509.NameConstraints([x509.DNSName(one) for one in names], None)


def without(*names: str) -> x509.NameConstraints:
    return x509.NameConstraints(None, [x509.DNSName(one) for one in names])


INSIDE, OUTSIDE = "dev-1.plant.example", "dev-1.other.example"


@pytest.mark.parametrize("alternative", [pytest.param(True, id="in-dns-name"), pytest.param(False, id="cn-only")])
@pytest.mark.parametrize(
    ("constraints", "device_id", "good"),
    [
        pytest.param(within("plant.example"), INSIDE, True, id="inside"),
        pytest.param(within("plant.example"), "DEV-1.Plant.example", True, id="inside-in-other-case"),
        pytest.param(within("plant.example"), "plant.example", True, id="the-name-itself"),
        pytest.param(within("plant.example"), OUTSIDE, False, id="outside"),
        pytest.param(within("plant.example"), "notplant.example", False, id="a-longer-name-is-not-inside"),
        pytest.param(within("other.example", "plant.example"), INSIDE, True, id="inside-one-of-two"),
        pytest.param(without("plant.example"), OUTSIDE, True, id="not-excluded"),
        pytest.param(without("plant.example"), INSIDE, False, id="excluded"),
    ],
)
def test_name_constraints_bind_wherever_the_name_stands(
    maker: Maker, constraints: x509.NameConstraints, device_id: str, good: bool, alternative: bool
) -> None:
    plant = Maker("Plant 7", maker, extra=[constraints])
    names = [x509.SubjectAlternativeName([x509.DNSName(device_id)])] if alternative else []
    whole = device(plant, device_id, *names) + plant.pem
    if good:
        found = check_identity(registration(whole, device_id), trusted=[maker.pem], now=NOW)
        assert found.device_id == device_id
    else:
        assert refusal(whole, maker.pem, device_id=device_id) == Refusal.BAD_CHAIN


def test_name_constraints_of_the_trusted_authority_itself_bind() -> None:
    bound = Maker("Bound", extra=[within("plant.example")])
    assert check_identity(registration(device(bound, INSIDE), INSIDE), trusted=[bound.pem], now=NOW)
    assert refusal(device(bound, OUTSIDE), bound.pem, device_id=OUTSIDE) == Refusal.BAD_CHAIN


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("garbage", id="garbage"),
        pytest.param("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", id="no-certificate-inside"),
        pytest.param("-----BEGIN CERTIFICATE-----\n" + "A" * 60000 + "\n-----END CERTIFICATE-----\n", id="huge"),
        pytest.param("\ud800", id="no-unicode"),
    ],
)
def test_what_is_no_certificate_is_refused(maker: Maker, text: str) -> None:
    made = Registration.model_construct(device_id=DEVICE, certificate=text, facts=DeviceFacts(serial="1"))
    for check in (lambda: check_identity(made, trusted=[maker.pem], now=NOW), lambda: key_fingerprint(made)):
        with pytest.raises(IdentityRefused) as caught:
            check()
        assert caught.value.where["reason"] == Refusal.UNREADABLE


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # some of the changes make it negative
def test_a_certificate_cut_or_changed_anywhere_is_refused(maker: Maker) -> None:
    whole = maker.certify(name(DEVICE)).public_bytes(Encoding.DER)
    for place in range(0, len(whole), 7):
        changed = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        try:
            text = pem(x509.load_der_x509_certificate(changed))
        except ValueError:
            continue
        with pytest.raises(IdentityRefused):
            check_identity(registration(text), trusted=[maker.pem], now=NOW)


@pytest.mark.parametrize("text", [pytest.param("nothing", id="garbage"), pytest.param("", id="empty")])
def test_trusted_certificates_that_cannot_be_read_are_an_input_error(text: str, maker: Maker) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_identity(registration(device(maker)), trusted=[text], now=NOW)
    assert caught.value.where["field"] == "trusted"


def test_a_device_certificate_cannot_be_trusted_as_an_authority(maker: Maker) -> None:
    certificate = device(maker)
    with pytest.raises(InvalidInput, match="not a certificate authority"):
        check_identity(registration(certificate), trusted=[certificate], now=NOW)


def test_the_fingerprint_follows_the_key_and_not_the_certificate(maker: Maker) -> None:
    key = new_key()
    first, again, other = (registration(device(maker, key=one)) for one in (key, key, None))
    assert key_fingerprint(first) == key_fingerprint(again)
    assert key_fingerprint(first) != key_fingerprint(other)


def identity(maker: Maker, key: Any) -> DeviceIdentity:
    return check_identity(registration(device(maker, key=key)), trusted=[maker.pem], now=NOW)


def test_two_good_certificates_with_different_keys_contest_a_device(maker: Maker) -> None:
    known, rival = identity(maker, new_key()), identity(maker, new_key())
    with pytest.raises(IdentityRefused, match="different keys") as refused:
        refuse_contested(known.fingerprint, [rival])
    assert (refused.value.where["reason"], refused.value.where["device"]) == (Refusal.KEY_CHANGED, DEVICE)


def test_another_certificate_for_the_same_key_contests_nothing(maker: Maker) -> None:
    key = new_key()
    refuse_contested(identity(maker, key).fingerprint, [identity(maker, key)])


def test_a_device_without_rivals_is_not_contested(maker: Maker) -> None:
    refuse_contested(identity(maker, new_key()).fingerprint, [])
