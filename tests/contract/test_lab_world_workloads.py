"""Workloads come alive: what is applied to a site is scheduled, started, replaced and ended as on a real cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.errors import NotFound
from edge.model.kube import ObjectRef

PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def lab(lab_factory):
    """A lab whose clock these tests may put forward."""
    return lab_factory("--sites", "4")


@pytest.fixture(scope="module")
def site(lab) -> Iterator[SiteClient]:
    with SiteClient(read_kubeconfig(Path(lab.sites[3].kubeconfig)), site=lab.sites[3].name) as client:
        yield client


@pytest.fixture
def namespace(site, request) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"t{abs(hash(request.node.nodeid)) % 10**9}"
    site.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    site.delete(ObjectRef(api_version="v1", kind="Namespace", name=name))


def template(image: str = "web:1", cpu: str = "10m", **annotations: str) -> dict[str, Any]:
    notes = {f"lab.edge-platform.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    container = {
        "name": "main",
        "image": image,
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": cpu, "memory": "16Mi"}},
    }
    return {"metadata": {"labels": {"app": "web"}, "annotations": notes}, "spec": {"containers": [container]}}


def workload(kind: str, namespace: str, pods: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": pods, **spec},
    }


def deployment(namespace: str, pods: dict[str, Any], replicas: int = 2, **spec: Any) -> dict[str, Any]:
    return workload("Deployment", namespace, pods, replicas=replicas, **spec)


def ref(obj: dict[str, Any]) -> ObjectRef:
    return ObjectRef.of(obj)


def until(site: SiteClient, obj: dict[str, Any], holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The object once it is as wanted."""
    end = time.monotonic() + PATIENCE_S
    while True:
        found = site.get(ref(obj))
        if holds(found):
            return found
        assert time.monotonic() < end, found.get("status")
        time.sleep(0.05)


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def status(obj: dict[str, Any], field: str) -> Any:
    return obj.get("status", {}).get(field)


def condition(obj: dict[str, Any], kind: str) -> tuple[str, str]:
    found = [one for one in obj.get("status", {}).get("conditions", ()) if one["type"] == kind]
    return (found[0]["status"], found[0].get("reason", "")) if found else ("", "")


def pods(site: SiteClient, namespace: str) -> list[dict[str, Any]]:
    return sorted(site.list("v1", "Pod", namespace=namespace), key=lambda pod: pod["metadata"]["name"])


def images_of(pod: dict[str, Any]) -> list[str]:
    return [one["image"] for one in pod["spec"]["containers"]]


def rolled_out(obj: dict[str, Any]) -> bool:
    """As `kubectl rollout status` sees it."""
    wanted, now = obj["spec"]["replicas"], obj.get("status", {})
    if now.get("observedGeneration", 0) < obj["metadata"]["generation"]:
        return False
    return [now.get(word, 0) for word in ("replicas", "updatedReplicas", "availableReplicas")] == [wanted] * 3


def waiting(pod: dict[str, Any]) -> set[str]:
    return {one["state"].get("waiting", {}).get("reason") for one in pod["status"].get("containerStatuses", ())}


def test_a_deployment_rolls_out(site, namespace):
    site.apply(web := deployment(namespace, template()))

    done = until(site, web, rolled_out)

    assert condition(done, "Available") == ("True", "MinimumReplicasAvailable")
    assert condition(done, "Progressing") == ("True", "NewReplicaSetAvailable")
    assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    assert [status(pod, "phase") for pod in pods(site, namespace)] == ["Running", "Running"]
    assert len({status(pod, "podIP") for pod in pods(site, namespace)}) == 2


def test_nothing_is_written_when_nothing_changes(site, namespace):
    site.apply(web := deployment(namespace, template()))
    before = until(site, web, rolled_out)["metadata"]["resourceVersion"]

    site.apply(web)
    time.sleep(0.5)

    assert site.get(ref(web))["metadata"]["resourceVersion"] == before


