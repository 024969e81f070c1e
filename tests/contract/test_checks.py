"""Checks, self-tests and pulling ahead at a site of the lab."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from edge.clients.kube_transport import Call
from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.clients.service_proxy import ServicePort, ask_service
from edge.errors import CredentialRejected, InvalidInput, NotFound, NotYet, OperationFailed, ServerFault, SiteSilent
from edge.model.check import CelCheck, Check, HttpCheck, PromqlCheck
from edge.model.kube import ObjectRef
from edge.policy.health import health_of
from edge.policy.precache import Pulling, precache_object
from tasks.checks import await_checks, run_checks, self_test
from tasks.precache import precache_objects

_NOTE = "lab.edge-platform.io/"


@pytest.fixture(scope="module")
def client(lab: Any) -> Iterator[SiteClient]:
    with SiteClient(read_kubeconfig(lab.sites[2].kubeconfig), site="site-0003") as found:
        yield found


@pytest.fixture(scope="module")
def place(client: SiteClient) -> Iterator[str]:
    """A namespace with an application that works and a Prometheus."""
    name = f"checks-{uuid.uuid4().hex[:8]}"
    client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    for app, image in (("web", "web:1"), ("prometheus", "quay.io/prometheus/prometheus:v3")):
        for obj in (workload(name, app, image), service(name, app)):
            client.apply(obj)
    client.wait_for([deployment(name, "web"), deployment(name, "prometheus")], health_of, within_s=20, every_s=0.1)
    yield name
    client.delete(ObjectRef(api_version="v1", kind="Namespace", name=name))


def workload(place: str, app: str, image: str, **notes: str) -> dict[str, Any]:
    annotations = {_NOTE + word.replace("_", "-"): text for word, text in notes.items()}
    pods = {
        "metadata": {"labels": {"app": app}, "annotations": annotations},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }
    spec = {"selector": {"matchLabels": {"app": app}}, "template": pods}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": app, "namespace": place}, "spec": spec}


def service(place: str, app: str, **notes: str) -> dict[str, Any]:
    annotations = {_NOTE + word: text for word, text in notes.items()}
    meta = {"name": app, "namespace": place, "annotations": annotations}
    spec = {"selector": {"app": app}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def deployment(place: str, name: str) -> ObjectRef:
    return ObjectRef(api_version="apps/v1", kind="Deployment", name=name, namespace=place)


def http(place: str, path: str = "/", service: str = "web", port: str = "http") -> HttpCheck:
    return HttpCheck(name="http", namespace=place, service=service, port=port, path=path)


def checks_of(place: str) -> list[Check]:
    query = f'kube_deployment_status_replicas_available{{namespace="{place}",deployment="web"}}'
    return [
        http(place),
        PromqlCheck(name="available", query=query, holds="value >= 1.0", namespace=place, port="80"),
        CelCheck(name="replicas", ref=deployment(place, "web"), expression="object.status.readyReplicas == 1"),
    ]


def test_checks_of_all_three_kinds_hold_at_a_site_that_works(client: SiteClient, place: str) -> None:
    results = await_checks(client, checks_of(place), 10, every_s=0.1)
    assert [(one.name, one.good) for one in results] == [("http", True), ("available", True), ("replicas", True)]


def test_checks_that_do_not_hold_are_results_with_reasons(client: SiteClient, place: str) -> None:
    wrong: list[Check] = [
        http(place, service="none", port="80"),
        PromqlCheck(name="query", query="rate(up[5m])", namespace=place, port="80"),
        CelCheck(name="absent", ref=deployment(place, "none"), expression="true"),
    ]
    http_result, query, absent = run_checks(client, wrong)
    assert [one.good for one in (http_result, query, absent)] == [False, False, False]
    assert http_result.message == 'the Service was not reached: services "none" not found'
    assert "parse error" in query.message
    assert absent.message == f"Deployment {place}/none is not there"


def test_waiting_for_checks_ends_and_names_those_that_do_not_hold(client: SiteClient, place: str) -> None:
    with pytest.raises(NotYet) as late:
        await_checks(client, [*checks_of(place), http(place, port="81").model_copy(update={"name": "port"})], 0.2)
    assert late.value.where["checks"] == 'port: the Service was not reached: no service port 81 found for service "web"'


def test_checks_hold_once_the_service_comes_back(client: SiteClient, place: str) -> None:
    client.apply(service(place, "late", http="{status: 500}"))
    client.apply(workload(place, "late", "web:1"))
    assert not run_checks(client, [http(place, service="late")])[0].good
    client.apply(service(place, "late", http="{status: 200}"))
    assert await_checks(client, [http(place, service="late")], 10, every_s=0.1)[0].good


def test_who_may_not_use_the_proxy_is_told_so(client: SiteClient, place: str) -> None:
    with pytest.raises(CredentialRejected, match="services/proxy"):
        run_checks(client.acting_as("somebody"), [http(place)])


def test_an_answer_has_a_limit_of_time_and_of_size(client: SiteClient, place: str) -> None:
    text = "{path: /slow, delay_s: 5}"
    client.apply(service(place, "big", http=f"[{text}, {{body: {'x' * 1000}}}]"))
    client.apply(workload(place, "big", "web:1"))
    at = ServicePort(place, "big", "http")
    await_checks(client, [http(place, service="big")], 10, every_s=0.1)
    assert len(ask_service(client, at).body) == 1000
    with pytest.raises(SiteSilent):
        ask_service(client, at, "/slow", wait_s=0.2)
    with pytest.raises(ServerFault):
        client.transport.fetch(Call("GET", f"/api/v1/namespaces/{place}/services/big:http/proxy/"), 5, 999)


@pytest.mark.parametrize("service", ["..", "web/../../secrets", "Web", ""])
def test_what_is_no_name_is_not_asked_for(client: SiteClient, place: str, service: str) -> None:
    with pytest.raises(InvalidInput):
        ask_service(client, ServicePort(place, service, "80"))


def test_a_self_test_holds_while_all_is_well(client: SiteClient, place: str) -> None:
    detail = self_test(client, checks_of(place), [deployment(place, "web")], 0.4, 0.1)
    assert detail["checks"] == ["http", "available", "replicas"]
    assert int(str(detail["looks"])) >= 2


@pytest.mark.parametrize(
    ("app", "image", "word"),
    [("frail", "web:1", "object"), ("sick", "web:sick", "checks")],
)
def test_a_self_test_fails_at_the_first_thing_that_does_not_hold(
    client: SiteClient, place: str, app: str, image: str, word: str
) -> None:
    notes = {"crash_after": "500ms"} if app == "frail" else {}
    client.apply(service(place, app))
    client.apply(workload(place, app, image, **notes))
    client.wait_for([deployment(place, app)], health_of, within_s=20, every_s=0.05)
    checks = [http(place, service=app)] if app == "sick" else []
    with pytest.raises(OperationFailed, match="self-test") as failed:
        self_test(client, checks, [deployment(place, app)], 20, 0.1)
    assert word in failed.value.where or "restarts" in failed.value.where


def test_an_image_tagged_unready_runs_and_is_never_ready(client: SiteClient, place: str) -> None:
    client.apply(workload(place, "slow", "web:unready"))
    running = CelCheck(
        name="running",
        ref=deployment(place, "slow"),
        expression="object.status.replicas == 1 && object.status.unavailableReplicas == 1",
    )
    await_checks(client, [running], 10, every_s=0.1)
    with pytest.raises(NotYet):
        client.wait_for([deployment(place, "slow")], health_of, within_s=0.3, every_s=0.1)


def test_images_are_pulled_to_every_node_and_nothing_is_left_behind(client: SiteClient, place: str) -> None:
    detail = precache_objects(client, [workload(place, "web", "web:2"), service(place, "web")], 20)
    assert detail == {"images": 1, "nodes": 1, "left_out": []}
    with pytest.raises(NotFound):
        client.get(ObjectRef.of(precache_object(["web:2"], Pulling())))


def test_an_image_that_cannot_be_pulled_is_named(client: SiteClient, place: str) -> None:
    with pytest.raises(NotYet) as late:
        precache_objects(client, [workload(place, name, f"web:{name}") for name in ("1", "missing")], 0.9)
    assert "web:missing (ImagePullBackOff)" in late.value.where["images"]
