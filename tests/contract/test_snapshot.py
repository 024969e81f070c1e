"""Snapshots at a site: taken once, kept there, and the way back."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from edge.clients.access import SiteAccess
from edge.clients.kubernetes import SiteClient
from edge.errors import LedgerMismatch, NotFound, OperationFailed, OwnershipConflict, Rejected, SiteUnfit
from edge.model.kube import KubeObject, ObjectRef
from edge.policy import snapshot
from edge.policy.fencing import namespace_object
from tasks.fencing import fenced
from tasks.snapshot import look, restore_snapshot, take_snapshot
from tests.contract.lab_kube_site import ADMIN, CM, DEPLOYMENTS, WIDGETS, Site, deployment, widget, widget_crd
from tests.contract.pretend_site import Answer, Request, client_of, serve, status

WORK, STAMP = "rollout:1", "shop"
LABELS = {"app.kubernetes.io/managed-by": "edge-platform", "edge-platform.io/stamp": STAMP}


def ours(obj: dict[str, Any], namespace: str = "default") -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {**obj, "metadata": {**obj["metadata"], **place, "labels": LABELS}}


def config(name: str, namespace: str = "default", **data: str) -> dict[str, Any]:
    return ours({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}, namespace)


SPACE = ours({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}}, "")
OLD = (config("kept", a="1", b="2"), ours(deployment("app")), config("dropped", z="1"))
NEW = (SPACE, config("kept", a="2", c="3", theirs="taken"), ours(deployment("app", 3)), config("fresh", "new", q="1"))
REFS = tuple(dict.fromkeys(ObjectRef.of(obj) for obj in (*OLD, *NEW)))


@pytest.fixture
def client(site: Site) -> Iterator[SiteClient]:
    with SiteClient(SiteAccess(server=site.url, token=SecretStr(ADMIN), insecure=True), site="site-0001") as found:
        yield found


@pytest.fixture
def stamped(client: SiteClient, site: Site) -> dict[ObjectRef, KubeObject | None]:
    """The old version, with a field of another manager, a snapshot of it, and the new version over it."""
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"theirs": "x"}}
    site.apply(f"{CM}/kept", theirs, manager="them")
    for obj in OLD:
        client.apply(obj)
    before = dict(look(client, REFS))
    take_snapshot(client, WORK, REFS, stamp=STAMP)
    for obj in NEW:
        client.apply(obj, force=True)
    client.delete(ObjectRef.of(OLD[2]))
    return before


def rid(obj: KubeObject | None) -> Any:
    """What is compared: all but what the server sets, and who owns what."""
    if obj is None or obj["metadata"].get("deletionTimestamp"):
        return None
    entries = [one for one in obj["metadata"]["managedFields"] if not one.get("subresource")]
    return snapshot.plain(obj), sorted(
        (one["manager"], one["operation"], json.dumps(one["fieldsV1"], sort_keys=True)) for one in entries
    )


def test_a_site_goes_back_to_what_it_was(client: SiteClient, stamped: dict[ObjectRef, KubeObject | None]) -> None:
    with fenced(client, "site-0001", WORK) as writer:
        done = restore_snapshot(writer, WORK, stamp=STAMP)
    assert done == {
        "deleted": ["ConfigMap new/fresh", "Namespace new"],
        "restored": ["ConfigMap default/kept", "Deployment default/app"],
        "made_anew": ["ConfigMap default/dropped"],
    }
    after = look(client, REFS)
    assert {ref: rid(obj) for ref, obj in after.items()} == {ref: rid(obj) for ref, obj in stamped.items()}
    assert set(restore_snapshot(client, WORK, stamp=STAMP)) == {"unchanged"}


@pytest.mark.usefixtures("stamped")
def test_what_others_changed_since_stays(client: SiteClient, site: Site) -> None:
    site.merge(f"{CM}/kept", {"data": {"later": "by a person"}})
    site.merge(f"{DEPLOYMENTS}/app", {"metadata": {"annotations": {"note": "mine"}}})
    restore_snapshot(client, WORK, stamp=STAMP)
    assert site.get(f"{CM}/kept")["data"] == {"a": "1", "b": "2", "theirs": "x", "later": "by a person"}
    app = site.get(f"{DEPLOYMENTS}/app")
    assert app["metadata"]["annotations"]["note"] == "mine"
    assert app["spec"]["replicas"] == 1


@pytest.mark.usefixtures("stamped")
def test_a_namespace_that_holds_something_of_others_stays_and_is_named(client: SiteClient, site: Site) -> None:
    site.make("/api/v1/namespaces/new/configmaps", {"metadata": {"name": "of-a-person"}})
    done = restore_snapshot(client, WORK, stamp=STAMP)
    assert done["left"] == ["Namespace new: it holds ConfigMap new/of-a-person"]
    assert done["deleted"] == ["ConfigMap new/fresh"]
    assert site.get("/api/v1/namespaces/new/configmaps/of-a-person")


@pytest.mark.usefixtures("stamped")
def test_an_object_that_others_made_theirs_is_not_deleted(client: SiteClient, site: Site) -> None:
    site.merge("/api/v1/namespaces/new/configmaps/fresh", {"metadata": {"labels": {"edge-platform.io/stamp": "bank"}}})
    done = restore_snapshot(client, WORK, stamp=STAMP)
    assert done["left"] == [
        "ConfigMap new/fresh: it does not carry this stamp's labels",
        "Namespace new: it holds ConfigMap new/fresh",
    ]


def test_a_definition_with_objects_of_others_stays(client: SiteClient, site: Site) -> None:
    definition = ours(widget_crd(), "")
    take_snapshot(client, WORK, [ObjectRef.of(definition)], stamp=STAMP)
    client.apply(definition)
    site.make(WIDGETS, widget("theirs", size=1))
    assert restore_snapshot(client, WORK, stamp=STAMP) == {
        "left": ["CustomResourceDefinition widgets.edge.example.com: it holds Widget default/theirs"]
    }
    site.call("DELETE", f"{WIDGETS}/theirs")
    assert "deleted" in restore_snapshot(client, WORK, stamp=STAMP)


def test_the_same_work_takes_its_snapshot_once_and_the_next_work_replaces_it(client: SiteClient, site: Site) -> None:
    refs = [ObjectRef.of(OLD[0])]
    first = take_snapshot(client, WORK, refs, stamp=STAMP)
    client.apply(OLD[0])
    assert take_snapshot(client, WORK, refs, stamp=STAMP) == first
    assert first == {"digest": first["digest"], "objects": 1, "absent": 1}
    second = take_snapshot(client, "rollout:2", refs, stamp=STAMP)
    assert second["absent"] == 0
    kept = site.get("/api/v1/namespaces/edge-platform/secrets")["items"]
    assert [(one["metadata"]["name"], one["type"]) for one in kept] == [
        ("snapshot.shop.0", "edge-platform.io/snapshot")
    ]
    with pytest.raises(NotFound, match="no snapshot of this work"):
        restore_snapshot(client, WORK, stamp=STAMP)
    with pytest.raises(LedgerMismatch):
        restore_snapshot(client, "rollout:2", stamp=STAMP, digest=str(first["digest"]))


def test_an_object_of_another_stamp_is_refused_before_anything_is_written(client: SiteClient, site: Site) -> None:
    client.apply(OLD[0])
    with pytest.raises(OwnershipConflict) as refused:
        take_snapshot(client, WORK, REFS, stamp="bank")
    assert refused.value.where["other"] == STAMP
    assert site.call("GET", "/api/v1/namespaces/edge-platform").code == 404


def test_an_object_that_the_site_does_not_take_back_is_named_and_the_others_come_back(
    client: SiteClient, site: Site, stamped: dict[ObjectRef, KubeObject | None]
) -> None:
    rule = {"apiGroups": [""], "apiVersions": ["*"], "operations": ["*"], "resources": ["configmaps"]}
    expression = "request.name != 'kept'"
    policy = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": expression}]}
    kinds = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    site.make(kinds, {"metadata": {"name": "no"}, "spec": policy})
    binding = {"policyName": "no", "validationActions": ["Deny"]}
    site.make(f"{kinds[:-3]}ybindings", {"metadata": {"name": "no"}, "spec": binding})
    with pytest.raises(OperationFailed, match="ConfigMap default/kept"):
        restore_snapshot(client, WORK, stamp=STAMP)
    assert site.get(f"{DEPLOYMENTS}/app")["spec"]["replicas"] == 1
    site.call("DELETE", f"{kinds[:-3]}ybindings/no")
    restore_snapshot(client, WORK, stamp=STAMP)
    assert {ref: rid(obj) for ref, obj in look(client, REFS).items()} == {ref: rid(obj) for ref, obj in stamped.items()}


def test_many_objects_of_one_kind_are_looked_up_page_by_page() -> None:
    names = [f"c{number}" for number in range(60)]
    refs = [ObjectRef.of(config(name)) for name in [*names, "absent"]]

    def script(request: Request) -> Answer:
        second = "continue=more" in request.path
        items = [{"metadata": {"name": name, "uid": name}} for name in (names[30:] if second else names[:30])]
        meta = {"resourceVersion": "1", **({} if second else {"continue": "more"})}
        return Answer({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": meta, "items": items})

    with serve(script) as pretend, client_of(pretend) as client:
        found = look(client, refs)
        assert [ref.name for ref, obj in found.items() if obj is None] == ["absent"]
        assert pretend.paths().count("/api/v1/namespaces/default/configmaps") == 2
        assert len(pretend.requests) == 4


def full_disk(_: Request) -> Answer:
    return status(500, "InternalError", "etcdserver: mvcc: database space exceeded")


def no_room(_: Request) -> Answer:
    return status(403, "Forbidden", 'secrets "snapshot.shop.0" is forbidden: exceeded quota: all', name="all")


@pytest.mark.parametrize(
    ("answers", "error"),
    [pytest.param(full_disk, SiteUnfit, id="a full disk"), pytest.param(no_room, Rejected, id="a quota")],
)
def test_a_site_that_cannot_keep_a_snapshot_says_why(
    answers: Callable[[Request], Answer], error: type[Exception]
) -> None:
    def script(request: Request) -> Answer:
        return answers(request) if request.method != "GET" else status(404, "NotFound", "none", name="x")

    with serve(script) as pretend:
        core = pretend.discovery["/api"][0]
        pretend.discovery["/api"] = [(core[0], core[1], [*core[2], ("secrets", "Secret", "Namespaced")])]
        with client_of(pretend) as client, pytest.raises(error, match="nothing was changed"):
            take_snapshot(client, WORK, [ObjectRef.of(OLD[0])], stamp=STAMP)


def test_a_snapshot_of_many_megabytes_is_kept_in_several_secrets(client: SiteClient, site: Site) -> None:
    client.apply(namespace_object())
    letters = random.Random(1)
    texts = ["".join(letters.choices("0123456789abcdef", k=500_000)) for _ in range(5)]
    objects = [config(f"large-{number}", text=text) for number, text in enumerate(texts)]
    for obj in objects:
        client.apply(obj)
    refs = [ObjectRef.of(obj) for obj in objects]
    take_snapshot(client, WORK, refs, stamp=STAMP)
    for obj in objects:
        client.apply({**obj, "data": {"text": "changed"}})
    assert len(site.get("/api/v1/namespaces/edge-platform/secrets")["items"]) == 2
    restore_snapshot(client, WORK, stamp=STAMP)
    assert [found["data"]["text"] for found in look(client, refs).values() if found] == texts
    take_snapshot(client, "rollout:2", refs[:1], stamp=STAMP)
    assert len(site.get("/api/v1/namespaces/edge-platform/secrets")["items"]) == 1
