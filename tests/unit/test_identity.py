"""Whose certificate is believed, and with which word the others are refused."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import NameOID

from edge.errors import IdentityRefused, InvalidInput
from edge.model.device import DeviceFacts, Registration
from edge.model.identity import Refusal
from edge.policy.identity import check_identity, key_fingerprint, refuse_contested

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
DEVICE = "dev-0001"


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def key_usage(*, sign: bool = False, certify: bool = False, agree: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(sign, False, False, False, agree, certify, certify, False, False)


class Maker:
    """A manufacturer: a CA that signs what it is asked to."""

    def __init__(self, common_name: str, parent: Maker | None = None, *, path_length: int = 1) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        signer = parent or self
        self.name = name(common_name)
        builder = self._builder(self.name, signer.name, self.key.public_key(), days=3650)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        builder = builder.add_extension(key_usage(certify=True), critical=True)
        self.identifier = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        builder = builder.add_extension(self.identifier, critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer.identifier), critical=False
        )
        self.certificate = builder.sign(signer.key, hashes.SHA256())

    @staticmethod
    def _builder(subject: x509.Name, issuer: x509.Name, key, *, days: int) -> x509.CertificateBuilder:  # type: ignore[no-untyped-def] - any public key
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=1))
            .not_valid_after(NOW + timedelta(days=days))
        )

    @property
    def pem(self) -> str:
        return pem(self.certificate)

    def device(self, common_name: str = DEVICE, *extensions: x509.ExtensionType, key=None) -> x509.Certificate:  # type: ignore[no-untyped-def] - any private key
        public = (key or ec.generate_private_key(ec.SECP256R1())).public_key()
        builder = self._builder(name(common_name), self.name, public, days=365)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())


def pem(*certificates: x509.Certificate) -> str:
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


def registration(certificate: str, device_id: str = DEVICE) -> Registration:
    return Registration(device_id=device_id, certificate=certificate, facts=DeviceFacts(serial="SN-1"))


def refusal(certificate: str, trusted: str, *, device_id: str = DEVICE, now: datetime = NOW) -> str:
    with pytest.raises(IdentityRefused) as caught:
        check_identity(registration(certificate, device_id), trusted=[trusted], now=now)
    assert caught.value.where["device"] == device_id
    return caught.value.where["reason"]


@pytest.fixture(scope="module")
def maker() -> Maker:
    return Maker("Good Gateways")


def test_a_device_of_a_trusted_manufacturer_is_who_its_certificate_says(maker: Maker) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = maker.device(DEVICE, x509.ExtendedKeyUsage([Usage.CLIENT_AUTH]), key_usage(sign=True), key=key)
    identity = check_identity(registration(pem(certificate)), trusted=[maker.pem], now=NOW)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert identity.device_id == DEVICE
    assert identity.subject == f"CN={DEVICE}"
    assert identity.issuer == "CN=Good Gateways"
    assert identity.serial == f"{certificate.serial_number:x}"
    assert identity.fingerprint == hashlib.sha256(public).hexdigest()
    assert identity.not_after == NOW + timedelta(days=365)


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
    certificate = maker.device(common_name, *extensions)
    assert check_identity(registration(pem(certificate)), trusted=[maker.pem], now=NOW).device_id == DEVICE


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(rsa.generate_private_key(65537, 2048), id="rsa-2048"),
        pytest.param(ec.generate_private_key(ec.SECP384R1()), id="p-384"),
        pytest.param(ed25519.Ed25519PrivateKey.generate(), id="ed25519"),
    ],
)
def test_strong_keys_are_taken(maker: Maker, key) -> None:  # type: ignore[no-untyped-def] - any private key
    certificate = maker.device(DEVICE, key=key)
    assert check_identity(registration(pem(certificate)), trusted=[maker.pem], now=NOW).device_id == DEVICE


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(rsa.generate_private_key(65537, 1024), id="rsa-1024"),
        pytest.param(ec.generate_private_key(ec.SECP256K1()), id="curve-of-another-trade"),
        pytest.param(dsa.generate_private_key(2048), id="dsa"),
    ],
)
def test_weak_keys_are_refused(maker: Maker, key) -> None:  # type: ignore[no-untyped-def] - any private key
    assert refusal(pem(maker.device(DEVICE, key=key)), maker.pem) == Refusal.WEAK_KEY


@pytest.mark.parametrize(
    ("days", "reason"),
    [pytest.param(366, Refusal.EXPIRED, id="expired"), pytest.param(-2, Refusal.NOT_YET_VALID, id="not-yet-valid")],
)
def test_a_certificate_outside_its_dates_is_refused(maker: Maker, days: int, reason: Refusal) -> None:
    assert refusal(pem(maker.device()), maker.pem, now=NOW + timedelta(days=days)) == reason


@pytest.mark.parametrize(
    "extensions",
    [
        pytest.param([x509.ExtendedKeyUsage([Usage.SERVER_AUTH])], id="a-server's"),
        pytest.param([key_usage(agree=True)], id="cannot-sign"),
        pytest.param([x509.BasicConstraints(ca=True, path_length=0)], id="an-authority's"),
    ],
)
def test_a_certificate_for_another_use_is_refused(maker: Maker, extensions: list[x509.ExtensionType]) -> None:
    assert refusal(pem(maker.device(DEVICE, *extensions)), maker.pem) == Refusal.WRONG_USAGE


def test_the_manufacturers_own_certificate_is_no_device(maker: Maker) -> None:
    assert refusal(maker.pem, maker.pem, device_id="Good-Gateways") == Refusal.WRONG_USAGE


def test_a_certificate_of_a_foreign_manufacturer_is_refused(maker: Maker) -> None:
    assert refusal(pem(Maker("Somebody Else").device()), maker.pem) == Refusal.UNKNOWN_ISSUER


def test_a_certificate_that_signed_itself_is_refused(maker: Maker) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = Maker._builder(name(DEVICE), name(DEVICE), key.public_key(), days=365)
    assert refusal(pem(builder.sign(key, hashes.SHA256())), maker.pem) == Refusal.UNKNOWN_ISSUER


def test_an_issuer_that_only_borrows_the_name_is_refused(maker: Maker) -> None:
    assert refusal(pem(Maker("Good Gateways").device()), maker.pem) == Refusal.BAD_CHAIN


def test_nobody_is_let_in_when_nobody_is_trusted(maker: Maker) -> None:
    with pytest.raises(IdentityRefused, match="No manufacturer is trusted"):
        check_identity(registration(pem(maker.device())), trusted=[], now=NOW)


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
    assert refusal(pem(maker.device(common_name)), maker.pem, device_id=device_id) == Refusal.WRONG_NAME


def test_a_chain_through_an_intermediate_holds_only_with_the_intermediate(maker: Maker) -> None:
    plant = Maker("Plant 7", maker, path_length=0)
    certificate = plant.device()
    whole = registration(pem(certificate, plant.certificate))
    assert check_identity(whole, trusted=[maker.pem], now=NOW).issuer == "CN=Plant 7"
    assert refusal(pem(certificate), maker.pem) == Refusal.UNKNOWN_ISSUER


def test_a_device_cannot_sign_for_another_device(maker: Maker) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    device = maker.device("dev-0009", key=key)
    forged = Maker._builder(
        name(DEVICE), name("dev-0009"), ec.generate_private_key(ec.SECP256R1()).public_key(), days=9
    )
    assert refusal(pem(forged.sign(key, hashes.SHA256()), device), maker.pem) == Refusal.BAD_CHAIN


def test_a_chain_that_is_too_long_is_refused(maker: Maker) -> None:
    assert refusal(pem(*[maker.device()] * 5), maker.pem) == Refusal.BAD_CHAIN


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
    whole = maker.device().public_bytes(Encoding.DER)
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
        check_identity(registration(pem(maker.device())), trusted=[text], now=NOW)
    assert caught.value.where["field"] == "trusted"


def test_a_device_certificate_cannot_be_trusted_as_an_authority(maker: Maker) -> None:
    device = pem(maker.device())
    with pytest.raises(InvalidInput, match="not a certificate authority"):
        check_identity(registration(device), trusted=[device], now=NOW)


def test_the_fingerprint_follows_the_key_and_not_the_certificate(maker: Maker) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    first, again, other = maker.device(key=key), maker.device(key=key), maker.device()
    assert key_fingerprint(registration(pem(first))) == key_fingerprint(registration(pem(again)))
    assert key_fingerprint(registration(pem(first))) != key_fingerprint(registration(pem(other)))


def test_two_good_certificates_with_different_keys_contest_a_device(maker: Maker) -> None:
    claim = registration(pem(maker.device()))
    with pytest.raises(IdentityRefused) as refused:
        refuse_contested([claim], trusted=[pem(maker.certificate)], now=NOW)
    assert refused.value.where["reason"] == Refusal.KEY_CHANGED


def test_a_claim_that_is_not_believed_keeps_no_device_out(maker: Maker) -> None:
    stranger = Maker("Another manufacturer")
    refuse_contested([registration(pem(stranger.device()))], trusted=[pem(maker.certificate)], now=NOW)
