"""What stands in the way of a connect, as far as it can be told from what was read: tables of cases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge.model.arc import AgentsOnCluster, ConnectAction, ConnectedCluster, EgressCheck, Endpoint
from edge.policy.arc import ONBOARDING_TAG, Traces, decide_connect, made_by, may_delete, read_resource_id
from edge.policy.arc_capacity import capacity_causes
from edge.policy.arc_egress import diagnostics_objects, message_of, never_starts, read_looks
from edge.policy.arc_endpoints import endpoints_of, read_endpoint
from edge.policy.arc_precheck import clock_causes, fitting_nodes, latency_causes

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONE, TWO = Endpoint(host="a.example"), Endpoint(host="b.example", port=8443)


@pytest.mark.parametrize(
    ("message", "causes", "warned"),
    [
        pytest.param("a.example:443 open\nb.example:8443 open\n", [], False, id="all open"),
        pytest.param("b.example:8443 open\na.example:443 open", [], False, id="in another order"),
        pytest.param("a.example:443 no-dns\nb.example:8443 open", ["arc-no-dns"], False, id="one without DNS"),
        pytest.param("a.example:443 open\nb.example:8443 blocked", ["arc-egress-blocked"], False, id="one blocked"),
        pytest.param(
            "a.example:443 no-dns\nb.example:8443 blocked", ["arc-no-dns", "arc-egress-blocked"], False, id="both"
        ),
        pytest.param("a.example:443 blocked", ["arc-egress-blocked"], True, id="cut off after one"),
        pytest.param("", [], True, id="nothing said"),
        pytest.param("sh: nc: not found\na.example:443 maybe\nb.example open", [], True, id="other words"),
        pytest.param(
            "a.example:443 open\nb.example:8443 open\nc.example:443 blocked", [], False, id="one not asked for"
        ),
    ],
)
def test_the_lines_of_a_look_are_read(message: str, causes: list[str], warned: bool) -> None:
    found = read_looks(message, (ONE, TWO))
    assert [cause.code for cause in found.causes] == causes
    assert (found.warning is not None) is warned
    assert all(cause.message and cause.remedy for cause in found.causes)


def test_a_look_that_was_not_taken_refuses_only_when_it_must_be() -> None:
    warned, refused = (read_looks("", (ONE,), check) for check in (EgressCheck.ON, EgressCheck.STRICT))
    assert warned.warning is not None
    assert (warned.causes, refused.causes, refused.warning) == ((), (warned.warning,), None)
    assert "a.example:443" in warned.warning.message


def test_the_pod_that_looks_is_as_restricted_as_can_be_and_names_every_endpoint() -> None:
    namespace, job = diagnostics_objects((ONE, TWO), "image:1")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pod["automountServiceAccountToken"] is False
    assert container["env"] == [{"name": "EDGE_ENDPOINTS", "value": "a.example:443 b.example:8443"}]
    assert container["image"] == "image:1"
    assert job["spec"]["activeDeadlineSeconds"] > 0


def pod_in(state: dict[str, Any], **status: object) -> dict[str, Any]:
    return {"status": {"containerStatuses": [{"state": state}], **status}}


def test_a_pod_that_ended_has_a_message_and_one_that_cannot_start_says_why() -> None:
    assert message_of([pod_in({"running": {}})]) is None
    assert message_of([pod_in({"terminated": {"exitCode": 1}})]) == ""
    assert message_of([{"status": {}}, pod_in({"terminated": {"message": "said"}})]) == "said"
    assert never_starts([pod_in({"waiting": {"reason": "ContainerCreating"}}), {}]) == ""
    assert (
        never_starts([pod_in({"waiting": {"reason": "ErrImagePull", "message": "denied"}})]) == "ErrImagePull: denied"
    )
    unscheduled = {"conditions": [{"reason": "Unschedulable", "message": "0/1 nodes"}]}
    assert never_starts([{"status": unscheduled}]) == "Unschedulable: 0/1 nodes"


@pytest.mark.parametrize(
    ("endpoint", "named", "hosts"),
    [
        pytest.param("https://management.azure.com", [], ["management.azure.com", "mcr.microsoft.com"], id="public"),
        pytest.param(
            "https://management.usgovcloudapi.net/", [], ["login.microsoftonline.us", "gbl.his.arc.azure.us"], id="us"
        ),
        pytest.param("https://127.0.0.1:4443", ["https://login.lab/x", ""], ["127.0.0.1", "login.lab"], id="private"),
    ],
)
def test_the_endpoints_are_those_of_the_cloud(endpoint: str, named: list[str], hosts: list[str]) -> None:
    found = endpoints_of(endpoint, "westeurope", named)
    assert len(set(found)) == len(found)
    assert set(hosts) <= {one.host for one in found}


def test_a_private_cloud_that_names_one_address_often_is_asked_once() -> None:
    found = endpoints_of("https://127.0.0.1:4443", "x", ["127.0.0.1:4443/chart:1", "https://127.0.0.1:4443/arc"])
    assert found == (Endpoint(host="127.0.0.1", port=4443),)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        pytest.param("https://A.example/path", ONE, id="URL"),
        pytest.param("b.example:8443/chart:1.2", TWO, id="chart"),
        pytest.param("", None, id="nothing"),
        pytest.param("https://a.example:port", None, id="no port"),
    ],
)
def test_an_endpoint_is_read_from_what_names_it(text: str, endpoint: Endpoint | None) -> None:
    assert read_endpoint(text) == endpoint


def node(name: str = "n", cpu: str = "1", memory: str = "1Gi", **spec: object) -> dict[str, Any]:
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64"}
    ready = [{"type": "Ready", "status": "True"}]
    status = {"allocatable": {"cpu": cpu, "memory": memory}, "conditions": ready}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": status}


def pod(on: str = "n", phase: str = "Running", cpu: str = "0", memory: str = "0", **more: Any) -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu, "memory": memory}}
    return {"spec": {"nodeName": on, "containers": [{"resources": resources}], **more}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("nodes", "pods", "codes"),
    [
        pytest.param([node()], [], [], id="an empty node"),
        pytest.param([], [], [], id="no node, which others tell"),
        pytest.param([node()], [pod(cpu="950m")], ["arc-no-cpu-left"], id="no CPU"),
        pytest.param([node()], [pod(memory="512Mi")], ["arc-no-memory-left"], id="no memory"),
        pytest.param([node()], [pod(cpu="1", memory="1Gi")], ["arc-no-cpu-left", "arc-no-memory-left"], id="neither"),
        pytest.param(
            [node()], [pod(cpu="1", phase="Succeeded"), pod(cpu="1", on="other")], [], id="pods that do not count"
        ),
        pytest.param([node(), node("m")], [pod(memory="512Mi"), pod("m", memory="512Mi")], [], id="two halves"),
        pytest.param(
            [node(), node("m", cpu="60m")], [pod(cpu="3")], ["arc-no-cpu-left"], id="an overfull node takes none"
        ),
        pytest.param([{**node(), "status": {}}], [], ["arc-no-cpu-left", "arc-no-memory-left"], id="says nothing"),
        pytest.param(
            [node()],
            [pod(initContainers=[{"resources": {"limits": {"cpu": "950m"}}}])],
            ["arc-no-cpu-left"],
            id="a limit of an init container counts as its request",
        ),
    ],
)
def test_room_is_what_the_nodes_have_without_what_their_pods_request(
    nodes: list[dict[str, Any]], pods: list[dict[str, Any]], codes: list[str]
) -> None:
    assert [cause.code for cause in capacity_causes(nodes, pods)] == codes


def test_the_figures_are_told() -> None:
    (cause,) = capacity_causes([node(memory="1G")], [pod(memory="200M")])
    assert "800 MB are free, and the agents need 850 MB" in cause.message


def test_only_nodes_that_could_run_the_agents_count() -> None:
    assert [one["metadata"]["name"] for one in fitting_nodes([node("a"), node("b", unschedulable=True)])] == ["a"]


@pytest.mark.parametrize(
    ("ahead_s", "side"),
    [
        pytest.param(0, "", id="right"),
        pytest.param(300, "", id="five minutes"),
        pytest.param(301, "301 s ahead of", id="ahead"),
        pytest.param(-301, "301 s behind", id="behind"),
    ],
)
def test_a_clock_may_be_five_minutes_off(ahead_s: int, side: str) -> None:
    causes = clock_causes(NOON + timedelta(seconds=ahead_s), NOON)
    assert [cause.code for cause in causes] == (["arc-clock-skew"] if side else [])
    assert all(side in cause.message for cause in causes)
    assert clock_causes(None, NOON) == ()


def test_a_slow_api_server_is_told_with_its_time_out() -> None:
    assert latency_causes(4.9, 30) == ()
    (cause,) = latency_causes(6.24, 30)
    assert (cause.code, "6.2 s" in cause.message, "30 s" in cause.message) == ("arc-api-server-slow", True, True)


ABSENT, PRESENT, BROKEN = AgentsOnCluster.ABSENT, AgentsOnCluster.PRESENT, AgentsOnCluster.PRESENT_WITHOUT_CONFIG
NEW, REUSE, CLEAN = ConnectAction.NEW, ConnectAction.REUSE_KEY, ConnectAction.CLEAN_THEN_NEW
TAKEN, ELSEWHERE, REFUSED = (
    ConnectAction.REFUSE_NAME_TAKEN,
    ConnectAction.REFUSE_ELSEWHERE,
    ConnectAction.REFUSE_BROKEN,
)
RESOURCE = ConnectedCluster(resource_id="/r", location="x", public_key="key", tags={ONBOARDING_TAG: "work-1"})


@pytest.mark.parametrize(
    ("agents", "key", "resource", "known", "action"),
    [
        pytest.param(ABSENT, None, RESOURCE, Traces(), TAKEN, id="somebody else's"),
        pytest.param(ABSENT, None, RESOURCE, Traces(earlier=True), CLEAN, id="reset: its own of before"),
        pytest.param(BROKEN, None, RESOURCE, Traces(earlier=True), REFUSED, id="reset, agents of nobody knows whom"),
        pytest.param(BROKEN, None, RESOURCE, Traces(earlier=True, marked=True), CLEAN, id="reset, half of its agents"),
        pytest.param(PRESENT, "key", RESOURCE, Traces(earlier=True), REUSE, id="no reset: its agents hold its key"),
        pytest.param(PRESENT, "other", RESOURCE, Traces(earlier=True), ELSEWHERE, id="agents with another key"),
        pytest.param(BROKEN, None, None, Traces(marked=True), CLEAN, id="half of our agents, resource gone"),
        pytest.param(BROKEN, None, None, Traces(), REFUSED, id="half of somebody's agents, no resource"),
        pytest.param(ABSENT, None, None, Traces(marked=True), NEW, id="a mark alone"),
        pytest.param(BROKEN, None, RESOURCE, Traces(marked=True), REFUSED, id="half of ours, resource not ours"),
        pytest.param(PRESENT, "key", RESOURCE, Traces(elsewhere=True, earlier=True), ELSEWHERE, id="elsewhere wins"),
    ],
)
def test_what_is_left_of_an_earlier_life_or_try_is_known_again(
    agents: AgentsOnCluster, key: str | None, resource: ConnectedCluster | None, known: Traces, action: ConnectAction
) -> None:
    assert decide_connect(agents, key, resource, known) is action


def test_a_resource_may_be_deleted_when_the_site_was_connected_as_it_or_an_onboarding_made_it() -> None:
    foreign = RESOURCE.model_copy(update={"tags": {"owner": "them"}})
    assert may_delete(RESOURCE, None)
    assert may_delete(foreign, "/R")
    assert not may_delete(foreign, "/another")
    assert not may_delete(foreign, None)
    assert not may_delete(None, "/r")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("/subscriptions/s/resourceGroups/g", id="too short"),
        pytest.param("/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/n", id="another type"),
    ],
)
def test_only_the_id_of_a_connected_cluster_is_one(text: str) -> None:
    assert read_resource_id(text, "x") is None


def test_a_resource_is_ours_by_its_tag_alone() -> None:
    assert made_by(RESOURCE, ("work-0", "work-1"))
    assert not made_by(RESOURCE, ("work-2",))
    assert not made_by(RESOURCE.model_copy(update={"tags": {}}), ("work-1",))
    assert not made_by(None, ("work-1",))
