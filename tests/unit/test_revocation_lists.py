"""Which revocation lists are believed, and whose certificates they take back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import InvalidInput
from edge.model.admission import Need, RevocationList
from edge.model.identity import Refusal
from edge.policy.chain import ChainRefused, verified_chain
from edge.policy.revocation import check_revocation, read_crl

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
"""Past the lists' next update."""
BEGIN, END = "-----BEGIN X509 CRL-----\n", "\n-----END X509 CRL-----\n"


class Issuer:
    """A certificate authority, its device, and its lists."""

    def __init__(self, common_name: str, parent: Issuer | None = None, *, signs_lists: bool = True) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name(common_name)
        usage = x509.KeyUsage(False, False, False, False, False, True, signs_lists, False, False)
        self.certificate = (
            _builder(self.name, self.key, parent or self)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign((parent or self).key, hashes.SHA256())
        )

    def device(self) -> x509.Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        return _builder(_name("dev-0001"), key, self).sign(self.key, hashes.SHA256())

    def crl(
        self,
        *revoked: x509.Certificate,
        number: int | None = 7,
        extra: Sequence[x509.ExtensionType] = (),
        entry: Sequence[x509.ExtensionType] = (),
        signer: Issuer | None = None,
    ) -> str:
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name)
        builder = builder.last_update(NOW).next_update(NOW + timedelta(days=7))
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        for extension in extra:
            builder = builder.add_extension(extension, critical=True)
        for certificate in revoked:
            row = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(NOW)
            row = row.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
            for extension in entry:
                row = row.add_extension(extension, critical=True)
            builder = builder.add_revoked_certificate(row.build())
        return _pem(builder.sign((signer or self).key, hashes.SHA256()))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey, issuer: Issuer) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=365))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )


def _pem(made: x509.Certificate | x509.CertificateRevocationList) -> str:
    return made.public_bytes(Encoding.PEM).decode()


ROOT = Issuer("Good Gateways")
PLANT = Issuer("Plant 7", ROOT)
STRANGER = Issuer("Somebody Else")
NAMESAKE = Issuer("Good Gateways")
NO_LISTS = Issuer("Signs no lists", signs_lists=False)
DEVICE = PLANT.device()
CHAIN = verified_chain(DEVICE, [PLANT.certificate], anchors=[ROOT.certificate], now=NOW)
ANCHORS = (_pem(ROOT.certificate), _pem(NO_LISTS.certificate))


def read(text: str, now: datetime = NOW) -> RevocationList:
    return read_crl(text, anchors=ANCHORS, now=now)


def of_plant(*revoked: x509.Certificate) -> RevocationList:
    """The list of an authority in between, with its certificate beside it."""
    return read(PLANT.crl(*revoked) + _pem(PLANT.certificate))


def refusal(lists: Sequence[RevocationList], need: Need, now: datetime = NOW) -> Refusal | None:
    try:
        check_revocation(CHAIN, lists, need=need, now=now)
    except ChainRefused as error:
        return error.reason
    return None


@pytest.mark.parametrize(
    ("lists", "need", "now", "expected"),
    [
        pytest.param([], Need.WHEN_PRESENT, NOW, None, id="no-list-and-none-asked-for"),
        pytest.param([], Need.REQUIRED, NOW, Refusal.REVOCATION_UNKNOWN, id="no-list-where-one-must-be"),
        pytest.param([of_plant()], Need.REQUIRED, NOW, Refusal.REVOCATION_UNKNOWN, id="the-root's-list-is-missing"),
        pytest.param([of_plant(), read(ROOT.crl())], Need.REQUIRED, NOW, None, id="nobody-revoked"),
        pytest.param([of_plant(DEVICE)], Need.WHEN_PRESENT, NOW, Refusal.REVOKED, id="the-device-revoked"),
        pytest.param(
            [read(ROOT.crl(PLANT.certificate))], Need.WHEN_PRESENT, NOW, Refusal.REVOKED, id="its-issuer-revoked"
        ),
        pytest.param(
            [of_plant(), read(ROOT.crl())], Need.REQUIRED, LATER, Refusal.REVOCATION_UNKNOWN, id="stale-where-required"
        ),
        pytest.param([of_plant()], Need.WHEN_PRESENT, LATER, None, id="stale-and-not-revoked"),
        pytest.param([of_plant(DEVICE)], Need.WHEN_PRESENT, LATER, Refusal.REVOKED, id="stale-still-revokes"),
        pytest.param([read(ROOT.crl(DEVICE))], Need.WHEN_PRESENT, NOW, None, id="another-issuer's-serial-number"),
    ],
)
def test_every_certificate_of_the_chain_is_looked_up_in_its_issuers_list(
    lists: list[RevocationList], need: Need, now: datetime, expected: Refusal | None
) -> None:
    assert refusal(lists, need, now) == expected


