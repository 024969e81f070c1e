"""A TPM 2.0 in software: enough of one to prove a device's boot to the platform, and to be caught when it lies.

It makes the same structures that a real TPM makes, with its own keys; nothing about the check is easier for it. Its
state is its keys and its PCRs. The keys are EC P-256 unless RSA is asked for: a thousand of them must cost little.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from edge.errors import InvalidInput
from edge.lab.ca import Authority, write_secret
from edge.model.device import Attestation
from edge.policy.tpm import qualifying_data
from edge.policy.tpm_credential import coordinate, integrity, kdfe, oaep, unprotect
from edge.policy.tpm_ek import EK_PURPOSE, EkPublic, protection
from edge.policy.tpm_key import Alg, Attribute, key_name
from edge.policy.tpm_quote import BANKS, MAGIC, QUOTE
from edge.policy.tpm_wire import Reader, decode, number, sized

EkPrivate = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

BOOT_PCRS: Final = tuple(range(8))
"""What the firmware measures before the operating system runs; quoted unless others are asked for."""

_BANK: Final = "sha256"
_P256: Final = 0x0003
_PCRS: Final = 24
_AK_ATTRIBUTES: Final = (
    Attribute.FIXED_TPM
    | Attribute.FIXED_PARENT
    | Attribute.SENSITIVE_DATA_ORIGIN
    | Attribute.USER_WITH_AUTH
    | Attribute.RESTRICTED
    | Attribute.SIGN
)
_MAKER: Final = (("2.23.133.2.1", "id:4C414200"), ("2.23.133.2.2", "Edge Lab"), ("2.23.133.2.3", "id:00010000"))
"""Maker, model and version of a TPM, as the TCG's profile names them in the certificate."""


