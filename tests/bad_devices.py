"""Devices that must not come in, each bad in a way of its own: made with the lab's authorities, and with others.

A way says how the device's certificate is made, what else it shows, how it registers, and the reason that must stand on
record for it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.lab import belongings
from edge.lab.ca import Authority
from edge.lab.device import LabDevice, ask_for_challenge
from edge.lab.tpm import SoftTpm

DAY = timedelta(days=1)
TENANT, OTHER_TENANT = "factory", "elsewhere"

Key = ec.EllipticCurvePrivateKey
Events = Callable[[httpx.Client, LabDevice], list[dict[str, Any]]]


class Leaf(NamedTuple):
    """What a device's certificate says."""

    key: Key
    device_id: str
    serial: str


class Maker:
    """Makes bad devices for the sites of one lab. Its files go to `folder`."""

    def __init__(self, lab: Mapping[str, Any], folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.lab_ca = self.authority("ca_file")
        self.foreign = Authority.open(folder / "foreign", "Somebody else's factory")
        name = self.lab_ca.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        self.namesake = Authority.open(folder / "namesake", str(name))
        self.revoked: list[int] = []

    def authority(self, file: str) -> Authority:
        """One of the lab's own."""
        return Authority.open(Path(self.lab["manufacturer"][file]).with_suffix(""), "Lab")

    def device(self, site: Mapping[str, Any], way: str) -> LabDevice:
        """The device of this site, bad in this way."""
        leaf = Leaf(ec.generate_private_key(ec.SECP256R1()), site["device_id"], site["serial"])
        return self._kept(site, leaf, _WAYS[way])

    def double(self, site: Mapping[str, Any], other: LabDevice) -> LabDevice:
        """A device of this site with the other's serial number and voucher: only one of the two may come in."""
        leaf = Leaf(ec.generate_private_key(ec.SECP256R1()), site["device_id"], other.facts.serial)
        made = self._kept(site, leaf, Way(""))
        made.voucher = other.voucher
        return made

    def revocation_list(self) -> str:
        """The lab's manufacturer takes back what is to be revoked: its list, PEM."""
        file = self.folder / "revoked.crl"
        self.lab_ca.revoke(file, self.revoked)
        return file.read_text()

    def anchors(self) -> tuple[str, ...]:
        """The manufacturer that is trusted, PEM."""
        return (self.lab_ca.cert_file.read_text(),)

    def keep(self, leaf: Leaf, certificate: str, suffix: str = "") -> Path:
        """Certificate and key as files; answers their stem."""
        stem = self.folder / f"{leaf.device_id}{suffix}"
        Path(f"{stem}.crt").write_text(certificate)
        Path(f"{stem}.key").write_bytes(leaf.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return stem

    def _kept(self, site: Mapping[str, Any], leaf: Leaf, way: Way) -> LabDevice:
        device = LabDevice(leaf.device_id, self.keep(leaf, way.certificate(self, leaf)))
        facts = LabDevice.of_lab(self.lab, site).facts
        device.facts = facts.model_copy(update={"serial": leaf.serial})
        if way.shows is not None:
            way.shows(self, device)
        return device


def refusal_of(way: str) -> str:
    """The reason for which a device that is bad in this way must be refused."""
    return _WAYS[way].refused


def events_of(maker: Maker, way: str) -> Events:
    """How it registers."""
    events = _WAYS[way].events
    return partial(events, maker) if events else registers


def registers(gateway: httpx.Client, device: LabDevice) -> list[dict[str, Any]]:
    """As any device does: it asks for a challenge and answers it."""
    return [device.event(ask_for_challenge(gateway, device))]


def _copied(_: Maker, gateway: httpx.Client, device: LabDevice) -> list[dict[str, Any]]:
    """Somebody has the certificate, which is no secret, and not its key."""
    device.key = ec.generate_private_key(ec.SECP256R1())
    return registers(gateway, device)


def _replayed(_: Maker, gateway: httpx.Client, device: LabDevice) -> list[dict[str, Any]]:
    """One challenge is answered twice, the second time with other facts."""
    challenge = ask_for_challenge(gateway, device)
    first = device.event(challenge)
    device.facts = device.facts.model_copy(update={"firmware": "9.9"})
    return [first, device.event(challenge)]


def _unproven(_: Maker, __: httpx.Client, device: LabDevice) -> list[dict[str, Any]]:
    return [device.event()]


def _another_key(maker: Maker, gateway: httpx.Client, device: LabDevice) -> list[dict[str, Any]]:
    """Two devices say that they are this one, each with a good certificate and its own key."""
    leaf = Leaf(ec.generate_private_key(ec.SECP256R1()), device.device_id, device.facts.serial)
    twin = LabDevice(device.device_id, maker.keep(leaf, _good(maker, leaf), "-twin"), facts=device.facts)
    return [*registers(gateway, device), *registers(gateway, twin)]


def _made(
    leaf: Leaf,
    issuer: x509.Name,
    *,
    days: tuple[int, int] = (-1, 300),
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
    name: str = "",
) -> x509.CertificateBuilder:
    """A device's certificate before it is signed, valid from the first to the second day from now."""
    now, common_name = datetime.now(UTC), name or leaf.device_id
    parts = ((NameOID.COMMON_NAME, common_name), (NameOID.SERIAL_NUMBER, leaf.serial))
    subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])
    bits = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    more = dict.fromkeys(("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
    return (
        x509.CertificateBuilder(issuer, subject, leaf.key.public_key(), x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **bits, **more), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(common_name.lower())]), critical=False)
    )


