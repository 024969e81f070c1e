"""Rendering: a stamp's objects for one site, in order, and nothing outside the stamp's namespaces."""

from __future__ import annotations

import pytest

from edge.errors import InvalidInput
from edge.model.stamp import Component, Parameter, ParameterType, Stamp
from edge.policy.apply_order import phases
from edge.policy.manifests import Manifest
from edge.policy.render import render_documents
from tests.unit.rendered import render


def stamp(*manifests: str, cluster_kinds: tuple[str, ...] = (), **parameters: Parameter) -> Stamp:
    return Stamp(
        name="press",
        version="1.0.0",
        namespaces=("press", "press-tools"),
        cluster_kinds=cluster_kinds,
        parameters=parameters,
        components=(Component(name="app", path="app"),),
        manifests={f"app/{number}.yaml": text for number, text in enumerate(manifests)},
        digest="0" * 64,
    )


def manifest(kind: str, name: str = "a", namespace: str = "press", api: str = "v1") -> str:
    place = f", namespace: {namespace}" if namespace else ""
    return f"apiVersion: {api}\nkind: {kind}\nmetadata: {{name: '{name}'{place}}}\n"


def refused(*manifests: str, cluster_kinds: tuple[str, ...] = ()) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        render(stamp(*manifests, cluster_kinds=cluster_kinds), {"site_tenant": "kube-system"})
    return caught.value


CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: presses.example.com}
spec: {group: example.com, scope: Cluster, names: {kind: Press, plural: presses}}
"""


def test_parameters_and_the_sites_own_values_are_filled_in() -> None:
    text = manifest("ConfigMap") + "data: {count: '${count}', site: '${site_name}'}\n"
    [obj] = render(stamp(text, count=Parameter(default="2")), {"site_name": "mill-7"})
    assert obj["data"] == {"count": "2", "site": "mill-7"}


def test_objects_carry_the_platforms_marks_beside_their_own() -> None:
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: press, labels: {x: 'y'}, annotations: {p: q}}"
    [obj] = render(stamp(text), {})
    assert obj["metadata"]["labels"] == {
        "x": "y",
        "app.kubernetes.io/managed-by": "edge-platform",
        "edge-platform.io/stamp": "press",
    }
    assert obj["metadata"]["annotations"] == {"p": "q", "edge-platform.io/version": "1.0.0"}


def test_an_object_that_asks_for_it_is_left_alone() -> None:
    text = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  namespace: press\n"
        "  annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}\ndata: {run: 'echo ${HOME} ${x,,} $${y}'}\n"
    )
    with pytest.raises(InvalidInput):
        render(stamp(text), {})
    good = text.replace(" ${x,,}", "")
    [obj] = render(stamp(good), {})
    assert obj["data"] == {"run": "echo ${HOME} $${y}"}


def test_every_rendering_is_the_callers_own() -> None:
    one = stamp(manifest("ConfigMap") + "data: {a: b}\n")
    [first] = render(one, {})
    first["data"]["a"] = "changed"
    [second] = render(one, {})
    assert second["data"] == {"a": "b"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (manifest("ConfigMap", namespace="kube-system"), "may not write to this namespace"),
        (manifest("ConfigMap", namespace="'${site_tenant}'"), "may not write to this namespace"),
        (manifest("ConfigMap", namespace=""), "needs a namespace"),
        (manifest("ConfigMap", namespace="5"), "not a name"),
        (manifest("Namespace", name="kube-system", namespace=""), "may not write to this namespace"),
        (manifest("Namespace", name="press", namespace="press"), "has no namespace"),
        (manifest("ClusterRole", namespace="", api="rbac.authorization.k8s.io/v1"), "cluster-wide"),
        (manifest("ClusterRole", namespace="press", api="rbac.authorization.k8s.io/v1"), "has no namespace"),
        (manifest("Press", namespace="", api="example.com/v1"), "cluster-wide"),
        (manifest("Press", namespace="default", api="example.com/v1"), "may not write to this namespace"),
        (manifest("ConfigMap", name="../../secrets/x"), "not a name"),
        (manifest("ConfigMap", name=".."), "not a name"),
        (manifest("ConfigMap", name="a%2fb"), "not a name"),
    ],
    ids=lambda case: case.replace("\n", " ")[11:80],
)
def test_nothing_is_written_outside_the_stamps_namespaces(text: str, what: str) -> None:
    error = refused(text)
    assert what in error.what
    assert error.where["file"] == "app/0.yaml"
    assert error.where["field"] in ("metadata.namespace", "metadata.name", "kind")


def test_allowing_a_kind_does_not_allow_another_groups_kind_of_that_name() -> None:
    text = manifest("ClusterRole", namespace="", api="example.com/v1")
    assert "cluster-wide" in refused(text, cluster_kinds=("ClusterRole.rbac.authorization.k8s.io",)).what


@pytest.mark.parametrize("named", ["ClusterRole", "ClusterRole.rbac.authorization.k8s.io"])
def test_a_cluster_wide_kind_that_the_stamp_names_is_allowed(named: str) -> None:
    text = manifest("ClusterRole", namespace="", api="rbac.authorization.k8s.io/v1")
    assert len(render(stamp(text, cluster_kinds=(named,)), {})) == 1


def test_allowing_namespaces_by_kind_does_not_allow_foreign_ones() -> None:
    assert "this namespace" in refused(manifest("Namespace", "kube-system", ""), cluster_kinds=("Namespace",)).what


def test_the_scope_of_a_kind_that_the_stamp_defines_is_read_from_its_definition() -> None:
    smuggled = manifest("Press", namespace="press", api="example.com/v1")
    assert "has no namespace" in refused(CRD, smuggled, cluster_kinds=("CustomResourceDefinition",)).what


def test_the_same_object_twice_is_refused_whatever_its_version() -> None:
    error = refused(manifest("CronJob", api="batch/v1"), manifest("CronJob", api="batch/v1beta1"))
    assert "twice" in error.what
    assert error.where == {"file": "app/1.yaml", "object": "CronJob press/a"}


def test_a_filled_number_where_text_belongs_is_refused() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  namespace: press\n  name: ${count}"
    with pytest.raises(InvalidInput, match="not a name"):
        render(stamp(text, count=Parameter(type=ParameterType.INTEGER, default="5")), {})


def test_what_others_need_is_applied_first() -> None:
    rbac = "rbac.authorization.k8s.io/v1"
    given = [
        manifest("Press", api="example.com/v1"),
        manifest("ValidatingWebhookConfiguration", namespace="", api="admissionregistration.k8s.io/v1"),
        manifest("Deployment", api="apps/v1"),
        manifest("Service"),
        manifest("Ingress", api="networking.k8s.io/v1"),
        manifest("ConfigMap", "second"),
        manifest("ConfigMap", "first"),
        manifest("RoleBinding", api=rbac),
        manifest("PersistentVolumeClaim"),
        manifest("Role", api=rbac),
        manifest("ServiceAccount"),
        manifest("ResourceQuota"),
        CRD.replace("Cluster,", "Namespaced,"),
        manifest("Namespace", "press", ""),
    ]
    kinds = ("CustomResourceDefinition", "ValidatingWebhookConfiguration")
    objects = render(stamp(*given, cluster_kinds=kinds), {})
    assert [obj["kind"] for obj in objects] == [
        "Namespace",
        "CustomResourceDefinition",
        "ResourceQuota",
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "ConfigMap",
        "ConfigMap",
        "Service",
        "PersistentVolumeClaim",
        "Deployment",
        "Ingress",
        "Press",
        "ValidatingWebhookConfiguration",
    ]
    assert [obj["metadata"]["name"] for obj in objects if obj["kind"] == "ConfigMap"] == ["second", "first"]
    grouped = phases(objects)
    assert [obj for phase in grouped for obj in phase] == list(objects)
    assert [obj["kind"] for obj in grouped[1]] == ["CustomResourceDefinition"]


def test_objects_have_the_form_that_every_server_merges_alike() -> None:
    text = manifest("Secret") + "stringData: {word: x}\n"
    (secret,) = render(stamp(text), {})
    assert secret["data"] == {"word": "eA=="}
    assert "stringData" not in secret


def test_five_thousand_objects_are_rendered() -> None:
    many = [manifest("ConfigMap", f"a-{number}") for number in range(5000)]
    wanted = stamp("---\n".join(many[:2500]), "---\n".join(many[2500:]))
    assert len(render(wanted, {})) == 5000


def test_the_limit_counts_what_all_engines_make_together() -> None:
    documents: list[Manifest] = [("app/0.yaml", {})] * 5001
    with pytest.raises(InvalidInput, match="at most 5000 objects"):
        render_documents(stamp(), documents, {})


def test_a_definition_comes_before_its_objects_wherever_they_stand() -> None:
    press = manifest("Press", namespace="", api="example.com/v1")
    objects = render(stamp(press, CRD, cluster_kinds=("Press", "CustomResourceDefinition")), {})
    assert [obj["kind"] for obj in objects] == ["CustomResourceDefinition", "Press"]
