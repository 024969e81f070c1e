"""A burst of devices: most are in order, some are bad in ways of their own, and some meet an Azure in trouble.

Used by the tests that run on each change and by those that soak; nothing here knows how the platform works inside.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.local.platform import Addresses
from edge.clients.arc import ArcClient
from edge.clients.azure_identity import default_credential
from edge.clients.helm import agents_found
from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.lab.belongings import equipped
from edge.lab.device import LabDevice, gateway_client, send
from edge.ledger import Ledger
from edge.model.device import DeviceState
from edge.model.outcome import Outcome
from edge.model.step import StepRecord
from edge.policy.revocation import read_crl
from tests.bad_devices import TENANT, Events, Maker, events_of, refusal_of, registers

SENDERS = 4
TOGETHER = 20
ENDED = (DeviceState.CONNECTED, DeviceState.QUARANTINED)
LAB_RULES = Path(__file__).parents[1] / "deployments" / "environments" / "lab" / "assignment.yaml"

FAULTS: dict[str, dict[str, Any]] = {
    "429": {"kind": "refuse", "status": 429, "code": "TooManyRequests", "retry_after": 1, "times": 5},
    "409": {"kind": "refuse", "status": 409, "code": "Conflict"},
    "500": {"kind": "refuse", "status": 500, "times": 5},
    "failed": {"kind": "fail", "code": "QuotaExceeded", "message": "The quota of connected clusters is used up."},
    "silent": {"kind": "silent"},
    "silent and acts": {"kind": "silent", "acts": True},
}
"""What Azure does to a device's PUT. A failed operation is the one that does not pass by itself."""

LASTING_FAULTS = frozenset({"failed"})


@dataclass(frozen=True)
class Member:
    """One device of the burst: its site, the reason for which it must be refused, and what Azure does to it."""

    device: LabDevice
    site: str
    refused: str = ""
    fault: str = ""
    events: Events = registers

    @property
    def name(self) -> str:
        return self.device.device_id


@dataclass
class Burst:
    """The devices and, once it was sent, its events: the same can be sent again."""

    members: list[Member]
    revocation_list: str = ""
    """What the lab's manufacturer has taken back, PEM."""
    anchors: tuple[str, ...] = ()
    doubles: list[tuple[str, str]] = field(default_factory=list)
    """Devices with one serial number and one voucher, of which only the first to be looked at may come in."""
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

    def tell_revoked(self, ledger: Ledger) -> None:
        """Give the platform the manufacturer's list, as an operator does."""
        ledger.revocations.put_list(read_crl(self.revocation_list, anchors=self.anchors, now=datetime.now(UTC)))

    def send(self, url: str, token: str) -> dict[str, int]:
        """Register all of them, in any order and several at once; answers what the gateway took, summed up."""
        if not self.events:
            with gateway_client(url, token) as gateway, ThreadPoolExecutor(SENDERS) as pool:
                self.events = list(pool.map(lambda one: one.events(gateway, one.device), self.members))
        return post(url, token, self.events)

    def judge_doubles(self, ledger: Ledger) -> None:
        """Once they have ended: of each pair the one that is not in is the bad one, whoever it is."""
        for pair in self.doubles:
            late = [name for name in pair if ledger.devices.get(name).state is not DeviceState.CONNECTED]
            assert len(late) == 1, f"{late} of {pair} are not in"
            places = {member.name: place for place, member in enumerate(self.members)}
            self.members[places[late[0]]] = replace(self.members[places[late[0]]], refused="voucher-used")


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
    share: float = 0.0,
    ways: Sequence[str] = (),
) -> Burst:
    """A burst over these sites: a `share` of them bad, and as many in front of a bad Azure.

    At least one is bad in each of `ways`; with a share, at least one meets each of Azure's faults, and two have one
    voucher. Of the good ones some show a voucher, and some a TPM.
    """
    bad_count = max(round(len(sites) * share), len(ways)) if ways else 0
    fault_count = max(round(len(sites) * share), len(FAULTS)) if share else 0
    chosen = random.Random(seed).sample(range(len(sites)), bad_count + fault_count + (2 if share else 0))
    bad = {place: ways[number % len(ways)] for number, place in enumerate(chosen[:bad_count])}
    faults = list(FAULTS)
    faulty = {place: faults[number % len(faults)] for number, place in enumerate(chosen[bad_count:][:fault_count])}
    maker = Maker(lab, folder)
    made = []
    for place, site in enumerate(sites):
        if place in bad:
            device = maker.device(site, bad[place])
            made.append(Member(device, site["name"], refusal_of(bad[place]), events=events_of(maker, bad[place])))
        else:
            made.append(Member(_good_device(lab, site, place), site["name"], fault=faulty.get(place, "")))
    burst = Burst(made, revocation_list=maker.revocation_list(), anchors=maker.anchors())
    if share:
        _make_doubles(burst, maker, sites, chosen[-2:])
    random.Random(seed + 1).shuffle(burst.members)
    return burst