def _signed(authority: Authority, leaf: Leaf, **how: Any) -> str:
    return authority.sign(_made(leaf, authority.certificate.subject, **how))


def _good(maker: Maker, leaf: Leaf) -> str:
    return _signed(maker.lab_ca, leaf)


def _revoked(maker: Maker, leaf: Leaf) -> str:
    certificate = _good(maker, leaf)
    maker.revoked.append(x509.load_pem_x509_certificate(certificate.encode()).serial_number)
    return certificate


def _self_signed(_: Maker, leaf: Leaf) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, leaf.device_id)])
    return _made(leaf, name).sign(leaf.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _over_long(maker: Maker, leaf: Leaf) -> str:
    others = maker.foreign.certificate.public_bytes(Encoding.PEM).decode()
    return _good(maker, leaf) + 4 * others


def _voucher(maker: Maker, device: LabDevice, tenant: str) -> str:
    return belongings.voucher(maker.lab, device.device_id, serial=device.facts.serial, tenant=tenant)


def _of_another_tenant(maker: Maker, device: LabDevice) -> None:
    device.voucher = _voucher(maker, device, OTHER_TENANT)


def _tampered(maker: Maker, device: LabDevice) -> None:
    """The voucher of another tenant, in which somebody wrote the tenant whose rule would let the device in."""
    header, content, signature = _voucher(maker, device, OTHER_TENANT).split(".")
    said = orjson.loads(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))
    forged = orjson.dumps(said).replace(OTHER_TENANT.encode(), TENANT.encode())
    content = base64.urlsafe_b64encode(forged).rstrip(b"=").decode()
    device.voucher = f"{header}.{content}.{signature}"


def _booted_otherwise(maker: Maker, device: LabDevice) -> None:
    stem = maker.folder / device.device_id
    device.tpm = SoftTpm.open(stem, maker.authority("tpm_ca_file"), device.facts.serial)
    device.tpm.boot({**belongings.BOOT, 4: (b"somebody's boot loader",)})


class Way(NamedTuple):
    """One way to be bad."""

    refused: str
    certificate: Callable[[Maker, Leaf], str] = _good
    shows: Callable[[Maker, LabDevice], None] | None = None
    events: Callable[[Maker, httpx.Client, LabDevice], list[dict[str, Any]]] | None = None


def _by_lab(**how: Any) -> Callable[[Maker, Leaf], str]:
    return lambda maker, leaf: _signed(maker.lab_ca, leaf, **how)


_WAYS = {
    "expired": Way("expired", _by_lab(days=(-30, -1))),
    "not yet valid": Way("not-yet-valid", _by_lab(days=(1, 30))),
    "self-signed": Way("unknown-issuer", _self_signed),
    "wrong usage": Way("wrong-usage", _by_lab(usage=ExtendedKeyUsageOID.SERVER_AUTH)),
    "revoked": Way("revoked", _revoked),
    "over-long chain": Way("bad-chain", _over_long),
    "another manufacturer": Way("unknown-issuer", lambda maker, leaf: _signed(maker.foreign, leaf)),
    "a manufacturer's namesake": Way("bad-chain", lambda maker, leaf: _signed(maker.namesake, leaf)),
    "another device's certificate": Way("wrong-name", _by_lab(name="another-device")),
    "copied certificate": Way("proof-failed", events=_copied),
    "no proof": Way("proof-missing", events=_unproven),
    "replayed nonce": Way("replayed", events=_replayed),
    "id with another key": Way("key-changed", events=_another_key),
    "voucher for another tenant": Way("other-tenant", shows=_of_another_tenant),
    "tampered voucher": Way("voucher-invalid", shows=_tampered),
    "quote over other PCRs": Way("pcr-mismatch", shows=_booted_otherwise),
}
BAD_WAYS = tuple(_WAYS)
"""All but the one that takes two: a voucher that is shown by two devices with one serial number (`Maker.double`)."""
