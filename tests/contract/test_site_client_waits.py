"""Waiting for health: how often it looks, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest

from edge.errors import NotYet, OperationFailed, SiteSilent
from edge.model.kube import ObjectHealth, ObjectRef
from edge.policy.health import health_of
from tests.contract.pretend_site import CONFIG_MAP, REF, Answer, Request, client_of, scripted, serve, status


def deployment(name: str, ready: int) -> dict[str, Any]:
    counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas", "readyReplicas"), ready)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "generation": 1},
        "spec": {"replicas": 1},
        "status": {**counts, "observedGeneration": 1, "conditions": [{"type": "Available", "status": "True"}]},
    }


REFS = [ObjectRef.of(deployment(name, 0)) for name in ("web", "api")]


def deployments(*objects: dict[str, Any], token: str = "") -> Answer:
    return Answer({"metadata": {"continue": token}, "items": list(objects)})


def test_waiting_uses_one_list_a_look_and_ends_when_all_are_current() -> None:
    script = scripted(
        deployments(deployment("web", 1)),
        status(503),
        deployments(deployment("web", 1), deployment("api", 0)),
        deployments(deployment("web", 1), deployment("api", 1), deployment("not-ours", 0)),
    )
    looks: list[list[str]] = []

    def note(healths: Any) -> None:
        looks.append([one.health for one in healths])

    with serve(script) as site, client_of(site) as client:
        healths = client.wait_for(REFS, health_of, within_s=20, every_s=0.01, on_progress=note)
        assert [one.ref for one in healths] == REFS
        assert looks == [
            ["Current", "NotFound"],
            ["Current", "NotFound"],
            ["Current", "InProgress"],
            ["Current", "Current"],
        ]
        assert site.paths()[2:] == ["/apis/apps/v1/namespaces/shop/deployments"] * 4


def test_waiting_asks_for_each_object_when_the_namespace_is_too_full_for_one_page() -> None:
    def script(request: Request) -> Answer:
        if "limit=" in request.path:
            return deployments(deployment("other", 0), token="more")
        return Answer(deployment(request.path.rpartition("/")[2], 1))

    with serve(script) as site, client_of(site) as client:
        client.wait_for(REFS, health_of, within_s=20, every_s=0.01)
        assert len(site.requests) == 2 + 3


def test_waiting_too_long_names_what_is_not_ready() -> None:
    script = scripted(deployments(deployment("web", 1), deployment("api", 0)))
    with serve(script) as site, client_of(site) as client, pytest.raises(NotYet) as caught:
        client.wait_for(REFS, health_of, within_s=0.05, every_s=0.01)
    assert caught.value.where["objects"] == "Deployment shop/api InProgress"
    assert "0 of 1 replicas" in caught.value.what


def test_waiting_on_a_silent_site_ends_with_its_silence() -> None:
    with serve(scripted(Answer(act="silence"))) as site, client_of(site) as client, pytest.raises(SiteSilent):
        client.wait_for([REF], health_of, within_s=0.05, every_s=0.01)


def test_a_failure_ends_the_waiting_at_once() -> None:
    failed = deployment("web", 0)
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too slow"}
    failed["status"]["conditions"].append(condition)
    script = scripted(deployments(failed))
    with serve(script) as site, client_of(site) as client, pytest.raises(OperationFailed, match="too slow"):
        client.wait_for(REFS, health_of, within_s=60, every_s=10)


def test_a_judge_of_ones_own_decides() -> None:
    def strict(obj: Any) -> ObjectHealth:
        return health_of({**obj, "metadata": {**obj["metadata"], "deletionTimestamp": "now"}})

    with serve(scripted(Answer(CONFIG_MAP))) as site, client_of(site) as client, pytest.raises(NotYet):
        client.wait_for([REF], strict, within_s=0.01, every_s=0.01)


def test_what_apply_returned_needs_no_look_when_it_is_current() -> None:
    seen = {**deployment("web", 1)}
    seen["metadata"] = {**seen["metadata"], "uid": "u"}
    with serve(scripted(Answer(deployment("api", 1)))) as site, client_of(site) as client:
        assert client.wait_for([seen], health_of, within_s=20)
        assert site.requests == []


def test_an_object_that_never_was_on_a_site_is_looked_at() -> None:
    with serve(scripted(Answer(CONFIG_MAP))) as site, client_of(site) as client:
        assert client.wait_for([CONFIG_MAP], health_of, within_s=20)
        assert site.paths()[-1] == "/api/v1/namespaces/shop/configmaps/one"


def test_a_failure_seen_before_is_looked_at_once_more() -> None:
    crashed = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "shop", "uid": "u"},
        "status": {"phase": "Failed"},
    }
    with serve(scripted(Answer({**crashed, "status": {"phase": "Succeeded"}}))) as site, client_of(site) as client:
        site.discovery["/api"] = [("", "v1", [("pods", "Pod", "Namespaced")])]
        assert client.wait_for([crashed], health_of, within_s=20)
