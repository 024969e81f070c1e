"""Endorsement certificates as makers issue them: what the chain must have, and what it may have."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from edge.errors import IdentityRefused, InvalidInput
from edge.model.device import DeviceFacts, Registration
from edge.policy.identity import key_fingerprint
from edge.policy.tpm_ek import EK_PURPOSE, check_maker, read_ek

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NOBODY = x509.Name([])
TPM = x509.DirectoryName(x509.Name([x509.NameAttribute(x509.ObjectIdentifier("2.23.133.2.1"), "id:4C414200")]))


class Issued(NamedTuple):
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()


def authority(by: Issued | None = None, *, ca: bool = True, signs: bool = True, until: int = 365) -> Issued:
    """A maker's certificate, with a purpose and without key identifiers, as some are."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "intermediate" if by else "root")])
    issuer = by or Issued(key, None)  # type: ignore[arg-type]  # its own
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(by.certificate.subject if by else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=until))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(key_cert_sign=signs, crl_sign=False, encipher_only=False, decipher_only=False, **usage),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([EK_PURPOSE]), critical=False)
    )
    return Issued(key, builder.sign(issuer.key, hashes.SHA384()))


def endorsed(
    by: Issued, *, bits: int = 0, critical: bool = True, purpose: x509.ObjectIdentifier | None = EK_PURPOSE
) -> Issued:
    """An endorsement certificate with an empty subject and a critical directory name."""
    key = rsa.generate_private_key(65537, bits) if bits else ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(NOBODY)
        .issuer_name(by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=100_000))
        .add_extension(x509.SubjectAlternativeName([TPM]), critical=critical)
    )
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=critical)
    return Issued(key, builder.sign(by.key, hashes.SHA256()))


@pytest.fixture(scope="module")
def root() -> Issued:
    return authority()


def refused(chain: str, root: Issued) -> tuple[str, str]:
    with pytest.raises(IdentityRefused) as refusal:
        check_maker(read_ek(chain), anchors=(root.pem,), now=NOW)
    return refusal.value.where["reason"], refusal.value.what


@pytest.mark.parametrize("critical", [pytest.param(True, id="critical"), pytest.param(False, id="not-critical")])
def test_a_certificate_leads_to_its_maker_over_an_intermediate(root: Issued, critical: bool) -> None:
    between = authority(root)
    check_maker(read_ek(endorsed(between, critical=critical).pem + between.pem), anchors=(root.pem,), now=NOW)


@pytest.mark.parametrize(
    "purpose",
    [pytest.param(None, id="none"), pytest.param(x509.ObjectIdentifier("2.23.133.8.3"), id="attestation-key")],
)
def test_a_certificate_that_is_not_for_endorsement_is_refused(
    root: Issued, purpose: x509.ObjectIdentifier | None
) -> None:
    reason, what = refused(endorsed(root, purpose=purpose).pem, root)
    assert (reason, what) == ("tpm-untrusted", "The certificate is not meant for an endorsement key")


def test_a_certificate_without_its_intermediate_leads_nowhere(root: Issued) -> None:
    reason, what = refused(endorsed(authority(root)).pem, root)
    assert (reason, what) == (
        "tpm-untrusted",
        "The endorsement certificate by 'CN=intermediate' does not lead to a trusted maker",
    )


@pytest.mark.parametrize(
    "flaw",
    [
        pytest.param({"ca": False}, id="no-authority"),
        pytest.param({"signs": False}, id="may-not-sign"),
        pytest.param({"until": 0}, id="out-of-date"),
    ],
)
def test_an_intermediate_that_is_no_good_authority_is_refused(root: Issued, flaw: dict[str, int]) -> None:
    between = authority(root, **flaw)  # type: ignore[arg-type]  # the keywords of authority
    late = endorsed(between).pem + between.pem
    with pytest.raises(IdentityRefused) as refusal:
        check_maker(read_ek(late), anchors=(root.pem,), now=NOW + timedelta(hours=1))
    assert refusal.value.where["reason"] == "tpm-untrusted"


def test_a_forged_intermediate_of_the_same_name_is_refused(root: Issued) -> None:
    between, forger = authority(root), authority(authority())
    assert refused(endorsed(forger).pem + between.pem, root)[0] == "tpm-untrusted"


def test_a_chain_that_is_too_long_is_not_read(root: Issued) -> None:
    reason, what = refused(endorsed(root).pem + root.pem * 4, root)
    assert (reason, what) == ("attestation-invalid", "There are 5 endorsement certificates, at most 4 are read")


def test_an_endorsement_key_of_a_size_without_a_template_is_refused(root: Issued) -> None:
    assert refused(endorsed(root, bits=1024).pem, root)[0] == "attestation-invalid"


def test_a_trusted_file_without_an_authority_is_the_operators_mistake(root: Issued) -> None:
    leaf = endorsed(root)
    with pytest.raises(InvalidInput, match="not a certificate authority"):
        check_maker(read_ek(leaf.pem), anchors=(leaf.pem,), now=NOW)


def test_a_certificate_of_an_unknown_version_is_refused(root: Issued) -> None:
    content = bytearray(root.certificate.public_bytes(Encoding.DER))
    version = content.index(b"\xa0\x03\x02\x01\x02") + 4
    content[version] = 34
    body = base64.b64encode(bytes(content)).decode()
    pem = f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"
    assert refused(pem, root) == ("attestation-invalid", "The endorsement certificate cannot be read")
    told = Registration(device_id="gw-1", certificate=pem, facts=DeviceFacts(serial="SN-1"))
    with pytest.raises(IdentityRefused, match="cannot be read"):
        key_fingerprint(told)