def test_a_new_template_replaces_all_pods_and_a_third_revision_may_be_the_first_again(site, namespace):
    site.apply(web := deployment(namespace, template("web:1"), replicas=3))
    until(site, web, rolled_out)
    for image in ("web:2", "web:1"):
        site.apply(deployment(namespace, template(image), replicas=3))
        until(site, web, rolled_out)
        eventually(lambda: len(pods(site, namespace)) == 3)
        assert {pod["spec"]["containers"][0]["image"] for pod in pods(site, namespace)} == {image}

    sets = list(site.list("apps/v1", "ReplicaSet", namespace=namespace))
    assert sorted(one["spec"]["replicas"] for one in sets) == [0, 3]
    assert site.get(ref(web))["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


def test_enough_pods_stay_available_when_the_new_image_is_missing(site, namespace):
    site.apply(web := deployment(namespace, template("web:1"), replicas=4))
    until(site, web, rolled_out)
    site.apply(deployment(namespace, template("web:missing"), replicas=4))

    stuck = until(site, web, lambda obj: any("ImagePullBackOff" in waiting(pod) for pod in pods(site, namespace)))

    assert status(stuck, "availableReplicas") >= 3
    assert len(pods(site, namespace)) <= 5


def test_recreate_ends_the_old_pods_first(site, namespace):
    recreate = {"strategy": {"type": "Recreate"}}
    site.apply(web := deployment(namespace, template("web:1"), **recreate))
    until(site, web, rolled_out)
    site.apply(deployment(namespace, template("web:2"), **recreate))
    until(site, web, rolled_out)

    assert {pod["spec"]["containers"][0]["image"] for pod in pods(site, namespace)} == {"web:2"}


def test_a_rollout_that_is_stuck_exceeds_its_deadline(lab, site, namespace):
    site.apply(web := deployment(namespace, template("web:missing"), progressDeadlineSeconds=600))
    until(site, web, lambda obj: condition(obj, "Progressing")[0] == "True")
    lab.ask("PUT", "/lab/clock", {"advance_s": 700})

    stuck = until(site, web, lambda obj: condition(obj, "Progressing")[0] == "False")

    assert condition(stuck, "Progressing") == ("False", "ProgressDeadlineExceeded")
    assert condition(stuck, "Available") == ("False", "MinimumReplicasUnavailable")


def test_a_pod_that_does_not_fit_stays_pending_and_runs_when_there_is_room(site, namespace):
    site.apply(big := deployment(namespace, template(cpu="3"), replicas=2))
    eventually(lambda: any(condition(pod, "PodScheduled")[0] == "False" for pod in pods(site, namespace)))
    (left,) = [pod for pod in pods(site, namespace) if condition(pod, "PodScheduled")[0] == "False"]
    assert "Insufficient cpu" in left["status"]["conditions"][0]["message"]

    (running,) = [pod for pod in pods(site, namespace) if pod["metadata"]["name"] != left["metadata"]["name"]]
    site.apply({**big, "spec": {**big["spec"], "replicas": 1}})
    eventually(lambda: len(pods(site, namespace)) == 1)

    assert pods(site, namespace)[0]["metadata"]["name"] == running["metadata"]["name"]


def test_a_full_node_takes_no_pod_until_the_weather_turns(lab, site, namespace):
    lab.fault(site_name := lab.sites[3].name, "full-node")
    site.apply(web := deployment(namespace, template(), replicas=1))
    eventually(lambda: any(condition(pod, "PodScheduled")[0] == "False" for pod in pods(site, namespace)))
    lab.lift(site_name)

    assert rolled_out(until(site, web, rolled_out))


def test_a_pod_waits_for_the_config_map_it_refers_to(site, namespace):
    pods_ = template()
    pods_["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "settings"}}]
    site.apply(web := deployment(namespace, pods_, replicas=1))
    eventually(lambda: any("CreateContainerConfigError" in waiting(pod) for pod in pods(site, namespace)))

    meta = {"name": "settings", "namespace": namespace}
    site.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})

    assert rolled_out(until(site, web, rolled_out))