class SoftTpm:
    """One TPM: an endorsement key with its maker's certificate, an attestation key, and PCRs that begin at zero."""

    def __init__(self, ek: EkPrivate, ek_certificate: str, ak: ec.EllipticCurvePrivateKey) -> None:
        self._ek = ek
        self._ak = ak
        self._pcrs = dict.fromkeys(range(_PCRS), bytes(32))
        self._resets = 1
        self.ek_certificate = ek_certificate
        self._ak_public = _public_area(ak.public_key())
        self.ak_public = _text(self._ak_public)

    @classmethod
    def made_by(cls, maker: Authority, serial: str, *, with_rsa: bool = False) -> SoftTpm:
        """A new TPM whose endorsement key this maker certifies."""
        ek: EkPrivate = rsa.generate_private_key(65537, 2048) if with_rsa else ec.generate_private_key(ec.SECP256R1())
        certificate = endorsement_certificate(maker, ek.public_key(), serial)
        return cls(ek, certificate, ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def open(cls, stem: Path, maker: Authority, serial: str) -> SoftTpm:
        """The TPM whose keys are kept at `<stem>.ek.key`, `.ek.crt` and `.ak.key`; a new one when there is none.

        Raises InvalidInput when the files are broken. Its PCRs are those of a machine that was just switched on.
        """
        ek_file, certificate_file, ak_file = (Path(f"{stem}.{end}") for end in ("ek.key", "ek.crt", "ak.key"))
        if not certificate_file.exists():
            made = cls.made_by(maker, serial)
            write_secret(ek_file, _pem(made._ek))
            write_secret(ak_file, _pem(made._ak))
            certificate_file.write_text(made.ek_certificate)
            return made
        ek, ak = _load(ek_file), _load(ak_file)
        if not isinstance(ek, EkPrivate) or not isinstance(ak, ec.EllipticCurvePrivateKey):
            raise InvalidInput("The TPM's keys are of a kind that it has not", file=ek_file)
        return cls(ek, certificate_file.read_text(), ak)

    def boot(self, measured: Mapping[int, Sequence[bytes]]) -> None:
        """Switch on and measure a boot chain: per PCR what is measured, in order."""
        self.reset()
        for index, parts in measured.items():
            for part in parts:
                self.extend(index, part)

    def extend(self, index: int, measured: bytes) -> None:
        """Extend a PCR by the SHA-256 of what was measured, as a boot chain does."""
        digest = hashlib.sha256(measured).digest()
        self._pcrs[index] = hashlib.sha256(self._pcrs[index] + digest).digest()

    def reset(self) -> None:
        """Start anew, as at power-on: every PCR is zero again."""
        self._pcrs = dict.fromkeys(range(_PCRS), bytes(32))
        self._resets += 1

    def activate(self, id_object: str, secret: str) -> bytes:
        """TPM2_ActivateCredential: the secret, when it was wrapped for this TPM and this attestation key.

        Raises InvalidInput otherwise, IdentityRefused when a structure is malformed.
        """
        how, name = protection(self._ek.public_key()), key_name(Alg.SHA256, self._ak_public)
        shared = self._shared(_inner(secret, "encrypted secret"))
        blob = Reader(_inner(id_object, "credential"), "credential")
        told = blob.sized(64)
        encrypted = blob.rest()
        if not hmac.compare_digest(told, integrity(how, shared, encrypted + name)):
            raise InvalidInput("The credential was made for another TPM or another attestation key")
        opened = Reader(unprotect(how, shared, name, encrypted), "credential")
        return opened.sized(64)

    def attest(self, nonce: str, *, activation: str = "", pcrs: Sequence[int] = BOOT_PCRS) -> Attestation:
        """TPM2_Quote over these PCRs for a challenge's nonce, with all that the platform wants to see."""
        quote = self._quote(qualifying_data(nonce), sorted(pcrs))
        return Attestation(
            ek_certificate=self.ek_certificate,
            ak_public=self.ak_public,
            quote=_text(quote),
            signature=_text(self._signature(quote)),
            pcrs={_BANK: {str(index): self._pcrs[index].hex() for index in pcrs}},
            activation=activation,
        )

    def _shared(self, wrapped: bytes) -> bytes:
        how = protection(self._ek.public_key())
        try:
            if isinstance(self._ek, rsa.RSAPrivateKey):
                return self._ek.decrypt(wrapped, oaep(how))
            return self._agreed(self._ek, wrapped)
        except ValueError as error:
            raise InvalidInput("The credential was made for another TPM") from error

    @staticmethod
    def _agreed(ek: ec.EllipticCurvePrivateKey, wrapped: bytes) -> bytes:
        reader, ours = Reader(wrapped, "encrypted secret"), ek.public_key()
        x, y = (int.from_bytes(reader.sized(66), "big") for _ in "xy")
        theirs = ec.EllipticCurvePublicNumbers(x, y, ours.curve).public_key()
        agreed = ek.exchange(ec.ECDH(), theirs)
        return kdfe(protection(ours), agreed, coordinate(x, ours), coordinate(ours.public_numbers().x, ours))

    def _quote(self, extra_data: bytes, pcrs: Sequence[int]) -> bytes:
        digest = hashlib.sha256(b"".join(self._pcrs[index] for index in pcrs)).digest()
        bits = sum(1 << index for index in pcrs).to_bytes(3, "little")
        bank = next(alg for alg, name in BANKS.items() if name == _BANK)
        clock = number(1000, 8) + number(self._resets, 4) + number(0, 4) + number(1, 1)
        selection = number(1, 4) + number(bank, 2) + number(len(bits), 1) + bits
        head = number(MAGIC, 4) + number(QUOTE, 2) + sized(key_name(Alg.SHA256, self._ak_public)) + sized(extra_data)
        return head + clock + number(0x0001_0000, 8) + selection + sized(digest)

    def _signature(self, quote: bytes) -> bytes:
        parts = decode_dss_signature(self._ak.sign(quote, ec.ECDSA(hashes.SHA256())))
        return number(Alg.ECDSA, 2) + number(Alg.SHA256, 2) + b"".join(sized(number(part, 32)) for part in parts)


def endorsement_certificate(maker: Authority, key: EkPublic, serial: str) -> str:
    """A maker's certificate for an endorsement key, PEM: as the TCG's profile has it, with an empty subject."""
    names = [x509.NameAttribute(x509.ObjectIdentifier(oid), value) for oid, value in _MAKER]
    names.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
    purpose = x509.ExtendedKeyUsage([EK_PURPOSE])
    by = maker.certificate
    return maker.sign(
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(by.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(by.not_valid_before_utc)
        .not_valid_after(by.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([x509.DirectoryName(x509.Name(names))]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(agrees=isinstance(key, ec.EllipticCurvePublicKey)), critical=True)
        .add_extension(purpose, critical=False)
    )


def _usage(*, agrees: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        key_encipherment=not agrees,
        key_agreement=agrees,
        key_cert_sign=False,
        crl_sign=False,
        content_commitment=False,
        data_encipherment=False,
        encipher_only=False,
        decipher_only=False,
    )


def _public_area(key: ec.EllipticCurvePublicKey) -> bytes:
    """TPMT_PUBLIC of a restricted signing key on P-256."""
    point = key.public_numbers()
    head = number(Alg.ECC, 2) + number(Alg.SHA256, 2) + number(_AK_ATTRIBUTES, 4) + sized(b"")
    scheme = number(Alg.NULL, 2) + number(Alg.ECDSA, 2) + number(Alg.SHA256, 2)
    return (
        head + scheme + number(_P256, 2) + number(Alg.NULL, 2) + sized(number(point.x, 32)) + sized(number(point.y, 32))
    )


def _inner(text: str, part: str) -> bytes:
    """The content of a TPM2B structure in base64."""
    reader = Reader(decode(text, part), part)
    content = reader.sized(1024)
    reader.end()
    return content


def _pem(key: EkPrivate) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load(file: Path) -> object:
    try:
        return load_pem_private_key(file.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidInput("The TPM's key cannot be read", file=file) from error


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
