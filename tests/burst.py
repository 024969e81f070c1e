"""A burst of devices: most are in order, some are bad in ways of their own, and some meet an Azure in trouble.

Used by the tests that run on each change and by those that soak; nothing here knows how the platform works inside.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.lab.ca import Authority
from edge.lab.device import LabDevice, ask_for_challenge, gateway_client, send
from edge.ledger import Ledger
from edge.model.device import DeviceState
from edge.model.outcome import Outcome
from edge.model.step import StepRecord

DAY = timedelta(days=1)
SENDERS = 4
TOGETHER = 20
ENDED = (DeviceState.CONNECTED, DeviceState.QUARANTINED)

FAULTS: dict[str, dict[str, Any]] = {
    "429": {"kind": "refuse", "status": 429, "code": "TooManyRequests", "retry_after": 1, "times": 5},
    "409": {"kind": "refuse", "status": 409, "code": "Conflict"},
    "500": {"kind": "refuse", "status": 500, "times": 5},
    "failed": {"kind": "fail", "code": "QuotaExceeded", "message": "The quota of connected clusters is used up."},
    "silent": {"kind": "silent"},
}
"""What Azure does to a device's PUT. A failed operation is the one that does not pass by itself."""

LASTING_FAULTS = frozenset({"failed"})


Events = Callable[[httpx.Client, LabDevice], list[dict[str, Any]]]


@dataclass(frozen=True)
class Member:
    """One device of the burst: its site, the reason for which it must be refused, and what Azure does to it."""

    device: LabDevice
    site: str
    refused: str = ""
    fault: str = ""
    events: Events | None = None
    """How it registers, when not as any device does."""

    @property
    def name(self) -> str:
        return self.device.device_id


@dataclass
class Burst:
    """The devices and, once it was sent, its events: the same can be sent again."""

    members: list[Member]
    events: list[list[dict[str, Any]]] = field(default_factory=list)
    """Of each device; they go together, in their order."""

    @property
    def good(self) -> list[Member]:
        return [member for member in self.members if not member.refused]

    @property
    def bad(self) -> list[Member]:
        return [member for member in self.members if member.refused]

    def lasting(self) -> list[Member]:
        """Those whom Azure fails for good: a person has to try them again."""
        return [member for member in self.members if member.fault in LASTING_FAULTS]

    def send(self, url: str, token: str) -> dict[str, int]:
        """Register all of them, in any order and several at once; answers what the gateway took, summed up."""
        if not self.events:
            with gateway_client(url, token) as gateway, ThreadPoolExecutor(SENDERS) as pool:
                self.events = list(pool.map(lambda one: (one.events or _registers)(gateway, one.device), self.members))
        return post(url, token, self.events)


def post(url: str, token: str, events: Sequence[list[dict[str, Any]]]) -> dict[str, int]:
    """Send events in requests of some, over several connections; the receipts summed up."""
    some = [list(chain(*events[start : start + TOGETHER])) for start in range(0, len(events), TOGETHER)]
    with gateway_client(url, token) as gateway, ThreadPoolExecutor(SENDERS) as pool:
        receipts = list(pool.map(lambda batch: send(gateway, batch), some))
    return {word: sum(receipt[word] for receipt in receipts) for word in receipts[0]}


def make_burst(
    lab: dict[str, Any],
    sites: Sequence[dict[str, Any]],
    folder: Path,
    *,
    seed: int,
    share: float = 0.1,
    ways: Sequence[str] = (),
) -> Burst:
    """A burst over these sites: a `share` of them bad, each in the next way, and as many in front of a bad Azure.

    With `ways` there is at least one for each of them, and one for each of Azure's faults.
    """
    share_of = round(len(sites) * share)
    names, kinds = ways or BAD_WAYS, list(FAULTS)
    bad_count, fault_count = max(share_of, len(ways)), max(share_of, len(kinds) if ways else 0)
    chosen = random.Random(seed).sample(range(len(sites)), bad_count + fault_count)
    bad = {place: names[number % len(names)] for number, place in enumerate(chosen[:bad_count])}
    faulty = {place: kinds[number % len(kinds)] for number, place in enumerate(chosen[bad_count:])}
    maker = Maker(lab, folder)
    members = []
    for place, site in enumerate(sites):
        if place in bad:
            members.append(maker.bad(site, bad[place]))
        else:
            members.append(Member(LabDevice.of_lab(lab, site), site["name"], fault=faulty.get(place, "")))
    random.Random(seed + 1).shuffle(members)
    return Burst(members)


def set_faults(ask: Callable[..., Any], burst: Burst) -> None:
    """Put Azure's troubles in force, each for its site alone."""
    for member in burst.members:
        if member.fault:
            path = f"*/connectedClusters/{member.site}"
            ask("POST", "/lab/azure/faults", {"path": path, "method": "PUT", **FAULTS[member.fault]})


