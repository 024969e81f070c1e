"""Is the device's boot a known good one? Decided from what its TPM says, and only as far as that TPM is proven.

The chain of trust, each link checked here: a trusted maker signed the endorsement certificate; the TPM with that key
recovered the challenge's secret, which it does only while it holds the attestation key; that key signed the quote; the
quote answers the challenge's nonce and covers the PCR values; and these are in a reference set of the policy.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime

from edge.model.admission import Challenge, Trust
from edge.model.device import Attestation
from edge.model.identity import Refusal
from edge.policy.tpm_ek import check_maker, read_ek, untrusted
from edge.policy.tpm_key import read_ak
from edge.policy.tpm_pcrs import Pcrs, check_digest, fitting_reference, read_pcrs
from edge.policy.tpm_quote import Quote, check_signature, read_quote
from edge.policy.tpm_wire import decode, invalid, refused


def check_attestation(  # noqa: PLR0913 - each is evidence of another source
    attestation: Attestation | None,
    *,
    challenge: Challenge | None,
    trust: Trust,
    model: str,
    ek_fingerprint: str,
    now: datetime,
) -> str:
    """Name of the boot reference that the quote fits; empty when the policy has none.

    `ek_fingerprint` is the SHA-256 in hex of the only endorsement key that may answer; empty: any. Raises
    IdentityRefused with `reason` attestation-missing, attestation-invalid, tpm-untrusted or pcr-mismatch. Whether the
    challenge was given to this device, is current and was answered once only is checked by the proof of possession.
    """
    if attestation is None:
        what = "The device's TPM says nothing of its boot"
        raise refused(Refusal.ATTESTATION_MISSING, what, "Let the device ask for a challenge with its attestation key")
    ek, ak = read_ek(attestation.ek_certificate), read_ak(attestation.ak_public)
    check_maker(ek, anchors=trust.tpm_anchors, now=now)
    if ek_fingerprint and not _same(ek.fingerprint, ek_fingerprint):
        raise untrusted("The endorsement key is another TPM's than the one that the owner's voucher names")
    nonce = _check_bound(attestation, (ek.fingerprint, ak.name.hex()), challenge)
    quote, pcrs = quoted(attestation)
    if not hmac.compare_digest(quote.extra_data, qualifying_data(nonce)):
        raise invalid("The quote was made for another challenge")
    return fitting_reference(pcrs, trust.policy.boot_references, model=model)


def quoted(attestation: Attestation) -> tuple[Quote, Pcrs]:
    """The quote and the PCR values that it covers, once its signature and digest hold.

    Whose attestation key signed it is another question. Raises IdentityRefused (`attestation-invalid`).
    """
    ak, content = read_ak(attestation.ak_public), decode(attestation.quote, "quote")
    check_signature(attestation.signature, content, ak)
    quote, pcrs = read_quote(content), read_pcrs(attestation.pcrs)
    check_digest(quote, pcrs, hash_alg=ak.hash_alg)
    return quote, pcrs


def qualifying_data(nonce: str) -> bytes:
    """What a device gives to TPM2_Quote for this challenge."""
    return hashlib.sha256(nonce.encode()).digest()


def _check_bound(attestation: Attestation, keys: tuple[str, str], challenge: Challenge | None) -> str:
    """The challenge's credential must have been made for these two keys, and recovered. The challenge's nonce.

    Both keys count: a TPM of one's own recovers a secret, but not one that was made for the TPM of another certificate.
    """
    if challenge is None:
        raise invalid("The quote answers no challenge")
    if not challenge.activation:
        raise invalid("The challenge held no credential for a TPM")
    if not _same(keys[0], challenge.ek_fingerprint):
        raise invalid("The endorsement key is another than the one that the challenge was made for")
    if not _same(keys[1], challenge.ak_name):
        raise invalid("The attestation key is another than the one that the challenge was made for")
    if not _same(attestation.activation, challenge.activation):
        raise invalid("The TPM did not recover the challenge's secret: the attestation key is not proven to be in it")
    return challenge.nonce


def _same(told: str, known: str) -> bool:
    """Compare hex in constant time."""
    return hmac.compare_digest(told.encode(), known.lower().encode())
