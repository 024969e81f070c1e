"""Deleting in the lab's API server: finalizers, owners, namespaces, grace, evictions."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client

from tests.contract.lab_kube_site import CM, PODS, Site, config_map, pod


def _family(site: Site, *, blocking: bool = False) -> None:
    owner = site.make(CM, config_map("owner"))
    for name in ("child", "held"):
        body = config_map(name)
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
        body["metadata"]["ownerReferences"] = [reference | ({"blockOwnerDeletion": True} if blocking else {})]
        if name == "held":
            body["metadata"]["finalizers"] = ["example.com/hold"]
        site.make(CM, body)


def _there(site: Site, *names: str) -> list[bool]:
    return [site.call("GET", f"{CM}/{name}").code == 200 for name in names]


def _release(site: Site, name: str) -> None:
    assert site.merge(f"{CM}/{name}", {"metadata": {"finalizers": None}}).code == 200


def test_a_finalizer_holds_an_object_until_it_is_gone(site: Site) -> None:
    site.make(CM, {**config_map("held"), "metadata": {"name": "held", "finalizers": ["example.com/hold"]}})
    first = site.call("DELETE", f"{CM}/held").body
    assert first["metadata"]["deletionTimestamp"]
    more = site.merge(f"{CM}/held", {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}})
    assert more.code == 422
    _release(site, "held")
    assert _there(site, "held") == [False]


def test_deleting_answers_with_a_status_or_with_the_object(site: Site) -> None:
    site.make(CM, config_map("x"))
    status = site.call("DELETE", f"{CM}/x").body
    assert (status["kind"], status["status"], status["details"]["name"]) == ("Status", "Success", "x")
    site.make(PODS, pod("p"))
    assert site.call("DELETE", f"{PODS}/p").body["kind"] == "Pod"


def test_preconditions_protect_another_object_of_the_same_name(site: Site) -> None:
    uid = site.make(CM, config_map("x"))["metadata"]["uid"]
    wrong = site.call("DELETE", f"{CM}/x", {"preconditions": {"uid": "other"}})
    assert (wrong.code, wrong.body["reason"]) == (409, "Conflict")
    assert site.call("DELETE", f"{CM}/x", {"preconditions": {"uid": uid}}).code == 200


def test_in_the_background_the_owner_goes_first(site: Site) -> None:
    _family(site)
    site.call("DELETE", f"{CM}/owner", {"propagationPolicy": "Background"})
    assert _there(site, "owner", "child", "held") == [False, False, True]
    assert site.get(f"{CM}/held")["metadata"]["deletionTimestamp"]


def test_in_the_foreground_the_owner_goes_last(site: Site) -> None:
    _family(site, blocking=True)
    site.call("DELETE", f"{CM}/owner?propagationPolicy=Foreground")
    assert _there(site, "owner", "child", "held") == [True, False, True]
    assert site.get(f"{CM}/owner")["metadata"]["finalizers"] == ["foregroundDeletion"]
    _release(site, "held")
    assert _there(site, "owner", "held") == [False, False]


def test_orphans_stay_and_forget_their_owner(site: Site) -> None:
    _family(site)
    site.call("DELETE", f"{CM}/owner", {"propagationPolicy": "Orphan"})
    assert _there(site, "owner", "child", "held") == [False, True, True]
    assert "ownerReferences" not in site.get(f"{CM}/child")["metadata"]
    assert site.call("DELETE", f"{CM}/child", {"propagationPolicy": "Sideways"}).code == 422


def test_a_second_owner_keeps_an_object(site: Site) -> None:
    uids = {name: site.make(CM, config_map(name))["metadata"]["uid"] for name in ("one", "two")}
    body = config_map("shared")
    body["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid} for name, uid in uids.items()
    ]
    site.make(CM, body)
    site.call("DELETE", f"{CM}/one")
    assert [one["name"] for one in site.get(f"{CM}/shared")["metadata"]["ownerReferences"]] == ["two"]
    site.call("DELETE", f"{CM}/two")
    assert _there(site, "shared") == [False]


def test_an_object_whose_owner_never_was_is_collected(site: Site) -> None:
    body = config_map("lost")
    body["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "no-such"}]
    site.make(CM, body)
    assert _there(site, "lost") == [False]


def test_a_selection_is_deleted(site: Site) -> None:
    for name in "ab":
        site.make(CM, {**config_map(name), "metadata": {"name": name, "labels": {"go": "yes"}}})
    site.make(CM, config_map("c"))
    taken = site.call("DELETE", f"{CM}?labelSelector=go=yes").body
    assert [one["metadata"]["name"] for one in taken["items"]] == ["a", "b"]
    assert _there(site, "a", "b", "c") == [False, False, True]


def test_a_namespace_is_furnished_emptied_and_gone(site: Site) -> None:
    core = client.CoreV1Api(site.api())
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="line")))
    assert site.get("/api/v1/namespaces/line/serviceaccounts/default")
    assert site.get("/api/v1/namespaces/line/configmaps/kube-root-ca.crt")["data"] == {"ca.crt": "a certificate"}
    assert site.get("/api/v1/namespaces/line")["metadata"]["labels"] == {"kubernetes.io/metadata.name": "line"}
    held = {**config_map("held"), "metadata": {"name": "held", "finalizers": ["example.com/hold"]}}
    site.make("/api/v1/namespaces/line/configmaps", held)
    last = site.call("DELETE", "/api/v1/namespaces/line").body
    assert last["status"]["phase"] == "Terminating"
    refused = site.call("POST", "/api/v1/namespaces/line/configmaps", config_map("late"))
    assert (refused.code, refused.causes) == (403, [("metadata.namespace", "NamespaceTerminating")])
    site.merge("/api/v1/namespaces/line/configmaps/held", {"metadata": {"finalizers": None}})
    assert site.call("GET", "/api/v1/namespaces/line").code == 404


def test_the_namespaces_of_the_cluster_itself_stay(site: Site) -> None:
    assert site.call("DELETE", "/api/v1/namespaces/kube-system").code == 403


def test_a_running_pod_gets_time_to_end(site: Site) -> None:
    site.make(PODS, pod("running", nodeName="n1", terminationGracePeriodSeconds=7))
    meta = site.call("DELETE", f"{PODS}/running").body["metadata"]
    assert meta["deletionGracePeriodSeconds"] == 7
    assert (
        site.call("DELETE", f"{PODS}/running", {"gracePeriodSeconds": 2}).body["metadata"]["deletionGracePeriodSeconds"]
        == 2
    )
    site.call("DELETE", f"{PODS}/running", {"gracePeriodSeconds": 0})
    assert site.call("GET", f"{PODS}/running").code == 404


def test_a_pod_without_a_node_goes_at_once(site: Site) -> None:
    site.make(PODS, pod("free"))
    site.call("DELETE", f"{PODS}/free")
    assert site.call("GET", f"{PODS}/free").code == 404


def _ready_pods(site: Site, count: int) -> None:
    for number in range(count):
        body = pod(f"p{number}", nodeName="n1")
        body["metadata"]["labels"] = {"app": "guarded"}
        site.make(PODS, body)
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        site.merge(f"{PODS}/p{number}/status", {"status": ready})


def _evict(site: Site, name: str) -> Any:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    return site.call("POST", f"{PODS}/{name}/eviction", body)


@pytest.mark.parametrize(
    ("budget", "allowed"),
    [
        pytest.param({"minAvailable": 2}, 1, id="at-least"),
        pytest.param({"minAvailable": "50%"}, 1, id="at-least-share"),
        pytest.param({"maxUnavailable": 1}, 1, id="at-most"),
        pytest.param({"maxUnavailable": 0}, 0, id="none"),
    ],
)
def test_an_eviction_honours_the_disruption_budget(site: Site, budget: dict[str, Any], allowed: int) -> None:
    _ready_pods(site, 3)
    spec = {"selector": {"matchLabels": {"app": "guarded"}}, **budget}
    body = {"metadata": {"name": "guard"}, "spec": spec}
    site.make("/apis/policy/v1/namespaces/default/poddisruptionbudgets", body)
    codes = [_evict(site, f"p{number}").code for number in range(3)]
    assert codes == [201] * allowed + [429] * (3 - allowed)


def test_a_refused_eviction_says_which_budget_but_not_when_it_may_succeed(site: Site) -> None:
    _ready_pods(site, 1)
    body = {"metadata": {"name": "guard"}, "spec": {"selector": {"matchLabels": {"app": "guarded"}}, "minAvailable": 1}}
    site.make("/apis/policy/v1/namespaces/default/poddisruptionbudgets", body)
    reply = _evict(site, "p0")
    assert reply.body["reason"] == "TooManyRequests"
    assert "guard needs 1 healthy pods and has 1 currently" in reply.body["details"]["causes"][0]["message"]
    assert "retry-after" not in reply.headers


def test_a_pod_is_bound_once(site: Site) -> None:
    site.make(PODS, pod("bound"))
    body = {"target": {"apiVersion": "v1", "kind": "Node", "name": "n1"}}
    assert site.call("POST", f"{PODS}/bound/binding", body).code == 201
    assert site.get(f"{PODS}/bound")["spec"]["nodeName"] == "n1"
    assert site.call("POST", f"{PODS}/bound/binding", body).code == 409
