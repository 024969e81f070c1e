"""A device's life after it came in: sold, reset, lost and replaced. What is left behind is read, not believed.

The tests of this file are one story in order, over sites of their own: each run of a flow costs seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.clients.arc import ArcClient
from edge.clients.helm import agents_found
from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.lab.belongings import equipped
from edge.lab.device import LabDevice
from edge.ledger import Ledger
from edge.model.arc import AgentsOnCluster, ArcTarget
from edge.model.device import DeviceState
from edge.model.site import SiteState
from edge.policy.baseline import MANAGED_BY
from edge.policy.identity import key_fingerprint

SOLD, SOLD_SITE = "dev-0007", "site-0007"
OLD, OLD_SITE, NEW = "dev-0008", "site-0008", "dev-0009"


class Plant:
    """Two devices, their clusters by kubeconfigs that nobody takes away, and the platform's commands."""

    def __init__(self, platform: Any, ledger: Ledger, folder: Path, until: Any) -> None:
        self.platform, self.ledger, self.until = platform, ledger, until
        self.sites = {site["device_id"]: site for site in platform.addresses.lab["sites"]}
        self.kubeconfigs = {name: folder / f"{name}.kubeconfig" for name in (SOLD_SITE, OLD_SITE)}
        for name, file in self.kubeconfigs.items():
            if not file.exists():
                file.write_text(self.credential(name).read_text())

    def credential(self, site: str) -> Path:
        """Where the platform keeps the site's credential."""
        return Path(self.platform.addresses.lab["kubeconfigs"]) / f"{site}.kubeconfig"

    def give_back(self, site: str) -> None:
        """What a new owner hands over: the credential of the cluster."""
        self.credential(site).write_text(self.kubeconfigs[site].read_text())

    def register(self, device: str, tenant: str = "") -> None:
        """The device registers itself, with a voucher for the tenant."""
        addresses = self.platform.addresses
        made: LabDevice = equipped(addresses.lab, self.sites[device], tenant=tenant)
        made.register_over_http(addresses.gateway, addresses.gateway_token_file.read_text())

    def await_state(self, device: str, state: DeviceState, life: int) -> Any:
        """The device, when it is in this state in this life."""

        def there() -> Any:
            found = self.ledger.devices.get(device)
            return found if (found.state, found.generation) == (state, life) else None

        return self.until(there, f"{device} is {state} in its life {life}")

    def edge(self, *words: str, good: bool = True) -> Any:
        """The JSON of a command."""
        done = self.platform.edge(*words, "--json")
        assert (done.returncode == 0) is good, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kubeconfigs")


@pytest.fixture
def plant(platform: Any, ledger: Ledger, folder: Path, until: Any) -> Plant:
    return Plant(platform, ledger, folder, until)


@pytest.fixture
def cluster(plant: Plant) -> Iterator[SiteClient]:
    """The sold device's cluster, seen with a credential that is not the platform's."""
    with SiteClient(read_kubeconfig(plant.kubeconfigs[SOLD_SITE]), site=SOLD_SITE) as client:
        yield client


def tenants_on(client: SiteClient) -> set[str]:
    """The tenants that have a namespace on the cluster."""
    label = "edge-platform.io/tenant"
    spaces = client.list("v1", "Namespace", labels=label)
    return {space["metadata"]["labels"][label] for space in spaces}


def in_azure(platform: Any, arc: ArcClient, site: str) -> bool:
    azure = platform.addresses.lab["azure"]
    places = {"resource_group": azure["resource_group"], "location": azure["location"]}
    return arc.get(ArcTarget(subscription_id=azure["subscription_id"], name=site, **places)) is not None


