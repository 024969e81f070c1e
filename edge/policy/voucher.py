"""Ownership vouchers: whose a serial number is, said and signed before the device is seen.

The fields are those of RFC 8366, as JSON, with two of our own; the signature is a compact JWS whose header carries the
signer's certificates (`x5c`). A manufacturer, or whoever it sells through, makes them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import jwt
import orjson
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, ValidationError

from edge.errors import IdentityRefused, InvalidInput
from edge.model.admission import Ownership, OwnershipKind
from edge.model.base import Value
from edge.model.identity import Refusal
from edge.model.names import TenantName
from edge.policy.chain import MAX_CERTIFICATES, ChainRefused, verified_chain
from edge.policy.identity import MIN_RSA_BITS, UNREADABLE, extension_of, trusted_certificates

MEMBER: Final = "ietf-voucher:voucher"
TYPE: Final = "voucher-jws+json"
_REMEDY = "Ask whoever issued the voucher for a new one"
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class Voucher(Value):
    """The content. Members that RFC 8366 knows and that decide nothing here are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_by_name=True, validate_by_alias=True)

    created_on: AwareDatetime = Field(alias="created-on")
    expires_on: AwareDatetime | None = Field(default=None, alias="expires-on")
    assertion: str = Field(default="logged", max_length=32)
    serial_number: str = Field(alias="serial-number", min_length=1, max_length=128)
    nonce: str = Field(default="", max_length=128)
    tenant: TenantName = Field(alias="edge-platform:tenant")
    endorsement_key: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")] = Field(
        default="", alias="edge-platform:endorsement-key"
    )
    """SHA-256 in hex of the public endorsement key of the device's TPM; empty: any."""


def read_voucher(text: str, *, anchors: Sequence[str], now: datetime) -> Ownership:
    """What a voucher says that is good now. Raises as `verified_voucher`, and with voucher-expired past its end."""
    said = verified_voucher(text, anchors=anchors, now=now)
    refuse_expired(said, now)
    return said


def refuse_expired(ownership: Ownership, now: datetime) -> None:
    """Raise IdentityRefused (`voucher-expired`) when the voucher's time is over."""
    if ownership.expires_at is not None and ownership.expires_at <= now:
        what = f"The voucher expired on {ownership.expires_at:%Y-%m-%d %H:%M} UTC"
        raise IdentityRefused(what, remedy=_REMEDY, reason=Refusal.VOUCHER_EXPIRED)


def verified_voucher(text: str, *, anchors: Sequence[str], now: datetime) -> Ownership:
    """What a voucher says, expired or not, once its signature holds and its signer leads to a trusted one.

    `anchors` are PEM texts. Its id is the digest of its content: signed a second time, it is the same voucher. Raises
    IdentityRefused (`voucher-invalid`), InvalidInput when an anchor cannot be read.
    """
    trusted = trusted_certificates(tuple(anchors))
    try:
        signer, between = _signers(text)
        _check_may_sign(signer, now)
        if signer not in trusted:
            verified_chain(signer, between, anchors=trusted, now=now)
        content = _content(text, signer)
        said = Voucher.model_validate(orjson.loads(content)[MEMBER])
    except ChainRefused as error:
        raise _invalid(f"The voucher's signer is not trusted: {error}") from error
    except (jwt.InvalidTokenError, ValidationError, KeyError, binascii.Error, *UNREADABLE) as error:
        raise _invalid("The voucher cannot be read, or was tampered with") from error
    return Ownership(
        ownership_id=f"voucher:{hashlib.sha256(content).hexdigest()[:32]}",
        serial=said.serial_number,
        tenant=said.tenant,
        kind=OwnershipKind.VOUCHER,
        issuer=signer.subject.rfc4514_string()[:200],
        created_at=said.created_on,
        expires_at=said.expires_on,
        ek_fingerprint=said.endorsement_key,
    )


def issue_voucher(voucher: Voucher, key: Any, certificates: Sequence[x509.Certificate]) -> str:
    """Sign a voucher. `key` is the private key of the first certificate. Raises InvalidInput for another kind."""
    content = orjson.dumps({MEMBER: voucher.model_dump(mode="json", by_alias=True, exclude_none=True)})
    chain = [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in certificates]
    algorithms = _algorithms(key.public_key())
    if not algorithms:
        raise InvalidInput("A key of this kind signs no vouchers", field="key", value=type(key).__name__)
    return jwt.PyJWS().encode(content, key, algorithm=algorithms[0], headers={"x5c": chain, "typ": TYPE})


def _signers(text: str) -> tuple[x509.Certificate, list[x509.Certificate]]:
    header: Mapping[str, Any] = jwt.get_unverified_header(text)
    chain = header.get("x5c")
    if not isinstance(chain, list) or not 1 <= len(chain) <= MAX_CERTIFICATES:
        raise _invalid("The voucher does not carry its signer's certificates")
    signer, *between = [x509.load_der_x509_certificate(base64.b64decode(str(one), validate=True)) for one in chain]
    return signer, between


def _check_may_sign(signer: x509.Certificate, now: datetime) -> None:
    """Dates, for a signer that is trusted itself, and use, which the verifier of chains leaves to its callers."""
    if not signer.not_valid_before_utc <= now <= signer.not_valid_after_utc:
        raise _invalid("The signer's certificate has expired, or is not valid yet")
    usage = extension_of(signer, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise _invalid("The signer's certificate does not allow signatures")
    if _is_device(signer):
        raise _invalid("The signer's certificate is a device's: a device does not say whose a device is")


def _is_device(signer: x509.Certificate) -> bool:
    """A client's, or one as IEEE 802.1AR has it: with the device's serial number and without an extended key usage.

    Else every device of a manufacturer whose authority is trusted for vouchers, too, could sign one.
    """
    purposes = extension_of(signer, x509.ExtendedKeyUsage)
    if purposes is not None:
        return set(purposes) == {ExtendedKeyUsageOID.CLIENT_AUTH}
    return bool(signer.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER))


def _content(text: str, signer: x509.Certificate) -> bytes:
    key: Any = signer.public_key()
    algorithms = _algorithms(key)
    if not algorithms:
        raise _invalid("The signer's key is of a kind that signs no vouchers")
    found: bytes = jwt.PyJWS().decode_complete(text, key, algorithms=algorithms)["payload"]
    return found


def _algorithms(key: object) -> list[str]:
    """Which algorithms a key may have signed with, none for a weak or an unknown kind: the header does not choose."""
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return [_CURVES[key.curve.name]]
    if isinstance(key, ed25519.Ed25519PublicKey):
        return ["EdDSA"]
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return ["RS256", "PS256"]
    return []


def _invalid(what: str) -> IdentityRefused:
    return IdentityRefused(what, remedy=_REMEDY, reason=Refusal.VOUCHER_INVALID)