def test_a_node_is_filled_to_the_last_thousandth_of_a_core(site, namespace):
    site.apply(web := deployment(namespace, template(cpu="100m"), replicas=40))

    assert rolled_out(until(site, web, rolled_out))


def test_crashing_containers_are_restarted_and_back_off(site, namespace):
    site.apply(deployment(namespace, template("web:crash"), replicas=1))

    eventually(lambda: any("CrashLoopBackOff" in waiting(pod) for pod in pods(site, namespace)))

    assert pods(site, namespace)[0]["status"]["containerStatuses"][0]["restartCount"] >= 1


def test_a_pod_that_is_never_ready_keeps_its_deployment_unavailable(site, namespace):
    site.apply(web := deployment(namespace, template(ready_after="never"), replicas=1))

    eventually(lambda: any(status(pod, "phase") == "Running" for pod in pods(site, namespace)))

    assert condition(site.get(ref(web)), "Available")[0] == "False"


def test_a_deleted_pod_is_replaced(site, namespace):
    site.apply(web := deployment(namespace, template(), replicas=1))
    until(site, web, rolled_out)
    (first,) = pods(site, namespace)
    site.delete(ref(first))

    eventually(
        lambda: [one["metadata"]["name"] for one in pods(site, namespace)] not in ([], [first["metadata"]["name"]])
    )
    until(site, web, rolled_out)


def test_deleting_a_deployment_takes_all_that_it_owns(site, namespace):
    site.apply(web := deployment(namespace, template()))
    until(site, web, rolled_out)
    site.delete(ref(web))

    eventually(lambda: not pods(site, namespace))
    assert not list(site.list("apps/v1", "ReplicaSet", namespace=namespace))


def test_a_quota_keeps_pods_from_being_created_and_the_deployment_says_so(site, namespace):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small", "namespace": namespace}}
    site.apply({**quota, "spec": {"hard": {"pods": "1"}}})
    site.apply(web := deployment(namespace, template(), replicas=2))

    stuck = until(site, web, lambda obj: condition(obj, "ReplicaFailure")[0] == "True")

    assert condition(stuck, "ReplicaFailure") == ("True", "FailedCreate")
    assert len(pods(site, namespace)) == 1


def test_a_stateful_set_starts_its_pods_in_order_with_claims_that_are_bound(site, namespace):
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    site.apply(
        db := workload("StatefulSet", namespace, template(), replicas=3, serviceName="db", volumeClaimTemplates=[claim])
    )

    done = until(site, db, lambda obj: status(obj, "readyReplicas") == 3)

    started = [pod["status"]["startTime"] for pod in pods(site, namespace)]
    claims = list(site.list("v1", "PersistentVolumeClaim", namespace=namespace))
    assert [pod["metadata"]["name"] for pod in pods(site, namespace)] == ["web-0", "web-1", "web-2"]
    assert started == sorted(started)
    assert {(one["metadata"]["name"], status(one, "phase")) for one in claims} == {
        (f"data-web-{number}", "Bound") for number in range(3)
    }
    assert done["status"]["currentRevision"] == done["status"]["updateRevision"]


def test_a_stateful_set_replaces_its_pods_from_the_last_to_the_first(site, namespace):
    site.apply(db := workload("StatefulSet", namespace, template("db:1"), replicas=2, serviceName="db"))
    until(site, db, lambda obj: status(obj, "readyReplicas") == 2)
    site.apply(workload("StatefulSet", namespace, template("db:2"), replicas=2, serviceName="db"))

    until(site, db, lambda obj: status(obj, "updatedReplicas") == 2 and status(obj, "readyReplicas") == 2)

    first, last = pods(site, namespace)
    assert {pod["spec"]["containers"][0]["image"] for pod in (first, last)} == {"db:2"}
    assert first["metadata"]["creationTimestamp"] >= last["metadata"]["creationTimestamp"]


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_earlier_templates_are_kept_as_revisions_until_there_are_too_many(site, namespace, kind):
    for image in ("web:1", "web:2", "web:3", "web:2"):
        site.apply(workload(kind, namespace, template(image), revisionHistoryLimit=1))
        eventually(lambda image=image: [images_of(pod) for pod in pods(site, namespace)] == [[image]])

    listed = partial(site.list, "apps/v1", "ControllerRevision", namespace=namespace)
    wanted = {3: ["web:3"], 4: ["web:2"]}
    eventually(lambda: {one["revision"]: images_of(one["data"]["spec"]["template"]) for one in listed()} == wanted)


