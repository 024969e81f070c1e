"""Chains of certificates: does a leaf lead to an issuer that is trusted, and may that issuer name it?

`cryptography`'s verifier builds and checks the chain; its rules for public web servers apply to the authorities and not
to the leaf, whose use the callers judge themselves. Name constraints it holds against the alternative names alone, so
a name that stands in the subject only is held against them here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.x509 import verification

from edge.model.identity import Refusal

MAX_CERTIFICATES = 4
"""The leaf and up to three intermediates."""


class ChainRefused(ValueError):
    """A chain that does not hold, and which kind of refusal that is. The callers add whose it was."""

    def __init__(self, reason: Refusal, what: str) -> None:
        super().__init__(what)
        self.reason = reason


def verified_chain(
    leaf: x509.Certificate, between: Sequence[x509.Certificate], *, anchors: Sequence[x509.Certificate], now: datetime
) -> tuple[x509.Certificate, ...]:
    """The certificates from the leaf to a trusted one, every signature and date of them checked; else ChainRefused."""
    if not anchors:
        raise ChainRefused(Refusal.UNKNOWN_ISSUER, "No issuer is trusted")
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store(list(anchors)))
        .time(now)
        .max_chain_depth(MAX_CERTIFICATES)
        .extension_policies(
            ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
            ee_policy=verification.ExtensionPolicy.permit_all(),
        )
        .build_client_verifier()
    )
    try:
        return tuple(verifier.verify(leaf, list(between)).chain)
    except verification.VerificationError as error:
        if _leads_to(leaf, between, anchors):
            raise ChainRefused(Refusal.BAD_CHAIN, "The certificate does not lead to a trusted issuer") from error
        what = f"The issuer {leaf.issuer.rfc4514_string()[:200]!r} is not trusted"
        raise ChainRefused(Refusal.UNKNOWN_ISSUER, what) from error


def check_name_constraints(name: str, chain: Sequence[x509.Certificate]) -> None:
    """Raise ChainRefused when an authority of the chain may not issue for this name (RFC 5280, 4.2.1.10, DNS names)."""
    for authority in chain[1:]:
        try:
            constraints = authority.extensions.get_extension_for_class(x509.NameConstraints).value
        except x509.ExtensionNotFound:
            continue
        permitted = _dns_names(constraints.permitted_subtrees)
        excluded = _dns_names(constraints.excluded_subtrees)
        inside = any(_within(name, subtree) for subtree in permitted)
        if (permitted and not inside) or any(_within(name, subtree) for subtree in excluded):
            issuer = authority.subject.rfc4514_string()[:200]
            raise ChainRefused(Refusal.BAD_CHAIN, f"The issuer {issuer!r} may not issue for this name")


def _dns_names(subtrees: Sequence[x509.GeneralName] | None) -> list[str]:
    return [name.value for name in subtrees or () if isinstance(name, x509.DNSName)]


def _within(name: str, subtree: str) -> bool:
    wanted = subtree.lower().lstrip(".")
    return not wanted or name.lower() == wanted or name.lower().endswith(f".{wanted}")


def _leads_to(leaf: x509.Certificate, between: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]) -> bool:
    """Whether the names of the issuers, followed upwards, reach a trusted one; signatures are not looked at."""
    trusted = {anchor.subject for anchor in anchors}
    issuers = {certificate.subject: certificate.issuer for certificate in between}
    name = leaf.issuer
    for _ in range(MAX_CERTIFICATES):
        if name in trusted:
            return True
        name = issuers.get(name, name)
    return False