def test_a_decommissioned_device_leaves_nothing_and_each_step_is_proven(
    plant: Plant, cluster: SiteClient, arc: ArcClient
) -> None:
    plant.register(SOLD, tenant="factory")
    plant.register(OLD)
    plant.await_state(SOLD, DeviceState.CONNECTED, 1)
    assert tenants_on(cluster) == {"factory"}

    proof = plant.edge("device", "decommission", SOLD, "--reason", "sold", "--yes")
    assert (proof["owed"], proof["site"], proof["tenant"]) == ([], SOLD_SITE, "factory")
    assert all(step["looked_at"] and step["found"] for step in proof["steps"])
    assert plant.edge("device", "proof", SOLD) == proof

    left = plant.ledger.devices.get(SOLD)
    assert (left.state, left.site, left.tenant) == (DeviceState.DECOMMISSIONED, None, None)
    assert plant.ledger.sites.get(SOLD_SITE).state is SiteState.DECOMMISSIONED
    assert not plant.credential(SOLD_SITE).exists()
    assert not in_azure(plant.platform, arc, SOLD_SITE)
    assert agents_found(cluster).state is AgentsOnCluster.ABSENT
    assert tenants_on(cluster) == set()
    managed = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())
    for api, kind in (("v1", "ServiceAccount"), ("rbac.authorization.k8s.io/v1", "ClusterRole")):
        assert list(cluster.list(api, kind, labels=managed)) == []
    assert {"key.revoked", "ownership.ended", "device.released"} <= {
        entry.action for entry in plant.ledger.audit.entries(limit=10_000)
    }


def test_a_new_owners_voucher_brings_it_in_there_and_the_old_owner_has_nothing(
    plant: Plant, cluster: SiteClient, arc: ArcClient
) -> None:
    plant.give_back(SOLD_SITE)
    plant.register(SOLD, tenant="buyer")
    sold = plant.await_state(SOLD, DeviceState.CONNECTED, 2)
    assert (sold.tenant, sold.site) == ("buyer", SOLD_SITE)
    assert tenants_on(cluster) == {"buyer"}
    assert in_azure(plant.platform, arc, SOLD_SITE)
    standing = [
        one.tenant for one in plant.ledger.ownerships.of_serial(sold.registration.facts.serial) if not one.ended_at
    ]
    assert standing == ["buyer"]


def test_after_a_reset_it_begins_anew_at_its_site_when_it_registers_again(plant: Plant, cluster: SiteClient) -> None:
    (begun,) = plant.edge("device", "reset", SOLD, "--yes")
    assert (begun["state"], begun["generation"], begun["site"]) == (DeviceState.REGISTERED, 3, SOLD_SITE)
    plant.register(SOLD, tenant="buyer")
    assert plant.await_state(SOLD, DeviceState.CONNECTED, 3).site == SOLD_SITE
    assert tenants_on(cluster) == {"buyer"}
    works = {record.key.work for record in plant.ledger.steps.fleet(f"onboarding:{SOLD}:")}
    assert {work.split(":")[2] for work in works} == {"1", "2", "3"}


def test_a_lost_device_is_replaced_in_place_and_its_wipe_stays_owed(plant: Plant, arc: ArcClient) -> None:
    plant.await_state(OLD, DeviceState.CONNECTED, 1)
    before = plant.ledger.sites.get(OLD_SITE)
    assert plant.platform.edge("lab", "fault", OLD_SITE, "offline").returncode == 0
    (left,) = plant.edge("device", "replace", OLD, NEW, "--lost", "--yes")
    assert (left["state"], left["site"]) == (DeviceState.DECOMMISSIONED, None)
    assert not in_azure(plant.platform, arc, OLD_SITE)

    assert plant.platform.edge("lab", "fault", OLD_SITE, "none").returncode == 0
    plant.give_back(OLD_SITE)
    plant.register(NEW)
    came = plant.await_state(NEW, DeviceState.CONNECTED, 1)
    after = plant.ledger.sites.get(OLD_SITE)
    assert (came.site, came.tenant) == (OLD_SITE, before.tenant)
    assert after.model_copy(update={"state": before.state}) == before, "labels, stamp and region stay"
    assert in_azure(plant.platform, arc, OLD_SITE)

    proof = plant.edge("device", "proof", OLD)
    assert (proof["lost"], proof["owed"]) == (True, ["wipe", "access"])
    assert all(step["owed"] for step in proof["steps"] if step["step"] in proof["owed"])
    assert plant.ledger.revocations.revoked([key_fingerprint(plant.ledger.devices.get(OLD).registration)])