def test_a_daemon_set_runs_on_the_node(lab, site, namespace):
    site.apply(agent := workload("DaemonSet", namespace, template()))

    done = until(site, agent, lambda obj: status(obj, "numberReady") == 1)

    assert (status(done, "desiredNumberScheduled"), status(done, "numberAvailable")) == (1, 1)
    assert [pod["spec"]["nodeName"] for pod in pods(site, namespace)] == [lab.sites[3].name]


def job(namespace: str, pod: dict[str, Any], **spec: Any) -> dict[str, Any]:
    pod["spec"]["restartPolicy"] = "Never"
    meta = {"name": "work", "namespace": namespace}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": pod, **spec}}


def test_a_job_completes(site, namespace):
    site.apply(work := job(namespace, template(), completions=2, parallelism=2))

    done = until(site, work, lambda obj: condition(obj, "Complete")[0] == "True")

    assert status(done, "succeeded") == 2
    assert status(done, "completionTime") >= status(done, "startTime")


def test_a_job_that_fails_too_often_is_failed(site, namespace):
    site.apply(work := job(namespace, template(exit_code="3"), backoffLimit=1))

    done = until(site, work, lambda obj: condition(obj, "Failed")[0] == "True")

    ended = [pod["status"]["containerStatuses"][0]["state"]["terminated"] for pod in pods(site, namespace)]
    assert condition(done, "Failed") == ("True", "BackoffLimitExceeded")
    assert {one["exitCode"] for one in ended} == {3}


def test_a_job_that_takes_too_long_is_failed(lab, site, namespace):
    site.apply(work := job(namespace, template(runs_for="24h"), activeDeadlineSeconds=3600))
    until(site, work, lambda obj: status(obj, "active") == 1)
    lab.ask("PUT", "/lab/clock", {"advance_s": 4000})

    done = until(site, work, lambda obj: condition(obj, "Failed")[0] == "True")

    assert condition(done, "Failed") == ("True", "DeadlineExceeded")


def test_ready_pods_stand_behind_their_service(site, namespace):
    port = {"name": "http", "port": 80, "targetPort": "http"}
    meta = {"name": "web", "namespace": namespace}
    site.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": {"app": "web"}, "ports": [port]}}
    )
    site.apply(web := deployment(namespace, template()))
    until(site, web, rolled_out)

    def addresses() -> set[str]:
        slices = site.list("discovery.k8s.io/v1", "EndpointSlice", namespace=namespace)
        ends = [end for one in slices for end in one.get("endpoints") or () if end["conditions"]["ready"]]
        return {address for end in ends for address in end["addresses"]}

    eventually(lambda: addresses() == {status(pod, "podIP") for pod in pods(site, namespace)})


def test_a_namespace_empties_itself_and_goes(site):
    meta = {"name": "short-lived"}
    site.apply(space := {"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    site.apply(web := deployment("short-lived", template()))
    until(site, web, rolled_out)
    site.delete(ref(space))

    def gone() -> bool:
        try:
            site.get(ref(space))
        except NotFound:
            return True
        return False

    eventually(gone)


def test_the_node_is_ready_and_its_lease_is_renewed_when_somebody_looks(lab, site):
    (node,) = site.list("v1", "Node")
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": node["metadata"]["name"], "namespace": "kube-node-lease"},
    }
    before = site.get(ref(lease))["spec"]["renewTime"]
    lab.ask("PUT", "/lab/clock", {"advance_s": 60})

    assert condition(node, "Ready") == ("True", "KubeletReady")
    assert site.get(ref(lease))["spec"]["renewTime"] > before
