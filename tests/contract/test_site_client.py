"""`SiteClient` against a whole API server: the lab's, and a real cluster's when `EDGE_TEST_KUBECONFIG` names one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client as official
from kubernetes import config as official_config
from pydantic import SecretStr

from edge.clients.kube_watch import Change
from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import FIELD_MANAGER, SiteClient
from edge.errors import CredentialRejected, NotFound, OwnershipConflict, Rejected
from edge.model.kube import Health, ObjectRef
from edge.model.site import Site
from edge.policy.baseline import baseline_faults, baseline_objects, parse_baseline
from edge.policy.health import health_of

REAL = os.environ.get("EDGE_TEST_KUBECONFIG")
SHIPPED = Path(__file__).parents[2] / "deployments" / "baseline.yaml"


@pytest.fixture(scope="module", params=["lab", "real"] if REAL else ["lab"])
def kubeconfig(request: pytest.FixtureRequest) -> Path:
    if request.param == "real":
        assert REAL is not None
        return Path(REAL)
    return Path(request.getfixturevalue("lab").sites[0].kubeconfig)


@pytest.fixture(scope="module")
def client(kubeconfig: Path) -> Iterator[SiteClient]:
    with SiteClient(read_kubeconfig(kubeconfig), site="site-under-test") as found:
        yield found


@pytest.fixture
def namespace(client: SiteClient) -> Iterator[str]:
    name = f"edge-test-{uuid.uuid4().hex[:10]}"
    made = client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    client.delete(ObjectRef.of(made))


def config_map(namespace: str, name: str = "one", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {"edge-test": "yes"}},
        "data": data,
    }


def applied_by_another(kubeconfig: Path, obj: dict[str, Any]) -> None:
    """Apply a ConfigMap with the official client under a manager of its own."""
    with official_config.new_client_from_config(str(kubeconfig)) as api:
        official.CoreV1Api(api).patch_namespaced_config_map(
            obj["metadata"]["name"],
            obj["metadata"]["namespace"],
            obj,
            field_manager="another",
            _content_type="application/apply-patch+yaml",
            _request_timeout=(5, 30),
        )


def test_the_server_says_what_it_is_and_serves(client: SiteClient) -> None:
    assert client.version()["gitVersion"].startswith("v1.")
    found = client.discovery()
    assert found.serves("apps/v1")
    deployment = found.find("apps/v1", "Deployment")
    assert deployment is not None
    assert deployment.path("n", "x") == "/apis/apps/v1/namespaces/n/deployments/x"


def test_an_apply_creates_and_a_second_one_changes_nothing(client: SiteClient, namespace: str) -> None:
    first = client.apply(config_map(namespace, a="1"))
    second = client.apply(config_map(namespace, a="1"))
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    assert {entry["manager"] for entry in second["metadata"]["managedFields"]} == {FIELD_MANAGER}


def test_a_dropped_field_is_removed(client: SiteClient, namespace: str) -> None:
    client.apply(config_map(namespace, a="1", b="2"))
    client.apply(config_map(namespace, a="1"))
    assert client.get(ObjectRef.of(config_map(namespace)))["data"] == {"a": "1"}


def test_a_conflict_names_the_other_manager_and_its_fields(
    client: SiteClient, namespace: str, kubeconfig: Path
) -> None:
    applied_by_another(kubeconfig, config_map(namespace, a="theirs"))
    with pytest.raises(OwnershipConflict) as caught:
        client.apply(config_map(namespace, a="ours"))
    assert caught.value.where["managers"] == "another"
    assert caught.value.where["fields"] == ".data.a"
    assert caught.value.where["object"] == f"ConfigMap {namespace}/one"
    assert client.get(ObjectRef.of(config_map(namespace)))["data"] == {"a": "theirs"}


def test_force_takes_fields_over(client: SiteClient, namespace: str, kubeconfig: Path) -> None:
    applied_by_another(kubeconfig, config_map(namespace, a="theirs"))
    client.apply(config_map(namespace, a="ours"), force=True)
    assert client.get(ObjectRef.of(config_map(namespace)))["data"] == {"a": "ours"}


def test_a_dry_run_stores_nothing(client: SiteClient, namespace: str) -> None:
    assert client.apply(config_map(namespace, a="1"), dry_run=True)["data"] == {"a": "1"}
    with pytest.raises(NotFound):
        client.get(ObjectRef.of(config_map(namespace)))


def test_an_unknown_field_is_rejected_by_name(client: SiteClient, namespace: str) -> None:
    with pytest.raises(Rejected, match="colour"):
        client.apply({**config_map(namespace), "colour": "red"})


def test_a_value_out_of_range_is_rejected_with_its_field(client: SiteClient, namespace: str) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"selector": {"a": "b"}, "ports": [{"port": 99999, "protocol": "TCP"}]},
    }
    with pytest.raises(Rejected) as caught:
        client.apply(service)
    assert "spec.ports[0].port" in f"{caught.value}"


def test_an_apply_into_an_absent_namespace_is_not_found(client: SiteClient) -> None:
    with pytest.raises(NotFound, match="no-such-namespace"):
        client.apply(config_map("no-such-namespace"))


def test_a_kind_that_is_not_served_is_not_found(client: SiteClient) -> None:
    with pytest.raises(NotFound, match="does not serve"):
        client.apply({"apiVersion": "no.such/v1", "kind": "Thing", "metadata": {"name": "x"}})


def test_a_wrong_token_is_rejected(kubeconfig: Path) -> None:
    access = read_kubeconfig(kubeconfig)
    nobody = {"token": SecretStr("wrong"), "client_certificate": "", "client_key": None}
    with SiteClient(access.model_copy(update=nobody)) as stranger, pytest.raises(CredentialRejected):
        stranger.get(ObjectRef(api_version="v1", kind="Namespace", name="default"))


def test_a_list_longer_than_a_page_is_complete(client: SiteClient, namespace: str) -> None:
    names = {f"c{number:03}" for number in range(510)}
    for name in names:
        client.apply(config_map(namespace, name))
    found = list(client.list("v1", "ConfigMap", namespace=namespace, labels="edge-test=yes"))
    assert {one["metadata"]["name"] for one in found} == names
    assert len(found) == len(names)
    assert {(one["apiVersion"], one["kind"]) for one in found} == {("v1", "ConfigMap")}


def test_selectors_narrow_a_list(client: SiteClient, namespace: str) -> None:
    for name in ("a", "b"):
        client.apply(config_map(namespace, name))
    by_field = client.list("v1", "ConfigMap", namespace=namespace, fields="metadata.name=a")
    assert [one["metadata"]["name"] for one in by_field] == ["a"]
    assert not list(client.list("v1", "ConfigMap", namespace=namespace, labels="edge-test=no"))


def test_a_watch_tells_what_is_there_and_what_changes(client: SiteClient, namespace: str) -> None:
    client.apply(config_map(namespace, "one"))
    watching = client.watch("v1", "ConfigMap", namespace=namespace, labels="edge-test=yes", within_s=30)
    seen = [next(watching)]
    client.apply(config_map(namespace, "two"))
    seen.append(next(watching))
    client.apply(config_map(namespace, "two", a="1"))
    seen.append(next(watching))
    client.delete(ObjectRef.of(config_map(namespace, "one")))
    seen.append(next(watching))
    watching.close()
    assert [(event.change, event.obj["metadata"]["name"]) for event in seen] == [
        (Change.ADDED, "one"),
        (Change.ADDED, "two"),
        (Change.MODIFIED, "two"),
        (Change.DELETED, "one"),
    ]


def test_a_watch_ends_when_its_time_is_over(client: SiteClient, namespace: str) -> None:
    assert not list(client.watch("v1", "ConfigMap", namespace=namespace, labels="edge-test=yes", within_s=1))


def test_deleting_twice_is_fine_and_a_namesake_is_left_alone(client: SiteClient, namespace: str) -> None:
    ref = ObjectRef.of(config_map(namespace))
    old = client.apply(config_map(namespace))["metadata"]["uid"]
    assert client.delete(ref, uid=old) is True
    assert client.delete(ref) is False
    new = client.apply(config_map(namespace))["metadata"]["uid"]
    assert client.delete(ref, uid=old) is False
    assert client.get(ref)["metadata"]["uid"] == new


def test_an_object_of_a_definition_that_was_just_made_can_be_applied(client: SiteClient) -> None:
    client.discovery()
    group = f"t{uuid.uuid4().hex[:8]}.edge.test"
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
            "scope": "Cluster",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
                        }
                    },
                }
            ],
        },
    }
    widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1}}
    try:
        made = client.apply(crd)
        client.wait_for([made], health_of, within_s=30, every_s=0.1)
        assert client.apply(widget)["spec"] == {"size": 1}
        with pytest.raises(Rejected):
            client.apply({**widget, "spec": {"size": "large"}})
    finally:
        client.delete(ObjectRef.of(crd))


def test_the_baseline_is_applied_and_reads_back_without_faults(client: SiteClient) -> None:
    site = Site(name="site-0001", tenant=f"t{uuid.uuid4().hex[:8]}")
    objects = baseline_objects(site, parse_baseline(SHIPPED.read_text(), origin=str(SHIPPED)))
    try:
        applied = [client.apply(obj) for obj in objects]
        client.wait_for(applied, health_of, within_s=30, every_s=0.1)
        found = [client.get(ObjectRef.of(obj)) for obj in objects]
        assert baseline_faults(objects, found) == []
        kept = [obj for obj in found if obj["kind"] != "ResourceQuota"]
        assert len(baseline_faults(objects, kept)) == 1
    finally:
        for obj in objects:
            if obj["kind"] == "Namespace":
                client.delete(ObjectRef.of(obj))


def deployment(namespace: str, image: str = "registry.k8s.io/pause:3.10") -> dict[str, Any]:
    labels = {"app": "web"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": image, "ports": [{"containerPort": 80}]}]},
            },
        },
    }


def test_a_deployment_becomes_current_and_does_so_again_after_a_change(client: SiteClient, namespace: str) -> None:
    made = client.apply(deployment(namespace))
    assert health_of(made).health is Health.IN_PROGRESS
    (first,) = client.wait_for([made], health_of, within_s=120, every_s=0.2)
    assert first.health is Health.CURRENT
    changed = client.apply(deployment(namespace, "registry.k8s.io/pause:3.9"))
    assert health_of(changed).health is Health.IN_PROGRESS
    client.wait_for([changed], health_of, within_s=120, every_s=0.2)
