"""A device is connected or its site is as before: what happens at the lab when an onboarding fails for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from blocks.admission import DeviceAdmission
from blocks.arc import ArcSubscription
from blocks.credentials import SiteCredentials
from edge.clients.helm import agents_found
from edge.clients.kubernetes import SiteClient
from edge.errors import EdgeError, NotYet, Rejected, SiteUnreachable
from edge.lab.device import LabDevice
from edge.ledger import Ledger
from edge.model.admission import Ownership, OwnershipKind
from edge.model.arc import AgentsOnCluster, ConnectedCluster, EgressCheck
from edge.model.device import Device, DeviceState
from edge.model.outcome import Outcome, Status
from edge.model.site import Site, SiteState
from edge.policy.onboarding import onboarding_work
from tasks.admission import assigned, identify, record_site
from tasks.arc import ArcConnection
from tasks.baseline import apply_baseline
from tasks.onboarding import onboard_devices
from tasks.onboarding_job import OnboardingJob
from tasks.taking_back import as_before_unless_in

RULES = "rules: [{name: all, when: 'true', site: 'site-${device.id}', stripPrefix: dev-, tenant: factory}]"
OTHER_CLASS: dict[str, Any] = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "edge-local"},
    "provisioner": "example.com/other",
}
"""The baseline's storage class with another provisioner, which nobody can change: the baseline fails for good."""

SYSTEM = {"default", "kube-system", "kube-public", "kube-node-lease"}
PAST_S = 2.5
"""Objects are told apart by when they were made, to the second."""


@dataclass
class Place:
    """One device of the lab with its site, a ledger, and runs of onboarding on them."""

    lab: Any
    ledger: Ledger
    arc: ArcConnection
    credentials: SiteCredentials
    device_id: str
    cluster: SiteClient

    @property
    def device(self) -> Device:
        return self.ledger.devices.get(self.device_id)

    @property
    def site(self) -> Site:
        return self.ledger.sites.get(self.cluster.site)

    @property
    def resource(self) -> ConnectedCluster | None:
        return self.arc.arc.get(self.arc.subscription.target(Site(name=self.cluster.site)))

    @property
    def namespaces(self) -> set[str]:
        found = self.cluster.list("v1", "Namespace")
        return {one["metadata"]["name"] for one in found if not one["metadata"].get("deletionTimestamp")}

    @property
    def steps(self) -> set[str]:
        return {record.key.step for record in self.ledger.steps.records(onboarding_work(self.device))}

    def job(self) -> OnboardingJob:
        makers = Path(self.lab.manufacturer.ca_file).read_text()
        admission = DeviceAdmission(trusted=makers, policy='proof: "off"', rules=RULES)
        return OnboardingJob(self.ledger, self.credentials, admission, self.arc)

    def onboard(self) -> Outcome:
        with disable_run_logger():
            (outcome,) = onboard_devices.fn(self.job(), (self.device_id,))
        return outcome

    @contextmanager
    def half_way(self) -> Iterator[Callable[..., EdgeError]]:
        """A run that has connected the site and put the baseline there; gives what lets its try fail."""
        job = self.job()
        with job.holding(self.device_id):
            self.ledger.devices.move(self.device_id, DeviceState.ONBOARDING)
            device = self.device
            self.ledger.steps.once(job.key(device, "identity"), partial(identify, job, device))
            site = assigned(job, device)
            self.ledger.steps.once(job.key(device, "assign"), partial(record_site, job, device, site))
            earlier = [f"onboarding:{self.device_id}:1:" + onboarding_work(device).rpartition(":")[2]]
            connect = partial(self.arc.connect, onboarding_work(device), site, self.cluster, earlier)
            arc_id = self.ledger.steps.once(job.key(device, "connect"), connect).detail["arc_id"]
            site = site.model_copy(update={"arc_id": arc_id})
            baseline = partial(apply_baseline, self.cluster, site, job.baseline)
            self.ledger.steps.once(job.key(device, "baseline"), baseline)

            def fails(error: EdgeError, *, last: bool) -> EdgeError:
                with pytest.raises(type(error)), as_before_unless_in(job, device, last=last):
                    raise error
                return error

            yield fails
        self.ledger.devices.move(self.device_id, DeviceState.FAILED)

    def give_to(self, tenant: str) -> None:
        """The device came in on the word of this owner."""
        now, serial = datetime.now(UTC), self.device.registration.facts.serial
        owned = Ownership(ownership_id="o-1", serial=serial, tenant=tenant, kind=OwnershipKind.LIST, created_at=now)
        self.ledger.ownerships.record(owned)
        life = self.device.generation
        self.ledger.ownerships.use("o-1", device_id=self.device_id, generation=life, at=now)

    def assert_as_before(self) -> None:
        assert self.resource is None
        assert agents_found(self.cluster).state is AgentsOnCluster.ABSENT
        assert self.namespaces == SYSTEM
        assert (self.site.state, self.site.arc_id) == (SiteState.KNOWN, None)
        assert self.steps == {"identity", "assign"}


