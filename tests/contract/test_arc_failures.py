"""The act of connecting against the lab: what stands in the way, what fails half-way, and that nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import pytest

from blocks.arc import ArcSubscription
from blocks.credentials import SiteCredentials
from edge.clients.arc_keys import new_key
from edge.clients.helm import agents_found
from edge.clients.kubernetes import SiteClient
from edge.errors import (
    ConnectRefused,
    EdgeError,
    NotFound,
    OperationFailed,
    Rejected,
    ServerFault,
    SiteSilent,
    Throttled,
    Transient,
    WriteConflict,
)
from edge.model.arc import AgentsOnCluster, ArcTarget, ConnectPatience, EgressCheck
from edge.model.kube import ObjectRef
from edge.model.site import Site
from edge.policy.arc import onboarding_tags
from edge.policy.arc_egress import NAMESPACE, diagnostics_objects
from edge.policy.arc_keys import public_key_of
from tasks.arc import ArcConnection

SOON = ConnectPatience(agents_s=30, away_s=0.5, call_in_s=1, look_every_s=0.2)
WORK = "onboarding:dev:1"


@dataclass(frozen=True)
class Place:
    """One lab site and what connects it."""

    lab: Any
    block: ArcSubscription
    credentials: SiteCredentials
    site: Site
    cluster: SiteClient

    @property
    def connection(self) -> ArcConnection:
        return ArcConnection(self.block, self.credentials, SOON)

    @property
    def target(self) -> ArcTarget:
        return self.block.target(self.site)

    def connect(self, work: str = WORK, ours: tuple[str, ...] = ()) -> dict[str, Any]:
        return self.connection.connect(work, self.site, self.cluster, ours)

    def azure_fault(self, kind: str, **more: object) -> None:
        self.lab.ask("POST", "/lab/azure/faults", {"kind": kind, "path": self.target.resource_id, **more})

    def having(self, **fields: object) -> Place:
        return replace(self, block=self.block.model_copy(update=fields))

    def namespaces(self) -> set[str]:
        found = self.cluster.list("v1", "Namespace")
        return {one["metadata"]["name"] for one in found if not one["metadata"].get("deletionTimestamp")}

    def assert_as_before(self) -> None:
        """Nothing of ours is in Azure or on the cluster."""
        assert self.connection.disconnect_faults(self.site, self.cluster) == []
        assert self.namespaces() == {"default", "kube-system", "kube-public", "kube-node-lease"}


@pytest.fixture(scope="module")
def arc_lab(lab_factory: Any) -> Any:
    return lab_factory("--sites", "27", "--clock-rate", "10")


@pytest.fixture
def place(arc_lab: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A site of its own for each test."""
    for name, value in vars(arc_lab.azure.env).items():
        monkeypatch.setenv(name, value)
    used: set[str] = arc_lab.__dict__.setdefault("used", set())
    name = next(site.name for site in arc_lab.sites if site.name not in used)
    used.add(name)
    azure = arc_lab.azure
    block = ArcSubscription(
        subscription_id=azure.subscription_id,
        resource_group=azure.resource_group,
        location=azure.location,
        endpoint=azure.endpoint,
        ca_file=Path(arc_lab.ca_file),
        key_bits=2048,
    )
    credentials = SiteCredentials(folder=Path(arc_lab.site(name).kubeconfig).parent)
    with credentials.client(name) as cluster:
        yield Place(arc_lab, block, credentials, Site(name=name), cluster)
    arc_lab.ask("DELETE", "/lab/azure/faults")


def test_a_connect_says_where_its_time_went_and_is_undone_with_proof(place: Place) -> None:
    detail = place.connect()
    assert detail["decision"] == "new"
    assert "warning" not in detail
    phases = [detail[f"{name}_s"] for name in ("precheck", "slot", "resource", "agents", "call_in")]
    assert all(isinstance(seconds, float) and seconds >= 0 for seconds in phases)
    assert detail["resource_s"] > 0
    assert place.connection.disconnect_faults(place.site, place.cluster) != []
    again = place.connect()
    assert again["decision"] == "reuse-key"
    assert place.connection.disconnect(place.site, place.cluster)["agents"] == "removed"
    place.assert_as_before()
    place.connection.disconnect(place.site, place.cluster)


