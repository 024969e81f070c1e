"""Updating a device at a lab site: it is confirmed, falls back, fails or stays silent, and a kill changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.clients.access import SiteAccess
from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.clients.node_update import node_update_definition
from edge.errors import NotFound
from edge.ledger import Ledger
from edge.model.device import DeviceFacts, DeviceState, Registration
from edge.model.firmware import Component, UpdateAttempt, UpdateOrder, UpdateOutcome, UpdateRefusal
from edge.model.kube import KubeObject, ObjectRef
from edge.model.outcome import Outcome, Status
from edge.model.rollout import RolloutState, Strategy
from edge.model.site import OfflinePolicy, Site, SiteSelector
from edge.model.step import StepState
from edge.policy.firmware import node_update_ref, plan_update, read_report
from tasks.firmware import Candidates, UpdateJob, unfinished_update, update_site

DEVICE = "dev-of-updates"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Killed(BaseException):
    """What stands for the end of the process: nothing of ours catches it."""


class MortalClient(SiteClient):
    """The real client, which looks more often, in a process that dies at a moment of the test's choice."""

    def __init__(self, access: SiteAccess, site: str, fatal: str) -> None:
        super().__init__(access, site=site)
        self.fatal = fatal

    def apply(self, obj: KubeObject, **options: Any) -> dict[str, Any]:
        if self.fatal == f"before {obj['kind']}":
            raise Killed
        applied = super().apply(obj, **options)
        if self.fatal == f"after {obj['kind']}":
            raise Killed
        return applied

    def wait_for(self, what: Any, judge: Any, **options: Any) -> Any:
        if self.fatal == "while waiting" and what[0] == node_update_ref(Component.OS, self.site):
            raise Killed
        return super().wait_for(what, judge, **{**options, "every_s": 0.05})


class Credentials:
    """Where the acts get their client: what `blocks.credentials` is to them."""

    def __init__(self, kubeconfig: Path) -> None:
        self.access = read_kubeconfig(kubeconfig)
        self.fatal = ""

    def client(self, site: str) -> SiteClient:
        return MortalClient(self.access, site, self.fatal)


class Place:
    """One site with a connected device, and a ledger."""

    def __init__(self, lab: Any, ledger: Ledger) -> None:
        self.ledger = ledger
        self.name = lab.sites[3].name
        self.credentials = Credentials(Path(lab.sites[3].kubeconfig))
        self.site = self.ledger.sites.put(Site(name=self.name))
        facts = DeviceFacts(serial="SN-1", os="1.0.0")
        ledger.devices.register(Registration(device_id=DEVICE, certificate="none", facts=facts), at=START)
        ledger.devices.move(DEVICE, DeviceState.CONNECTED, site=self.name, tenant="default")

    def update(self, version: str, *, fatal: str = "", within_s: float = 30, **order: Any) -> Outcome:
        """One run of the update, in a process that dies at `fatal`."""
        wanted = UpdateOrder(
            component=Component.OS,
            version=version,
            image=f"registry.example/os@sha256:{'ab' * 32}",
            self_test_s=order.pop("self_test_s", 0),
            **order,
        )
        plan = plan_update(wanted, [self.site], Strategy(site_deadline_s=within_s), 1)
        self.credentials.fatal = fatal
        return update_site(UpdateJob(plan, wanted, self.ledger, self.credentials), self.site)  # type: ignore[arg-type] - all that the act asks of it

    def attempts(self) -> list[tuple[str, UpdateOutcome, str]]:
        return [(one.version, one.outcome, one.from_version) for one in self.ledger.firmware.attempts(DEVICE)]

    def look(self) -> dict[str, Any]:
        with SiteClient(self.credentials.access, site=self.name) as client:
            return client.get(node_update_ref(Component.OS, self.name))


@pytest.fixture
def place(lab: Any, tmp_path: Path) -> Iterator[Place]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        made = Place(lab, ledger)
        yield made
        with SiteClient(made.credentials.access, site=made.name) as client:
            client.delete(ObjectRef.of(node_update_definition()))


def test_a_good_version_is_confirmed_and_the_next_goes_into_the_other_slot(place: Place) -> None:
    assert place.update("1.1.0").status is Status.SUCCEEDED
    assert place.update("1.2.0").status is Status.SUCCEEDED
    assert place.attempts() == [
        ("1.1.0", UpdateOutcome.CONFIRMED, "1.0.0"),
        ("1.2.0", UpdateOutcome.CONFIRMED, "1.1.0"),
    ]
    assert place.look()["status"]["slots"] == {
        "a": {"version": "1.2.0", "active": True},
        "b": {"version": "1.1.0", "active": False},
    }
    again = place.update("1.2.0")
    assert again.status is Status.SUCCEEDED
    assert len(place.attempts()) == 2


@pytest.mark.parametrize(
    ("version", "ended", "said"),
    [
        pytest.param("1.1.0-bad", UpdateOutcome.FELL_BACK, "self-test failed", id="falls-back"),
        pytest.param("1.1.0-broken", UpdateOutcome.FAILED, "digest", id="cannot-be-installed"),
    ],
)
def test_a_version_that_fails_is_never_tried_there_again(
    place: Place, version: str, ended: UpdateOutcome, said: str
) -> None:
    first = place.update(version)
    assert first.status is Status.FAILED
    assert first.cause is not None
    assert said in first.cause.message
    assert read_report(place.look()).active == "1.0.0"
    assert place.attempts() == [(version, ended, "1.0.0")]
    before = place.look()
    again = place.update(version)
    assert again.cause is not None
    assert (again.cause.code, "failed-before" in again.cause.message) == ("rejected", True)
    assert place.look() == before
    assert len(place.attempts()) == 1
    assert place.update("1.1.1").status is Status.SUCCEEDED