def await_ended(ledger: Ledger, names: Iterable[str], *, within_s: float, also: Iterable[str] = ()) -> float:
    """Wait until these have ended, connected or quarantined, and those of `also` have failed; the seconds it took."""
    wanted, failed, began = set(names), set(also), time.monotonic()
    while time.monotonic() - began < within_s:
        states = {device.device_id: device.state for device in ledger.devices.list()}
        done = all(states.get(name) in ENDED for name in wanted)
        settled = all(states.get(name) in (*ENDED, DeviceState.FAILED) for name in failed)
        if done and settled and not ledger.leases.held("device:"):
            return time.monotonic() - began
        time.sleep(0.3)
    left = [f"{one.device_id} {one.state} {one.reason}" for one in ledger.devices.list() if one.device_id in wanted]
    open_ones = "\n".join(said for said in left if " connected" not in said and " quarantined" not in said)
    raise AssertionError(f"not within {within_s:g} s:\n{open_ones}")


def onboarding_steps(ledger: Ledger) -> tuple[StepRecord, ...]:
    """Every step and every try of every onboarding."""
    return ledger.steps.fleet("onboarding:") + ledger.steps.fleet("attempt:")


def reason_of(outcome: Outcome) -> str:
    """The reason code on record of how a device did."""
    return outcome.cause.reason if outcome.cause else ""


class Maker:
    """Makes bad devices with the lab's own authority, and with others."""

    def __init__(self, lab: dict[str, Any], folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.lab_ca = Authority.open(Path(lab["manufacturer"]["ca_file"]).with_suffix(""), "Lab")
        self.foreign = Authority.open(folder / "foreign", "Somebody else's factory")
        name = self.lab_ca.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        self.namesake = Authority.open(folder / "namesake", str(name))

    def bad(self, site: dict[str, Any], way: str) -> Member:
        """The device of this site, bad in this way."""
        make, refused = _WAYS[way]
        events = _EVENTS.get(way)
        device_id = site["device_id"]
        stem = self.folder / device_id
        key = ec.generate_private_key(ec.SECP256R1())
        pem = make(self, key, device_id)
        Path(f"{stem}.crt").write_text(pem)
        Path(f"{stem}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        device = LabDevice(device_id, stem)
        device.facts = LabDevice.of_lab(self.lab, site).facts
        return Member(device, site["name"], refused=refused, events=partial(events, self) if events else None)


def _registers(gateway: httpx.Client, device: LabDevice) -> list[dict[str, Any]]:
    return [device.event(ask_for_challenge(gateway, device))]


def _copied(_: Maker, gateway: httpx.Client, device: LabDevice) -> list[dict[str, Any]]:
    """Somebody has the certificate, which is no secret, and not its key."""
    device.key = ec.generate_private_key(ec.SECP256R1())
    return _registers(gateway, device)


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
    key, stem = ec.generate_private_key(ec.SECP256R1()), maker.folder / f"{device.device_id}-twin"
    Path(f"{stem}.crt").write_text(_signed(maker.lab_ca, key, device.device_id))
    Path(f"{stem}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    twin = LabDevice(device.device_id, stem, facts=device.facts)
    return [*_registers(gateway, device), *_registers(gateway, twin)]


_EVENTS: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "copied certificate": _copied,
    "replayed nonce": _replayed,
    "no proof": _unproven,
    "id with another key": _another_key,
}

Key = ec.EllipticCurvePrivateKey


def _leaf(
    key: Key,
    device_id: str,
    issuer: x509.Name,
    *,
    days: tuple[int, int] = (-1, 300),
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
) -> x509.CertificateBuilder:
    """A device's certificate before it is signed, valid from the first to the second day from now."""
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device_id)])
    bits = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    more = dict.fromkeys(("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
    return (
        x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **bits, **more), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(device_id.lower())]), critical=False)
    )


def _signed(authority: Authority, key: Key, device_id: str, **how: Any) -> str:
    return authority.sign(_leaf(key, device_id, authority.certificate.subject, **how))


def _good(maker: Maker, key: Key, device_id: str) -> str:
    return _signed(maker.lab_ca, key, device_id)


def _self_signed(_: Maker, key: Key, device_id: str) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device_id)])
    return _leaf(key, device_id, name).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _over_long(maker: Maker, key: Key, device_id: str) -> str:
    others = maker.foreign.certificate.public_bytes(Encoding.PEM).decode()
    return _signed(maker.lab_ca, key, device_id) + 4 * others


_WAYS: dict[str, tuple[Callable[[Maker, Key, str], str], str]] = {
    "expired": (lambda maker, key, name: _signed(maker.lab_ca, key, name, days=(-30, -1)), "expired"),
    "not yet valid": (lambda maker, key, name: _signed(maker.lab_ca, key, name, days=(1, 30)), "not-yet-valid"),
    "self-signed": (_self_signed, "unknown-issuer"),
    "wrong usage": (
        lambda maker, key, name: _signed(maker.lab_ca, key, name, usage=ExtendedKeyUsageOID.SERVER_AUTH),
        "wrong-usage",
    ),
    "another manufacturer": (lambda maker, key, name: _signed(maker.foreign, key, name), "unknown-issuer"),
    "a manufacturer's namesake": (lambda maker, key, name: _signed(maker.namesake, key, name), "bad-chain"),
    "over-long chain": (_over_long, "bad-chain"),
    "copied certificate": (_good, "proof-failed"),
    "replayed nonce": (_good, "replayed"),
    "no proof": (_good, "proof-missing"),
    "id with another key": (_good, "key-changed"),
    "another device's certificate": (
        lambda maker, key, name: _signed(maker.lab_ca, key, f"{name}-other"),
        "wrong-name",
    ),
}
BAD_WAYS = tuple(_WAYS)
