"""Certificate revocation lists (RFC 5280): which are believed, and whose certificates they take back.

`cryptography`'s verifier looks at no list, so each certificate of a verified chain is looked up here in its issuer's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from edge.errors import InvalidInput
from edge.model.admission import Need, RevocationList
from edge.model.identity import Refusal
from edge.policy.chain import MAX_CERTIFICATES, ChainRefused, verified_chain
from edge.policy.identity import UNREADABLE, public_key_fingerprint, trusted_certificates

_LIST = re.compile(r"-----BEGIN X509 CRL-----[^-]*-----END X509 CRL-----")
_NAMES = {NameOID.SERIAL_NUMBER: "serialNumber"}
"""Parts of a name that the standard form gives as numbers."""
_EARLY = timedelta(minutes=5)
"""How far another's clock may be ahead."""
_PARTIAL = (x509.IssuingDistributionPoint.oid, x509.DeltaCRLIndicator.oid)
_KNOWN = frozenset({x509.CRLReason.oid, x509.InvalidityDate.oid})
"""Extensions of an entry that may be critical."""


def read_crl(text: str, *, anchors: Sequence[str], now: datetime) -> RevocationList:
    """A list from PEM text; certificates of authorities between its issuer and a trusted one may stand beside it.

    One that is out of date is read: what it revokes stays revoked. Raises InvalidInput when it cannot be read, its
    issuer is not trusted, the signature does not hold, or it covers only a part of the issuer's certificates.
    """
    found = _LIST.findall(text)
    if len(found) != 1:
        raise _wrong("One revocation list in PEM is wanted here", len(found))
    try:
        crl = x509.load_pem_x509_crl(found[0].encode())
        issuer = _issuer(crl, _authorities(text, anchors, now))
        _check_whole(crl)
        _check_entries(crl)
        number = _number(crl)
    except UNREADABLE as error:
        raise _wrong("The revocation list cannot be read", type(error).__name__) from error
    if crl.last_update_utc > now + _EARLY:
        raise _wrong("The revocation list is from the future", f"{crl.last_update_utc:%Y-%m-%d %H:%M} UTC")
    return RevocationList(
        issuer=public_key_fingerprint(issuer),
        issuer_name=issuer.subject.rfc4514_string(),
        number=number,
        this_update=crl.last_update_utc,
        next_update=crl.next_update_utc,
        pem=found[0] + "\n",
    )


def check_revocation(
    chain: Sequence[x509.Certificate], lists: Sequence[RevocationList], *, need: Need, now: datetime
) -> None:
    """Raise ChainRefused when a certificate of the verified chain (leaf first) is on its issuer's list.

    When a list is required, also when an issuer has none on record, or one that is out of date.
    """
    by_issuer = {one.issuer: one for one in lists}
    for certificate, issuer in pairwise(chain):
        kept = by_issuer.get(public_key_fingerprint(issuer))
        entry = _parsed(kept.pem).get_revoked_certificate_by_serial_number(certificate.serial_number) if kept else None
        if entry is not None:
            name = certificate.subject.rfc4514_string(_NAMES)[:200]
            when = f"{entry.revocation_date_utc:%Y-%m-%d}"
            raise ChainRefused(Refusal.REVOKED, f"The certificate of {name!r} was revoked on {when} ({_reason(entry)})")
        if need is Need.REQUIRED and not _is_current(kept, now):
            name = issuer.subject.rfc4514_string()[:200]
            raise ChainRefused(Refusal.REVOCATION_UNKNOWN, f"There is no current revocation list of {name!r}")


def _is_current(kept: RevocationList | None, now: datetime) -> bool:
    return kept is not None and kept.next_update is not None and now <= kept.next_update


@lru_cache(maxsize=16)
def _parsed(pem: str) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl(pem.encode())


def _authorities(text: str, anchors: Sequence[str], now: datetime) -> tuple[x509.Certificate, ...]:
    """The trusted certificates, and those of the text that lead to one of them."""
    trusted = trusted_certificates(tuple(anchors))
    if "-----BEGIN CERTIFICATE-----" not in text:
        return trusted
    given = x509.load_pem_x509_certificates(text.encode())[:MAX_CERTIFICATES]
    return (*trusted, *(one for one in given if _is_authority(one) and _leads_up(one, given, trusted, now)))


def _leads_up(
    one: x509.Certificate, given: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate], now: datetime
) -> bool:
    try:
        verified_chain(one, given, anchors=trusted, now=now)
    except ChainRefused:
        return False
    return one.not_valid_before_utc <= now <= one.not_valid_after_utc


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _issuer(crl: x509.CertificateRevocationList, known: Sequence[x509.Certificate]) -> x509.Certificate:
    named = [certificate for certificate in known if certificate.subject == crl.issuer]
    if not named:
        raise _wrong("The list's issuer is not trusted", crl.issuer.rfc4514_string()[:200])
    for certificate in named:
        if _may_sign_lists(certificate) and _signed(crl, certificate):
            return certificate
    raise _wrong("The list's signature does not hold", crl.issuer.rfc4514_string()[:200])


def _signed(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        return False
    return crl.is_signature_valid(key)


def _may_sign_lists(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _check_whole(crl: x509.CertificateRevocationList) -> None:
    """Only a list that covers every certificate of its issuer says that a certificate is not revoked."""
    for extension in crl.extensions:
        if extension.oid in _PARTIAL:
            what = "The list covers a part of its issuer's certificates, or others' (delta, indirect or partitioned)"
            raise _wrong(what, extension.oid.dotted_string)
        if extension.critical:
            raise _wrong("The list has a critical extension that is not known here", extension.oid.dotted_string)


def _check_entries(crl: x509.CertificateRevocationList) -> None:
    for entry in crl:
        for extension in entry.extensions:
            if extension.oid == x509.CertificateIssuer.oid or (extension.critical and extension.oid not in _KNOWN):
                raise _wrong(
                    "An entry of the list has an extension that is not known here", extension.oid.dotted_string
                )


def _number(crl: x509.CertificateRevocationList) -> int:
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0


def _reason(entry: x509.RevokedCertificate) -> str:
    try:
        return str(entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value)
    except x509.ExtensionNotFound:
        return "no reason given"


def _wrong(what: str, value: object) -> InvalidInput:
    remedy = "Fetch the issuer's full list again, and put the certificates of authorities in between beside it"
    return InvalidInput(what, field="crl", value=value, remedy=remedy)
