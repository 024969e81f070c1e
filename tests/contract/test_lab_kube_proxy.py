"""The lab's API server as a proxy to Services, and the Prometheus that a Service may be."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client

from tests.contract.lab_kube_site import CM, PODS, VIEWER, Site, pod

_SERVICES = "/api/v1/namespaces/default/services"
_SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
_HTTP = "lab.edge-platform.io/http"


def _service(site: Site, *, image: str = "app:1", given: str = "", behind: str = "", port: str = "") -> None:
    """A Service with one ready pod; `given` and `behind` are what the Service's and the pod's annotation say."""
    made = pod("web", containers=[{"name": "main", "image": image}])
    made["metadata"]["annotations"] = {_HTTP: behind} if behind else {}
    uid = site.make(PODS, made)["metadata"]["uid"]
    named = {"name": port} if port else {}
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080, **named}]}
    notes = {"annotations": {_HTTP: given}} if given else {}
    site.make(_SERVICES, {"metadata": {"name": "web", **notes}, "spec": spec})
    target = {"kind": "Pod", "name": "web", "namespace": "default", "uid": uid}
    piece = {
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.244.0.9"], "conditions": {"ready": True}, "targetRef": target}],
        "ports": [{"port": 8080, **named}],
    }
    site.make(_SLICES, piece)


@pytest.mark.parametrize("name", ["web", "web:80", "http:web:80", "https:web:80", ":web:80"])
def test_a_ready_pod_answers_for_its_service(site: Site, name: str) -> None:
    _service(site)
    reply = site.call("GET", f"{_SERVICES}/{name}/proxy/healthz")
    assert (reply.code, reply.body) == (200, "ok\n")


def test_a_port_may_be_named(site: Site) -> None:
    _service(site, port="metrics")
    assert site.call("GET", f"{_SERVICES}/web:metrics/proxy/").code == 200
    assert site.call("GET", f"{_SERVICES}/web/proxy/").code == 503


def test_the_official_client_reaches_a_service(site: Site) -> None:
    _service(site, given="{body: hello}")
    core = client.CoreV1Api(site.api())
    assert core.connect_get_namespaced_service_proxy_with_path("web:80", "default", "a/b") == "hello"


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("web:81", 503, 'no service port 81 found for service "web"'),
        ("web:other", 503, 'no endpoints available for service "web"'),
        ("none:80", 404, 'services "none" not found'),
        ("none", 404, 'endpoints "none" not found'),
        ("ftp:web:80", 400, 'invalid service request "ftp:web:80"'),
    ],
)
def test_a_service_that_cannot_be_reached_is_told_as_a_status(site: Site, name: str, code: int, message: str) -> None:
    _service(site)
    reply = site.call("GET", f"{_SERVICES}/{name}/proxy/")
    assert (reply.code, reply.body["kind"], reply.body["message"]) == (code, "Status", message)


def test_a_service_without_a_ready_pod_is_unavailable(site: Site) -> None:
    _service(site)
    site.merge(f"{_SLICES}/web-1", {"endpoints": [{"addresses": ["10.244.0.9"], "conditions": {"ready": False}}]})
    reply = site.call("GET", f"{_SERVICES}/web:80/proxy/")
    assert (reply.code, reply.body["reason"]) == (503, "ServiceUnavailable")


def test_pods_and_services_say_what_is_answered(site: Site) -> None:
    _service(
        site, given="{status: 404}", behind="[{path: /api/*, status: 500, body: broken}, {path: /slow, delay_s: 0.01}]"
    )
    assert site.call("GET", f"{_SERVICES}/web:80/proxy/api/x").body == "broken"
    assert site.call("GET", f"{_SERVICES}/web:80/proxy/slow").code == 200
    assert site.call("GET", f"{_SERVICES}/web:80/proxy/other").code == 404


def test_an_answer_that_makes_no_sense_is_told(site: Site) -> None:
    _service(site, given="{status: 12}")
    reply = site.call("GET", f"{_SERVICES}/web:80/proxy/")
    assert reply.code == 502
    assert _HTTP in reply.body["message"]


def test_the_proxy_takes_a_right_of_its_own(site: Site) -> None:
    _service(site)
    reply = site.call("GET", f"{_SERVICES}/web:80/proxy/", token=VIEWER)
    assert reply.code == 403
    assert 'cannot get resource "services/proxy"' in reply.body["message"]


def test_discovery_lists_the_proxy(site: Site) -> None:
    found = {one["name"]: one for one in site.get("/api/v1")["resources"]}
    assert found["services/proxy"]["kind"] == "ServiceProxyOptions"


def _query(site: Site, query: str) -> Any:
    reply = site.http.get(f"{site.url}{_SERVICES}/web:80/proxy/api/v1/query", params={"query": query})
    return reply.status_code, reply.json()


def _values(site: Site, query: str) -> list[str]:
    code, body = _query(site, query)
    assert (code, body["status"], body["data"]["resultType"]) == (200, "success", "vector")
    return [one["value"][1] for one in body["data"]["result"]]


def test_a_prometheus_answers_from_the_sites_objects(site: Site) -> None:
    _service(site, image="quay.io/prometheus/prometheus:v3")
    status = {"podIP": "10.244.0.9", "conditions": [{"type": "Ready", "status": "True"}]}
    status["containerStatuses"] = [{"name": "main", "restartCount": 3, "ready": True, "image": "x", "imageID": ""}]
    site.merge(f"{PODS}/web/status", {"status": status})
    table = {"metadata": {"name": "series", "labels": {"lab.edge-platform.io/series": "true"}}}
    site.make(
        CM, {**table, "data": {"x": '# a comment\nqueue_depth{site="a"} 4.5\nqueue_depth{site="b"} 1\nnonsense{'}}
    )
    assert _values(site, 'up{job="web"}') == ["1"]
    assert _values(site, 'kube_pod_container_status_restarts_total{pod="web", container="main"}') == ["3"]
    assert _values(site, "queue_depth") == ["4.5", "1"]
    assert _values(site, 'sum(queue_depth{site="a"})') == ["4.5"]
    assert _values(site, "absent_series") == []
    assert site.call("GET", f"{_SERVICES}/web:80/proxy/-/ready").code == 200


@pytest.mark.parametrize("query", ["rate(up[5m])", 'up{job=~"w.*"}', "up > 0", "", "up{", "{}"])
def test_what_the_labs_prometheus_does_not_know_is_a_bad_query(site: Site, query: str) -> None:
    _service(site, image="prometheus")
    code, body = _query(site, query)
    assert (code, body["status"], body["errorType"]) == (400, "error", "bad_data")
    assert "parse error" in body["error"]