def test_a_site_may_have_a_resource_group_of_its_own(place: Place) -> None:
    own = replace(place, site=place.site.model_copy(update={"arc_resource_group": "north"}))
    arc_id = own.connect()["arc_id"]
    assert "/resourceGroups/north/" in arc_id
    assert place.connection.arc.get(place.target) is None
    moved = place.site.model_copy(update={"arc_id": arc_id, "arc_resource_group": "south"})
    assert place.connection.disconnect(moved, None) == {"arc_id": arc_id, "resource": "deleted", "agents": "not-asked"}
    assert own.connection.arc.get(own.target) is None


@pytest.mark.parametrize(
    ("weather", "code", "words"),
    [
        pytest.param({"kind": "no-dns"}, "arc-no-dns", "does not resolve 127.0.0.1", id="no DNS"),
        pytest.param({"kind": "egress-blocked", "host": "127.*"}, "arc-egress-blocked", "no connection", id="egress"),
        pytest.param({"kind": "wrong-clock", "skew_s": -900}, "arc-clock-skew", "behind Azure's", id="clock"),
    ],
)
def test_a_cluster_that_cannot_call_azure_is_told_before_anything_is_changed(
    place: Place, weather: dict[str, Any], code: str, words: str
) -> None:
    place.lab.fault(place.site.name, **weather)
    with pytest.raises(Rejected, match=words) as caught:
        place.connect()
    assert caught.value.where["codes"] == code
    place.assert_as_before()


def test_a_cluster_without_room_and_with_another_trouble_is_told_both_at_once(place: Place) -> None:
    node = ObjectRef(api_version="v1", kind="Node", name=place.site.name)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "greedy", "namespace": "default"}}
    wants = {"requests": {"cpu": "3950m", "memory": "1Gi"}}
    place.cluster.apply(
        pod | {"spec": {"nodeName": node.name, "containers": [{"name": "c", "image": "c", "resources": wants}]}}
    )
    place.lab.fault(place.site.name, "egress-blocked")
    with pytest.raises(Rejected) as caught:
        place.connect()
    assert caught.value.where["codes"] == "arc-no-cpu-left, arc-egress-blocked"


def test_a_look_that_cannot_be_taken_is_a_warning_or_when_strict_a_refusal(place: Place) -> None:
    place = place.having(diagnostics_image="registry.invalid/missing:1")
    with pytest.raises(Rejected, match="does not start") as caught:
        place.having(precheck_egress=EgressCheck.STRICT).connect()
    assert caught.value.where["codes"] == "arc-diagnostics-did-not-run"
    place.assert_as_before()
    assert "does not start" in str(place.connect()["warning"])


def test_what_a_look_left_that_was_cut_off_is_removed_by_the_next(place: Place) -> None:
    for obj in diagnostics_objects((), "busybox:missing"):
        place.cluster.apply(obj)
    place.connect()
    assert NAMESPACE not in place.namespaces()


def test_a_namespace_of_that_name_that_is_not_ours_is_left_alone(place: Place) -> None:
    place.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    assert "not the platform's" in str(place.connect()["warning"])
    assert NAMESPACE in place.namespaces()


