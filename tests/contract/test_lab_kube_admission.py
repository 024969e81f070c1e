"""What the lab's API server adds to objects or refuses for their surroundings: quotas, limits, services, pods."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.lab_kube_site import CM, PODS, Site, config_map, pod

QUOTAS = "/api/v1/namespaces/default/resourcequotas"
SERVICES = "/api/v1/namespaces/default/services"


def _quota(site: Site, **hard: str) -> None:
    names = {word.replace("__", "/").replace("_", "."): value for word, value in hard.items()}
    site.make(QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": names}})


def _sized(name: str, cpu: str = "100m", memory: str = "64Mi") -> dict[str, Any]:
    requests = {"cpu": cpu, "memory": memory}
    return pod(name, containers=[{"name": "main", "image": "app:1", "resources": {"requests": requests}}])


def test_a_quota_counts_objects(site: Site) -> None:
    _quota(site, count__configmaps="2")
    site.make(CM, config_map("one"))
    reply = site.call("POST", CM, config_map("two"))
    assert reply.code == 403
    assert (
        "exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=2, limited: count/configmaps=2"
        in (reply.body["message"])
    )
    site.call("DELETE", f"{CM}/one")
    site.make(CM, config_map("two"))


def test_a_quota_adds_up_what_pods_ask_for(site: Site) -> None:
    _quota(site, requests_cpu="250m", memory="1Gi", pods="5")
    site.make(PODS, _sized("one"))
    site.make(PODS, _sized("two", memory="128Mi"))
    used = site.get(f"{QUOTAS}/q")["status"]["used"]
    assert used == {"requests.cpu": "200m", "memory": "192Mi", "pods": "2"}
    assert "exceeded quota" in site.call("POST", PODS, _sized("three")).body["message"]


def test_a_quota_on_cpu_makes_pods_say_what_they_need(site: Site) -> None:
    _quota(site, requests_cpu="1")
    reply = site.call("POST", PODS, pod("silent"))
    assert reply.code == 403
    assert "must specify requests.cpu for: main" in reply.body["message"]


def test_a_pod_from_before_the_quota_may_still_be_labelled(site: Site) -> None:
    site.make(PODS, pod("older"))
    _quota(site, requests_cpu="1", pods="1")
    assert site.merge(f"{PODS}/older", {"metadata": {"labels": {"tier": "front"}}}).code == 200


def test_a_limit_range_gives_defaults_and_bounds(site: Site) -> None:
    limit = {
        "type": "Container",
        "default": {"memory": "256Mi"},
        "defaultRequest": {"memory": "128Mi"},
        "max": {"memory": "512Mi"},
        "min": {"memory": "32Mi"},
    }
    site.make("/api/v1/namespaces/default/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": [limit]}})
    made = site.make(PODS, pod("bare"))["spec"]["containers"][0]["resources"]
    assert made == {"limits": {"memory": "256Mi"}, "requests": {"memory": "128Mi"}}
    small = site.call("POST", PODS, _sized("small", memory="16Mi"))
    assert (small.code, "minimum memory usage per Container is 32Mi" in small.body["message"]) == (403, True)
    big = _sized("big")
    big["spec"]["containers"][0]["resources"] = {"limits": {"memory": "1Gi"}}
    assert site.call("POST", PODS, big).code == 403


def _service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


def test_services_get_addresses_and_ports_of_their_own(site: Site) -> None:
    one, two = site.make(SERVICES, _service("one")), site.make(SERVICES, _service("two", type="NodePort"))
    assert one["spec"]["clusterIP"] != two["spec"]["clusterIP"]
    assert one["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert 30_000 <= two["spec"]["ports"][0]["nodePort"] < 32_768
    changed = site.call("PUT", f"{SERVICES}/one", _service("one", ports=[{"port": 81}])).body
    assert changed["spec"]["clusterIP"] == one["spec"]["clusterIP"]
    assert site.merge(f"{SERVICES}/one", {"spec": {"clusterIP": "10.96.9.9"}}).code == 422
    assert site.call("POST", SERVICES, _service("three", clusterIP=one["spec"]["clusterIP"])).code == 422


def test_a_headless_service_has_no_address(site: Site) -> None:
    assert site.make(SERVICES, _service("headless", clusterIP="None"))["spec"]["clusterIPs"] == ["None"]


@pytest.mark.parametrize(
    ("ports", "field"),
    [
        pytest.param([], "spec.ports", id="none"),
        pytest.param([{"port": 1}, {"port": 2, "name": "b"}], "spec.ports[0].name", id="unnamed"),
    ],
)
def test_a_service_with_wrong_ports_is_422(site: Site, ports: list[Any], field: str) -> None:
    reply = site.call("POST", SERVICES, _service("bad", ports=ports))
    assert (reply.code, [place for place, _ in reply.causes]) == (422, [field])


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        pytest.param({}, "BestEffort", id="nothing"),
        pytest.param({"requests": {"cpu": "1"}}, "Burstable", id="requests"),
        pytest.param({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed", id="limits"),
    ],
)
def test_a_pod_begins_pending_with_a_quality_of_service(site: Site, resources: dict[str, Any], quality: str) -> None:
    made = site.make(PODS, pod("p", containers=[{"name": "main", "image": "app:1", "resources": resources}]))
    assert (made["status"]["phase"], made["status"]["qosClass"]) == ("Pending", quality)
    assert made["spec"]["serviceAccountName"] == "default"


def test_a_pod_needs_its_service_account(site: Site) -> None:
    reply = site.call("POST", PODS, pod("p", serviceAccountName="nobody"))
    assert (reply.code, 'serviceaccount "nobody" not found' in reply.body["message"]) == (403, True)


def test_a_pod_gets_the_priority_of_its_class(site: Site) -> None:
    body = {"metadata": {"name": "high"}, "value": 1000}
    site.make("/apis/scheduling.k8s.io/v1/priorityclasses", body)
    assert site.make(PODS, pod("p", priorityClassName="high"))["spec"]["priority"] == 1000


JOBS = "/apis/batch/v1/namespaces/default/jobs"


def _job(name: str) -> dict[str, Any]:
    containers = [{"name": "main", "image": "app:1"}]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": containers}}},
    }


def test_a_job_selects_its_pods_by_its_own_uid(site: Site) -> None:
    made = site.make(JOBS, _job("work"))
    selector = made["spec"]["selector"]["matchLabels"]
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert selector == {"batch.kubernetes.io/controller-uid": made["metadata"]["uid"]}
    assert labels["job-name"] == "work"
    assert selector.items() <= labels.items()


def test_a_job_applied_twice_stays_as_it_is(site: Site) -> None:
    first = site.apply(f"{JOBS}/work", _job("work"))
    second = site.apply(f"{JOBS}/work", _job("work"))
    assert (first.code, second.code) == (201, 200)
    assert first.body == second.body


def test_a_claim_gets_the_default_storage_class(site: Site) -> None:
    notes = {"storageclass.kubernetes.io/is-default-class": "true"}
    body = {"metadata": {"name": "fast", "annotations": notes}, "provisioner": "edge.lab/disk"}
    site.make("/apis/storage.k8s.io/v1/storageclasses", body)
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claims = "/api/v1/namespaces/default/persistentvolumeclaims"
    made = site.make(claims, {"metadata": {"name": "c"}, "spec": spec})
    assert (made["spec"]["storageClassName"], made["status"]["phase"]) == ("fast", "Pending")


def test_a_logs_text_is_the_pods_annotation(site: Site) -> None:
    body = pod("talker")
    body["metadata"]["annotations"] = {"lab.edge-platform.io/log": "hello\n"}
    site.make(PODS, body)
    assert site.call("GET", f"{PODS}/talker/log").body == "hello\n"
