"""Components: in which order they come, which files they may read, and what is refused with file and entry."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from edge.errors import InvalidInput
from edge.model.stamp import Component, ComponentKind, Stamp, StampSource
from edge.policy.components import in_dependency_order
from edge.policy.stamp import parse_stamp

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app, namespace: press}\n"
CHART = "apiVersion: v2\nname: web\nversion: 1.0.0\n"


def component(name: str, *depends_on: str) -> Component:
    return Component(name=name, path=name, depends_on=depends_on)


def parse(*components: dict[str, Any], files: dict[str, str] | None = None, **spec: Any) -> Stamp:
    said = {"version": "1.0.0", "namespaces": ["press"], "components": list(components), **spec}
    header = {"apiVersion": "edge-platform.io/v1", "kind": "Stamp", "metadata": {"name": "press"}, "spec": said}
    found = {"stamp.yaml": yaml.safe_dump(header), **(files or {})}
    return parse_stamp(StampSource(origin="press", files=found))


def refused(*components: dict[str, Any], files: dict[str, str] | None = None, **spec: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        parse(*components, files=files, **spec)
    return caught.value


@pytest.mark.parametrize(
    ("components", "stages"),
    [
        ([component("b"), component("a")], [["b", "a"]]),
        ([component("b", "a"), component("a")], [["a"], ["b"]]),
        ([component("c", "b"), component("b", "a"), component("a")], [["a"], ["b"], ["c"]]),
        (
            [component("d", "b", "c"), component("c", "a"), component("b", "a"), component("a")],
            [["a"], ["c", "b"], ["d"]],
        ),
        ([component("a"), component("b", "a"), component("lone")], [["a", "lone"], ["b"]]),
    ],
    ids=["none", "one", "chain", "diamond", "beside"],
)
def test_a_component_comes_after_all_it_depends_on(components: list[Component], stages: list[list[str]]) -> None:
    assert [[one.name for one in stage] for stage in in_dependency_order(components)] == stages


@pytest.mark.parametrize(
    ("components", "circle"),
    [
        ([component("a", "a")], {"a -> a"}),
        ([component("a", "b"), component("b", "a")], {"a -> b -> a", "b -> a -> b"}),
        (
            [component("x"), component("a", "x", "b"), component("b", "c"), component("c", "a")],
            {"a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c"},
        ),
    ],
    ids=["itself", "two", "three of four"],
)
def test_a_circle_is_spelled_out(components: list[Component], circle: set[str]) -> None:
    with pytest.raises(InvalidInput, match="depend on each other") as caught:
        in_dependency_order(components)
    assert caught.value.where["value"] in circle


def test_a_dependency_that_is_not_there_is_named_with_the_file() -> None:
    error = refused({"name": "a", "path": "a", "dependsOn": ["b"]}, files={"a/x.yaml": CONFIG})
    assert error.where == {"file": "press/stamp.yaml", "field": "spec.components.a.dependsOn", "value": "b"}


K = {"name": "k", "path": "k", "kind": "kustomize"}


def kustomization(**said: Any) -> dict[str, str]:
    return {"k/kustomization.yaml": yaml.safe_dump(said), "k/x.yaml": CONFIG}


def test_the_engines_files_are_kept_and_not_taken_for_manifests() -> None:
    base = {"base/kustomization.yaml": "resources: [y.yaml]\n", "base/y.yaml": CONFIG}
    stamp = parse(K, files={**kustomization(resources=["x.yaml", "../base"]), **base})
    assert stamp.manifests == {}
    assert set(stamp.files) == {"k/kustomization.yaml", "k/x.yaml", "base/kustomization.yaml", "base/y.yaml"}


@pytest.mark.parametrize(
    ("said", "field", "what"),
    [
        ({"resources": ["x.yaml", "../../outside"]}, "resources.1", "outside"),
        ({"resources": ["../../press/k"]}, "resources.0", "outside"),
        ({"bases": [".."]}, "bases.0", "neither"),
        ({"resources": ["/etc/kubernetes"]}, "resources.0", "absolute"),
        ({"resources": ["..\\base"]}, "resources.0", "absolute"),
        ({"resources": ["https://example.com/x.yaml"]}, "resources.0", "elsewhere"),
        ({"resources": ["github.com/org/repo?ref=v1"]}, "resources.0", "elsewhere"),
        ({"resources": ["git@example.com:org/repo"]}, "resources.0", "elsewhere"),
        ({"resources": ["example.com/org//base"]}, "resources.0", "elsewhere"),
        ({"resources": ["absent.yaml"]}, "resources.0", "neither"),
        ({"components": ["../../c"]}, "components.0", "outside"),
        ({"crds": ["../../c.yaml"]}, "crds.0", "outside"),
        ({"transformers": ["../../t.yaml"]}, "transformers.0", "outside"),
        ({"patches": [{"path": "../../p.yaml"}]}, "patches.0.path", "outside"),
        ({"patchesStrategicMerge": ["../../p.yaml"]}, "patchesStrategicMerge.0", "outside"),
        ({"patchesJson6902": [{"path": "https://x.example/p"}]}, "patchesJson6902.0.path", "elsewhere"),
        ({"replacements": [{"path": "/r.yaml"}]}, "replacements.0.path", "absolute"),
        ({"openapi": {"path": "../../o.json"}}, "openapi.path", "outside"),
        ({"configMapGenerator": [{"name": "c", "files": ["a=../../etc"]}]}, "configMapGenerator.0.files.0", "outside"),
        ({"secretGenerator": [{"name": "c", "envs": ["../../.env"]}]}, "secretGenerator.0.envs.0", "outside"),
        ({"secretGenerator": [{"name": "c", "env": "/.env"}]}, "secretGenerator.0.env", "absolute"),
        ({"helmCharts": [{"name": "c"}]}, "helmCharts", "not supported"),
    ],
    ids=lambda case: case if isinstance(case, str) else str(case)[:50],
)
def test_a_kustomization_that_leads_out_is_refused(said: dict[str, Any], field: str, what: str) -> None:
    error = refused(K, files=kustomization(**said))
    assert what in error.what
    assert (error.where["file"], error.where["field"]) == ("press/k/kustomization.yaml", field)


def test_a_base_that_leads_out_is_refused_as_well() -> None:
    files = {**kustomization(resources=["../base"]), "base/kustomization.yaml": "resources: [../../x]\n"}
    assert refused(K, files=files).where["file"] == "press/base/kustomization.yaml"


def test_inline_patches_and_bases_in_a_circle_are_left_to_the_engine() -> None:
    files = {
        **kustomization(resources=["x.yaml", "../b"], patchesStrategicMerge=["kind: A\nmetadata: ../../x\n"]),
        "b/kustomization.yaml": "resources: [../k]\n",
    }
    assert parse(K, files=files).files


def test_a_kustomize_component_needs_a_kustomization() -> None:
    assert "kustomization.yaml" in refused(K, files={"k/x.yaml": CONFIG}).what


H = {"name": "h", "path": "chart", "kind": "helm"}


def test_a_chart_of_the_stamp_is_kept_and_gets_release_and_namespace() -> None:
    stamp = parse(H, files={"chart/Chart.yaml": CHART, "chart/templates/x.yaml": "{{ .Values.a }}"})
    assert set(stamp.files) == {"chart/Chart.yaml", "chart/templates/x.yaml"}
    [found] = stamp.components
    assert (found.kind, found.release, found.namespace) == (ComponentKind.HELM, "h", "press")


@pytest.mark.parametrize("version", ["1.2.3", "sha256:" + "0a" * 32], ids=["version", "digest"])
def test_a_chart_in_a_registry_has_an_address_and_a_version_or_a_digest(version: str) -> None:
    stamp = parse({**H, "path": "oci://registry.example:5000/charts/web", "chartVersion": version})
    assert stamp.components[0].chart_version == version


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({}, "no Chart.yaml"),
        ({"path": "oci://registry.example/web"}, "needs its version"),
        ({"path": "oci://registry.example/web:1.0", "chartVersion": "1.0.0"}, "without a tag"),
        ({"path": "oci://user:pass@registry.example/web", "chartVersion": "1.0.0"}, "without a tag"),
        ({"path": "https://registry.example/web"}, "inside the stamp's folder"),
        ({"path": "../chart"}, "inside the stamp's folder"),
        ({"path": "good", "chartVersion": "1.0.0"}, "Chart.yaml says it"),
        ({"path": "bad"}, "A chart needs this"),
        ({"path": "good", "namespace": "kube-system"}, "may not write to this namespace"),
        ({"path": "good", "values": {"a": [{"b": "${absent}"}]}}, "not a parameter"),
        ({"path": "good", "values": {"a": "${"}}, "not a substitution"),
        ({"path": "good", "values": {"auth": {"adminPassword": "hunter2"}}}, "secret in plain text"),
        ({"kind": "manifests", "path": "app", "chartVersion": "1.0.0"}, "no chartVersion"),
        ({"kind": "manifests", "path": "app", "values": {"a": 1}}, "no values"),
        ({"kind": "manifests", "path": "app", "release": "x"}, "no release"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_a_wrong_chart_is_refused(said: dict[str, Any], what: str) -> None:
    files = {"good/Chart.yaml": CHART, "bad/Chart.yaml": "name: web\n", "app/x.yaml": CONFIG}
    error = refused({**H, **said}, files=files)
    assert what in error.what
    assert "hunter2" not in str(error)


def test_a_charts_secret_is_a_parameter_or_names_an_object() -> None:
    values = {"auth": {"password": "${plc}", "existingSecret": "plc-login", "secretKey": "password"}}
    parameters = {"plc": {"secret": True, "default": "plc/password"}}
    assert parse({**H, "values": values}, files={"chart/Chart.yaml": CHART}, parameters=parameters).components


def test_with_several_namespaces_a_chart_says_which() -> None:
    files = {"chart/Chart.yaml": CHART}
    assert "needs a namespace" in refused(H, files=files, namespaces=["a", "b"]).what
    assert parse({**H, "namespace": "b"}, files=files, namespaces=["a", "b"]).components[0].namespace == "b"