def test_a_list_says_whose_it_is_and_how_new() -> None:
    found = read(ROOT.crl(number=41))
    assert (found.number, found.issuer_name) == (41, "CN=Good Gateways")
    assert (found.this_update, found.next_update) == (NOW, NOW + timedelta(days=7))
    assert read(ROOT.crl(number=None)).number == 0


INDIRECT = x509.IssuingDistributionPoint(None, None, False, False, None, True, False)
ONLY_DEVICES = x509.IssuingDistributionPoint(None, None, True, False, None, False, False)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param(ROOT.crl(signer=STRANGER), "signature does not hold", id="signed-by-another"),
        pytest.param(NAMESAKE.crl(), "signature does not hold", id="an-issuer-of-the-same-name"),
        pytest.param(NO_LISTS.crl(), "signature does not hold", id="an-issuer-that-may-sign-no-lists"),
        pytest.param(STRANGER.crl(), "not trusted", id="a-stranger's"),
        pytest.param(
            STRANGER.crl() + _pem(STRANGER.certificate), "not trusted", id="a-stranger-who-vouches-for-itself"
        ),
        pytest.param(PLANT.crl(), "not trusted", id="an-authority-in-between-that-is-not-shown"),
        pytest.param(ROOT.crl(extra=[x509.DeltaCRLIndicator(1)]), "covers a part", id="delta"),
        pytest.param(ROOT.crl(extra=[INDIRECT]), "covers a part", id="indirect"),
        pytest.param(ROOT.crl(extra=[ONLY_DEVICES]), "covers a part", id="of-devices-only"),
        pytest.param(
            ROOT.crl(extra=[x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00")]),
            "critical extension",
            id="critical-and-unknown",
        ),
        pytest.param(
            ROOT.crl(DEVICE, entry=[x509.CertificateIssuer([x509.DirectoryName(_name("Another"))])]),
            "An entry",
            id="an-entry-of-another-issuer",
        ),
        pytest.param("", "One revocation list", id="empty"),
        pytest.param(ROOT.crl() + ROOT.crl(), "One revocation list", id="two"),
        pytest.param(f"{BEGIN}AAAA{END}", "cannot be read", id="no-list-inside"),
        pytest.param(f"{BEGIN}\ud800{END}", "cannot be read", id="no-unicode"),
        pytest.param(
            ROOT.crl() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "cannot be read",
            id="a-broken-certificate-beside-it",
        ),
    ],
)
def test_a_list_that_cannot_be_believed_is_refused(text: str, what: str) -> None:
    with pytest.raises(InvalidInput, match=what) as caught:
        read(text)
    assert caught.value.where["field"] == "crl"


def test_a_list_from_the_future_is_refused_but_for_a_small_difference_of_clocks() -> None:
    assert read(ROOT.crl(), NOW - timedelta(minutes=4)).number == 7
    with pytest.raises(InvalidInput, match="from the future"):
        read(ROOT.crl(), NOW - timedelta(minutes=6))


@given(st.text(max_size=300))
def test_no_text_breaks_the_reader(text: str) -> None:
    for whole in (text, f"{BEGIN}{text}{END}"):
        with pytest.raises(InvalidInput):
            read(whole)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # some of the changes make it negative
def test_a_list_changed_anywhere_is_refused() -> None:
    whole = x509.load_pem_x509_crl(ROOT.crl(DEVICE).encode()).public_bytes(Encoding.DER)
    tried = 0
    for place in range(len(whole)):
        changed = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        try:
            text = _pem(x509.load_der_x509_crl(changed))
        except ValueError:
            continue
        tried += 1
        with pytest.raises(InvalidInput):
            read(text)
    assert tried > len(whole) // 4