def test_agents_whose_way_out_is_shut_do_not_connect(place: Place) -> None:
    place.lab.fault(place.site.name, "egress-blocked")
    with pytest.raises(Transient, match="have not called in"):
        place.having(precheck_egress=EgressCheck.OFF).connect()
    place.assert_as_before()
    place.lab.lift(place.site.name)
    assert place.connect()["decision"] == "new"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        pytest.param({"kind": "refuse", "status": 429, "retry_after": 600}, Throttled, id="throttled for long"),
        pytest.param({"kind": "refuse", "status": 409, "code": "Conflict"}, WriteConflict, id="409"),
        pytest.param({"kind": "refuse", "status": 500, "retry_after": 30, "times": 9}, ServerFault, id="500"),
        pytest.param({"kind": "fail", "code": "Quota", "message": "Too many."}, OperationFailed, id="operation failed"),
    ],
)
def test_trouble_of_azure_leaves_everything_as_before_and_the_next_try_connects(
    place: Place, fault: dict[str, Any], kind: type[EdgeError]
) -> None:
    place.azure_fault(**fault)
    with pytest.raises(kind) as caught:
        place.connect()
    assert "left_behind" not in caught.value.where
    assert getattr(caught.value, "retry_after", None) == fault.get("retry_after")
    place.lab.ask("DELETE", "/lab/azure/faults")
    place.assert_as_before()
    assert place.connect()["decision"] == "new"


def test_a_pause_that_azure_asks_for_is_made(place: Place) -> None:
    place.azure_fault("refuse", status=429, retry_after=1, times=2)
    assert place.connect()["decision"] == "new"


def test_azure_that_is_silent_after_it_acted_is_given_up_and_what_it_made_is_deleted(place: Place) -> None:
    place = place.having(answer_s=0.7)
    place.azure_fault("silent", acts=True, times=9)
    with pytest.raises(SiteSilent) as caught:
        place.connect()
    assert "left_behind" not in caught.value.where
    place.lab.ask("DELETE", "/lab/azure/faults")
    place.assert_as_before()


def test_a_clean_up_that_azure_refuses_is_on_record_and_done_by_the_next_try(place: Place) -> None:
    place.azure_fault("fail", code="Quota", message="Too many.")
    place.azure_fault("refuse", method="DELETE", status=403, code="AuthorizationFailed", times=9)
    with pytest.raises(OperationFailed) as caught:
        place.connect()
    assert place.site.name in caught.value.where["left_behind"]
    assert "credential-rejected" in str(caught.value)
    place.lab.ask("DELETE", "/lab/azure/faults")
    assert place.connect()["decision"] == "clean-then-new"


def test_a_cluster_that_dies_while_the_agents_come_leaves_no_resource_and_may_come_again(place: Place) -> None:
    ending = _when(lambda: _is_installing(place), lambda: place.lab.fault(place.site.name, "offline"))
    with pytest.raises(Transient) as caught:
        place.connect()
    ending.join()
    assert "agents on the cluster" in caught.value.where["left_behind"]
    assert place.connection.arc.get(place.target) is None
    place.lab.lift(place.site.name)
    found = agents_found(place.cluster)
    assert found.onboarding == WORK
    config = ObjectRef(api_version="v1", kind="ConfigMap", namespace="azure-arc", name="azure-clusterconfig")
    place.cluster.delete(config)
    with pytest.raises(ConnectRefused):
        place.connect("onboarding:somebody-else:1")
    assert place.connect()["decision"] in ("new", "clean-then-new")
    place.connection.disconnect(place.site, place.cluster)
    place.assert_as_before()


def _is_installing(place: Place) -> bool:
    try:
        place.cluster.get(ObjectRef(api_version="v1", kind="Namespace", name="azure-arc"))
    except NotFound:
        return False
    return True


def _when(seen: Callable[[], bool], then: Callable[[], None]) -> Thread:
    def body() -> None:
        while not seen():
            sleep(0.02)
        then()

    thread = Thread(target=body)
    thread.start()
    return thread


def test_a_name_that_another_cluster_has_is_refused_and_its_resource_stays(place: Place) -> None:
    theirs = place.connection.arc.put(place.target, public_key_of(new_key(2048)), {"owner": "them"})
    with pytest.raises(ConnectRefused) as caught:
        place.connect()
    assert caught.value.where["decision"] == "refuse-name-taken"
    assert place.connection.disconnect(place.site, place.cluster)["resource"] == "another's"
    assert place.connection.arc.get(place.target) == theirs