def _good_device(lab: dict[str, Any], site: dict[str, Any], place: int) -> LabDevice:
    return equipped(lab, site, tenant=TENANT if place % 3 == 1 else "", tpm=place % 3 == 2)


def _make_doubles(burst: Burst, maker: Maker, sites: Sequence[dict[str, Any]], places: Sequence[int]) -> None:
    """The first has a voucher, and the second says with a good certificate that it is the same machine."""
    first, second = places
    burst.members[first] = Member(equipped(maker.lab, sites[first], tenant=TENANT), sites[first]["name"])
    double = maker.double(sites[second], burst.members[first].device)
    burst.members[second] = Member(double, sites[second]["name"])
    burst.doubles.append((burst.members[first].name, burst.members[second].name))


def strict_rules(folder: Path) -> Path:
    """The lab's assignment rules without the one that gives a device to whatever tenant its voucher names."""
    rules = yaml.safe_load(LAB_RULES.read_text())
    rules["rules"] = [rule for rule in rules["rules"] if rule["tenant"] == TENANT]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "strict-rules.yaml"
    file.write_text(yaml.safe_dump(rules))
    return file


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


def in_azure(addresses: Addresses) -> dict[str, str]:
    """The connected clusters that there are in Azure: public key by name."""
    azure, ca_file = addresses.lab["azure"], addresses.lab["ca_file"]
    with pytest.MonkeyPatch.context() as env:
        for name, value in azure["env"].items():
            env.setenv(name, value)
        credential = default_credential(ca_file)
        with ArcClient(azure["endpoint"], azure["subscription_id"], credential, ca_file=ca_file) as client:
            return {one.resource_id.rpartition("/")[2]: one.public_key for one in client.list()}


def on_site(addresses: Addresses, site: str) -> tuple[set[str], str | None]:
    """The namespaces on a site that the platform or Azure's agents made, and the public key of the agents."""
    kubeconfig = Path(addresses.lab["kubeconfigs"]) / f"{site}.kubeconfig"
    with SiteClient(read_kubeconfig(kubeconfig), site=site) as client:
        names = {space["metadata"]["name"] for space in client.list("v1", "Namespace")}
        made = {name for name in names if name.startswith(("tenant-", "azure-arc", "edge-"))}
        return made, agents_found(client).public_key


def check_left(addresses: Addresses, ledger: Ledger, burst: Burst) -> None:
    """Of who is in there is one resource, with the key that the agents hold; of the others there is nothing at all."""
    found, states = in_azure(addresses), {device.device_id: device for device in ledger.devices.list()}
    connected = {device.site for device in states.values() if device.state is DeviceState.CONNECTED}
    assert set(found) == connected
    for member in burst.members:
        made, key = on_site(addresses, member.site)
        if states[member.name].state is DeviceState.CONNECTED:
            assert key == found[member.site], member
        else:
            assert (made, key) == (set(), None), member


def onboarding_steps(ledger: Ledger) -> tuple[StepRecord, ...]:
    """Every step and every try of every onboarding."""
    return ledger.steps.fleet("onboarding:") + ledger.steps.fleet("attempt:")


def reason_of(outcome: Outcome) -> str:
    """The reason code on record of how a device did."""
    return outcome.cause.reason if outcome.cause else ""