def test_silence_is_neither_a_success_nor_the_versions_fault(place: Place) -> None:
    place.site = place.ledger.sites.update(place.name, when_offline=OfflinePolicy.EXPECTED)
    silent = place.update("1.1.0-silent", within_s=1)
    assert silent.status is Status.FAILED
    assert silent.cause is not None
    assert silent.cause.code == "not-yet"
    assert place.attempts() == [("1.1.0-silent", UpdateOutcome.SILENT, "1.0.0")]
    assert place.ledger.firmware.failed_versions(DEVICE, Component.OS) == frozenset()
    other = place.update("1.2.0")
    assert other.cause is not None
    assert "update-running" in other.cause.message
    assert read_report(place.look()).wanted == "1.1.0-silent"


def test_what_the_device_runs_goes_before_what_is_on_record(place: Place) -> None:
    place.update("1.5.0")
    facts = DeviceFacts(serial="SN-1", os="1.0.0")
    later = place.ledger.firmware.attempts(DEVICE)[0].at + timedelta(days=1)
    place.ledger.devices.register(Registration(device_id=DEVICE, certificate="none", facts=facts), at=later)
    older = place.update("1.4.0")
    assert older.cause is not None
    assert "not-newer" in older.cause.message
    assert place.update("1.4.0", go_back=True).status is Status.SUCCEEDED


MOMENTS = ("before NodeUpdate", "after CustomResourceDefinition", "after NodeUpdate", "while waiting")
GOOD = ("1.1.0", Status.SUCCEEDED, UpdateOutcome.CONFIRMED)
BAD = ("1.1.0-bad", Status.FAILED, UpdateOutcome.FELL_BACK)


@pytest.mark.parametrize(
    ("fatal", "version", "status", "ended"),
    [
        *(pytest.param(moment, *GOOD, id=f"good-{moment.replace(' ', '-')}") for moment in MOMENTS),
        pytest.param("after NodeUpdate", *BAD, id="bad-after-NodeUpdate"),
    ],
)
def test_a_run_that_was_killed_is_gone_on_with(
    place: Place, fatal: str, version: str, status: Status, ended: UpdateOutcome
) -> None:
    with pytest.raises(Killed):
        place.update(version, fatal=fatal)
    assert place.attempts() == []
    assert place.update(version).status is status
    assert place.attempts() == [(version, ended, "1.0.0")]
    assert place.look()["metadata"]["generation"] == 1
    records = place.ledger.steps.fleet("update:os:")
    assert {(record.key.work, record.state) for record in records} == {(f"update:os:{version}:1", StepState.DONE)}


def test_every_node_of_a_device_gets_the_version_and_the_device_one_record(place: Place) -> None:
    second = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "second-node"}}
    with SiteClient(place.credentials.access, site=place.name) as client:
        client.apply(second)
        try:
            assert place.update("1.1.0").status is Status.SUCCEEDED
            found = {
                obj["metadata"]["name"]: read_report(obj) for obj in client.list("edge-platform.io/v1", "NodeUpdate")
            }
        finally:
            client.delete(ObjectRef.of(second))
    assert {name: report.active for name, report in found.items()} == {
        f"{place.name}-os": "1.1.0",
        "second-node-os": "1.1.0",
    }
    assert place.attempts() == [("1.1.0", UpdateOutcome.CONFIRMED, "1.0.0")]


def test_a_site_without_a_connected_device_is_told(place: Place) -> None:
    place.ledger.devices.move(DEVICE, DeviceState.QUARANTINED, reason="expired")
    ended = place.update("1.1.0")
    assert ended.cause is not None
    assert ended.cause.code == NotFound.code
    with pytest.raises(NotFound):
        place.look()


def test_an_interrupted_update_is_found_again_though_some_devices_have_the_version_by_now(tmp_path: Path) -> None:
    order = UpdateOrder(component=Component.OS, version="1.1.0", image=f"registry.example/os@sha256:{'ab' * 32}")
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        sites = [ledger.sites.put(Site(name=name)) for name in ("s1", "s2", "s3")]
        for site in sites[:2]:
            registration = Registration(device_id=site.name, certificate="none", facts=DeviceFacts(serial="SN-1"))
            ledger.devices.register(registration, at=START)
            ledger.devices.move(site.name, DeviceState.CONNECTED, site=site.name)
        plan = plan_update(order, sites[:2], Strategy(), 1)
        ledger.rollouts.start(plan)
        ledger.firmware.record(
            UpdateAttempt(
                device_id="s1", component=Component.OS, version="1.1.0", outcome=UpdateOutcome.CONFIRMED, at=START
            )
        )
        candidates = Candidates(ledger, order, SiteSelector())
        assert [site.name for site in candidates.due] == ["s2"]
        assert candidates.refused == {"s1": UpdateRefusal.ALREADY_THERE, "s3": UpdateRefusal.NOT_CONNECTED}
        begun = unfinished_update(ledger, order, SiteSelector())
        assert begun is not None
        assert begun.plan == plan
        assert unfinished_update(ledger, order, SiteSelector(names=("s2", "s3"))) is None
        assert unfinished_update(ledger, order.model_copy(update={"self_test_s": 9}), SiteSelector()) is None
        ledger.rollouts.finish(plan.rollout_id, RolloutState.SUCCEEDED)
        assert unfinished_update(ledger, order, SiteSelector()) is None
