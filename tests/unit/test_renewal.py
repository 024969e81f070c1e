"""A device goes on under a new certificate when the new key proves itself and the old one speaks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from edge.errors import IdentityRefused
from edge.model.admission import Evidence, RevocationList, Trust
from edge.model.device import Device, DeviceFacts, DeviceState, Endorsement, Origin, Registration
from edge.model.identity import Refusal
from edge.policy.identity import key_fingerprint
from edge.policy.proof import sign
from edge.policy.renewal import GRACE, certificate_end, check_renewal, ends_soon
from edge.policy.revocation import read_crl

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NONCE = "nonce-of-the-platform"
SECOND = timedelta(seconds=1)

Key = ec.EllipticCurvePrivateKey


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


MAKER, OTHER_MAKER, OLD, NEW, THIRD = (new_key() for _ in range(5))


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def signed(subject: str, key: Key, by: Key, *, ends: datetime, ca: bool = False) -> str:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name("Maker"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=400))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    return builder.sign(by, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


TRUST = Trust(anchors=(signed("Maker", MAKER, MAKER, ends=NOW + timedelta(days=900), ca=True),))


@dataclass(frozen=True)
class Case:
    """A renewal that is in order, unless a field says otherwise."""

    issuer: Key = MAKER
    device_id: str = "dev-1"
    serial: str = "SN-1"
    old_ends: datetime = NOW + timedelta(days=5)
    new_ends: datetime = NOW + timedelta(days=365)
    proven_by: Key = NEW
    endorsed_by: Key = OLD
    endorsed_serial: str = "SN-1"
    revoked: frozenset[str] = field(default_factory=frozenset)
    taken_back: str = ""
    """Whose certificate the manufacturer's list takes back: old or new."""

    def check(self) -> None:
        old = Registration(
            device_id="dev-1", certificate=signed("dev-1", OLD, MAKER, ends=self.old_ends), facts=facts("SN-1")
        )
        device = Device(device_id="dev-1", state=DeviceState.CONNECTED, registration=old, registered_at=NOW)
        certificate = signed(self.device_id, NEW, self.issuer, ends=self.new_ends)
        bare = Registration(device_id=self.device_id, certificate=certificate, facts=facts(self.serial))
        proven = bare.model_copy(update={"proof": sign(self.proven_by, bare, NONCE)})
        word = sign(self.endorsed_by, bare.model_copy(update={"facts": facts(self.endorsed_serial)}), NONCE)
        endorsement = Endorsement(algorithm=word.algorithm, signature=word.signature)
        lists = (taken_back({"old": old.certificate, "new": certificate}[self.taken_back]),) if self.taken_back else ()
        evidence = Evidence(via=Origin.EVENT, revoked_keys=self.revoked, revocation_lists=lists)
        check_renewal(device, proven, endorsement, NOW, trust=TRUST, evidence=evidence)


def taken_back(certificate: str) -> RevocationList:
    """The manufacturer's list, with this certificate on it."""
    number = x509.load_pem_x509_certificates(certificate.encode())[0].serial_number
    entry = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(NOW - timedelta(days=1)).build()
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name("Maker"))
        .last_update(NOW - timedelta(days=1))
        .next_update(NOW + timedelta(days=1))
        .add_revoked_certificate(entry)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(MAKER.public_key()), critical=False)
        .sign(MAKER, hashes.SHA256())
    )
    text = made.public_bytes(Encoding.PEM).decode()
    return read_crl(text, anchors=TRUST.anchors, now=NOW)


def facts(serial: str) -> DeviceFacts:
    return DeviceFacts(serial=serial)


def fingerprint(key: Key) -> str:
    certificate = signed("dev-1", key, MAKER, ends=NOW)
    return key_fingerprint(Registration(device_id="dev-1", certificate=certificate, facts=facts("SN-1")))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="in-order"),
        pytest.param({"old_ends": NOW - SECOND}, id="old-certificate-just-ended"),
        pytest.param({"old_ends": NOW - GRACE}, id="last-moment-of-the-grace"),
    ],
)
def test_a_renewal_in_order_is_accepted(change: dict[str, Any]) -> None:
    replace(Case(), **change).check()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda: {"device_id": "dev-2"}, Refusal.WRONG_NAME, id="another-device"),
        pytest.param(lambda: {"serial": "SN-2", "endorsed_serial": "SN-2"}, Refusal.WRONG_SERIAL, id="another-serial"),
        pytest.param(lambda: {"issuer": OTHER_MAKER}, Refusal.BAD_CHAIN, id="not-the-maker"),
        pytest.param(lambda: {"new_ends": NOW - SECOND}, Refusal.EXPIRED, id="new-certificate-ended"),
        pytest.param(lambda: {"proven_by": THIRD}, Refusal.PROOF_FAILED, id="new-key-not-held"),
        pytest.param(lambda: {"endorsed_by": THIRD}, Refusal.PROOF_FAILED, id="endorsed-by-a-stranger"),
        pytest.param(lambda: {"endorsed_by": NEW}, Refusal.PROOF_FAILED, id="endorsed-by-itself"),
        pytest.param(lambda: {"endorsed_serial": "SN-9"}, Refusal.PROOF_FAILED, id="endorsed-other-bytes"),
        pytest.param(lambda: {"revoked": frozenset({fingerprint(OLD)})}, Refusal.REVOKED, id="old-key-revoked"),
        pytest.param(lambda: {"revoked": frozenset({fingerprint(NEW)})}, Refusal.REVOKED, id="new-key-revoked"),
        pytest.param(lambda: {"taken_back": "old"}, Refusal.REVOKED, id="old-certificate-on-the-makers-list"),
        pytest.param(lambda: {"taken_back": "new"}, Refusal.REVOKED, id="new-certificate-on-the-makers-list"),
        pytest.param(lambda: {"old_ends": NOW - GRACE - SECOND}, Refusal.EXPIRED, id="after-the-grace"),
    ],
)
def test_any_other_renewal_is_refused_with_its_reason(change: Callable[[], dict[str, Any]], reason: Refusal) -> None:
    with pytest.raises(IdentityRefused) as refused:
        replace(Case(), **change()).check()
    assert refused.value.where["reason"] == reason


@pytest.mark.parametrize(
    ("left", "listed"),
    [
        pytest.param(timedelta(days=30), True, id="thirty-days"),
        pytest.param(timedelta(days=30) + SECOND, False, id="a-second-more"),
        pytest.param(-SECOND, True, id="ended"),
    ],
)
def test_a_certificate_that_ends_soon_is_listed(left: timedelta, listed: bool) -> None:
    certificate = signed("dev-1", OLD, MAKER, ends=NOW + left)
    registration = Registration(device_id="dev-1", certificate=certificate, facts=facts("SN-1"))
    assert certificate_end(registration) == NOW + left
    assert ends_soon(registration, now=NOW) is listed


def test_a_certificate_that_cannot_be_read_has_no_end_and_is_listed() -> None:
    registration = Registration(device_id="dev-1", certificate="no certificate", facts=facts("SN-1"))
    assert certificate_end(registration) is None
    assert ends_soon(registration, now=NOW)