@pytest.fixture(scope="module")
def own_lab(lab_factory: Any) -> Any:
    return lab_factory("--sites", "5")


@pytest.fixture
def place(own_lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A site of its own for each test."""
    for name, value in vars(own_lab.azure.env).items():
        monkeypatch.setenv(name, value)
    entry = own_lab.said["sites"].pop()
    azure, device = own_lab.azure, LabDevice.of_lab(own_lab.said, entry)
    block = ArcSubscription(
        subscription_id=azure.subscription_id,
        resource_group=azure.resource_group,
        location=azure.location,
        endpoint=azure.endpoint,
        ca_file=Path(own_lab.ca_file),
        key_bits=2048,
        precheck_egress=EgressCheck.OFF,
    )
    credentials = SiteCredentials(folder=Path(entry["kubeconfig"]).parent)
    arc = ArcConnection(block, credentials)
    arc.prepare()
    with (
        closing(arc.arc),
        Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger,
        credentials.client(entry["name"]) as cluster,
    ):
        ledger.devices.register(device.registration(), at=datetime.now(UTC))
        yield Place(own_lab, ledger, arc, credentials, device.device_id, cluster)
    own_lab.ask("DELETE", "/lab/azure/faults")


def test_a_baseline_that_cannot_be_applied_leaves_the_site_as_it_was(place: Place) -> None:
    place.cluster.apply(OTHER_CLASS)
    sleep(PAST_S)
    outcome = place.onboard()
    assert (outcome.status, outcome.cause and outcome.cause.transient) == (Status.FAILED, False)
    assert "left_behind" not in place.device.reason
    place.assert_as_before()
    (kept,) = place.cluster.list("storage.k8s.io/v1", "StorageClass")
    assert kept["provisioner"] == OTHER_CLASS["provisioner"]


def test_while_tries_remain_nothing_is_taken_back_and_when_a_later_one_is_refused_all_is(place: Place) -> None:
    with place.half_way() as fails:
        assert "left_behind" not in fails(NotYet("The baseline does not hold"), last=False).where
    assert place.resource is not None
    assert {"connect", "baseline"} <= place.steps
    place.give_to("buyer")
    assert place.onboard().status is Status.QUARANTINED
    assert "another tenant" in place.device.reason
    place.assert_as_before()


def test_what_cannot_be_taken_back_is_named_and_the_next_try_finds_it(place: Place) -> None:
    with place.half_way() as fails:
        place.lab.fault(place.cluster.site, "offline")
        error = fails(SiteUnreachable("The site is away"), last=True)
        place.lab.lift(place.cluster.site)
    left = "agents on the cluster (site-unreachable); baseline on the cluster (site-unreachable)"
    assert error.where["left_behind"] == left
    assert place.resource is None
    assert place.steps == {"identity", "assign"}
    assert place.onboard().status is Status.SUCCEEDED


def test_after_a_reset_the_site_keeps_what_an_earlier_life_connected(place: Place) -> None:
    assert place.onboard().status is Status.SUCCEEDED
    before, there = place.site, place.namespaces
    sleep(PAST_S)
    place.ledger.devices.begin_anew(place.device_id, reason="reset")
    with place.half_way() as fails:
        fails(Rejected("The baseline cannot be applied"), last=False)
    assert place.resource is not None
    assert (place.site, place.namespaces) == (before, there)


def test_a_connected_device_that_is_opened_again_and_refused_stays_connected(place: Place) -> None:
    assert place.onboard().status is Status.SUCCEEDED
    place.ledger.devices.move(place.device_id, DeviceState.REGISTERED)
    place.give_to("buyer")
    before = place.site
    assert place.onboard().status is Status.QUARANTINED
    assert place.resource is not None
    assert place.site == before