def test_a_name_that_is_taken_between_look_and_put_is_not_deleted_either(place: Place) -> None:
    def taken() -> bool:
        return NAMESPACE in place.namespaces()

    key = public_key_of(new_key(2048))
    taking = _when(taken, lambda: _put(place, key))
    with pytest.raises(WriteConflict):
        place.connect()
    taking.join()
    found = place.connection.arc.get(place.target)
    assert found is not None
    assert found.public_key == key


def test_a_run_that_lost_its_device_connects_and_undoes_nothing(place: Place) -> None:
    with pytest.raises(WriteConflict, match="no longer this run's"):
        place.connection.connect(WORK, place.site, place.cluster, holds=lambda: False)
    place.assert_as_before()
    place.lab.fault(place.site.name, "egress-blocked")
    silent = place.having(precheck_egress=EgressCheck.OFF)
    still_ours = iter([True, True])  # the resource, the agents; then another run took over
    with pytest.raises(Transient, match="have not called in"):
        silent.connection.connect(WORK, place.site, place.cluster, holds=lambda: next(still_ours, False))
    theirs = place.connection.arc.get(place.target)
    assert theirs is not None
    assert agents_found(place.cluster).public_key == theirs.public_key


def test_what_another_run_of_the_same_onboarding_made_meanwhile_is_not_undone(place: Place) -> None:
    key = public_key_of(new_key(2048))

    def made_anew() -> None:
        place.connection.arc.delete(place.target)
        place.connection.arc.put(place.target, key, onboarding_tags(WORK))

    place.lab.fault(place.site.name, "egress-blocked")
    taking = _when(lambda: agents_found(place.cluster).public_key is not None, made_anew)
    slow = replace(place, block=place.block.model_copy(update={"precheck_egress": EgressCheck.OFF}))
    with pytest.raises(EdgeError):
        ArcConnection(slow.block, slow.credentials, SOON.model_copy(update={"call_in_s": 4})).connect(
            WORK, place.site, place.cluster
        )
    taking.join()
    found = place.connection.arc.get(place.target)
    assert found is not None
    assert found.public_key == key
    assert agents_found(place.cluster).state is AgentsOnCluster.ABSENT


def test_agents_that_are_there_keep_the_mark_of_who_connected_them(place: Place) -> None:
    place.connect("onboarding:dev:0")
    assert place.connect(ours=("onboarding:dev:0",))["decision"] == "reuse-key"
    found = place.connection.arc.get(place.target)
    assert found is not None
    assert found.tags == onboarding_tags("onboarding:dev:0")


def _put(place: Place, key: str) -> None:
    place.connection.arc.put(place.target, key, {"owner": "them"})


def test_a_device_that_comes_back_after_a_reset_replaces_its_own_resource_and_nobody_elses(place: Place) -> None:
    earlier = place.connection.arc.put(place.target, public_key_of(new_key(2048)), onboarding_tags("onboarding:dev:0"))
    assert agents_found(place.cluster).state is AgentsOnCluster.ABSENT
    with pytest.raises(ConnectRefused):
        place.connect()
    assert place.connect(ours=("onboarding:dev:0",))["decision"] == "clean-then-new"
    now = place.connection.arc.get(place.target)
    assert now is not None
    assert now.public_key != earlier.public_key
    assert now.tags == onboarding_tags(WORK)


def test_a_site_that_is_away_is_disconnected_in_azure_and_its_agents_are_named(place: Place) -> None:
    place.connect()
    place.lab.fault(place.site.name, "offline")
    assert place.connection.disconnect(place.site, place.cluster)["agents"] == "away"
    faults = place.connection.disconnect_faults(place.site, place.cluster)
    assert len(faults) == 1
    assert "cannot be read" in faults[0]
    assert place.connection.disconnect_faults(place.site, None) == []
