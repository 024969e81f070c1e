"""Kustomize components, built by the real engine."""

from __future__ import annotations

import pytest

from edge.clients.kustomize import build_kustomization
from edge.errors import InvalidInput
from edge.model.site import Site
from edge.model.stamp import Component, ComponentKind, Parameter, ParameterType, Stamp
from tasks.rendering import Renderer

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  template:
    spec:
      containers:
        - name: web
          image: web:old
          env:
            - {name: PORT, value: "${port}"}
            - {name: HOST, value: "${site_name}"}
"""
COMPONENT = """
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
  - target: {kind: Deployment}
    patch: '[{"op": "add", "path": "/metadata/annotations", "value": {"port": "${port}"}}]'
"""
OVERLAY = """
namespace: shop
resources: [../base]
components: [../extra]
images:
  - name: web
    newName: registry/web
    digest: sha256:0000000000000000000000000000000000000000000000000000000000000000
configMapGenerator: [{name: settings, literals: ["port=${port}", "debug=no"]}]
patches:
  - target: {kind: Deployment}
    patch: |-
      - {op: replace, path: /spec/replicas, value: "${count}"}
"""
FILES = {
    "base/kustomization.yaml": "resources: [web.yaml]\n",
    "base/web.yaml": DEPLOYMENT,
    "extra/kustomization.yaml": COMPONENT,
    "overlay/kustomization.yaml": OVERLAY,
}
PARAMETERS = {
    "port": Parameter(type=ParameterType.INTEGER, default="8080"),
    "count": Parameter(type=ParameterType.INTEGER, default="2"),
}


def stamp(files: dict[str, str], digest: str = "a") -> Stamp:
    """A stamp with one Kustomize component in `overlay`."""
    return Stamp(
        name="till",
        version="1.0.0",
        namespaces=("shop",),
        parameters=PARAMETERS,
        components=(Component(name="web", path="overlay", kind=ComponentKind.KUSTOMIZE),),
        files=files,
        digest=digest * 64,
    )


def test_bases_components_images_patches_and_generators_work_and_variables_are_filled_per_site() -> None:
    renderer = Renderer(stamp(FILES))
    for name in ("graz", "linz"):
        config, deployment = renderer.objects(Site(name=name, region="eu", tenant="acme", role="store"), {})
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        assert config["metadata"]["name"].startswith("settings-")
        assert config["data"] == {"port": "8080", "debug": "no"}
        assert deployment["metadata"]["annotations"]["port"] == "8080"
        assert deployment["spec"]["replicas"] == 2
        assert container["image"] == f"registry/web@sha256:{'0' * 64}"
        assert container["env"] == [{"name": "PORT", "value": "8080"}, {"name": "HOST", "value": name}]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param({"overlay/kustomization.yaml": "resources: [gone.yaml]\n"}, "gone.yaml", id="a missing file"),
        pytest.param({"overlay/kustomization.yaml": "resource: []\n"}, "resource", id="a wrong field"),
        pytest.param(
            {"overlay/kustomization.yaml": "resources: [../web.yaml]\n", "web.yaml": DEPLOYMENT},
            "not in or below",
            id="a file outside the folder",
        ),
        pytest.param(
            {"overlay/kustomization.yaml": "resources: [https://127.0.0.1:9/base.yaml]\n"}, "127.0.0.1", id="an address"
        ),
        pytest.param({"base/web.yaml": DEPLOYMENT}, "overlay", id="no folder"),
    ],
)
def test_what_kustomize_says_is_passed_on_without_the_folder_it_worked_in(files: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidInput, match="Kustomize: ") as caught:
        build_kustomization(files, "overlay", component="web")
    assert said in caught.value.what
    assert "edge-kustomize-" not in caught.value.what
    assert caught.value.where == {"component": "web", "file": "overlay"}


def test_a_build_that_takes_too_long_is_ended() -> None:
    with pytest.raises(InvalidInput, match="was not done after"):
        build_kustomization(FILES, "overlay", component="web", within_s=0.001)


def test_a_variable_in_a_generated_secret_is_refused() -> None:
    overlay = 'secretGenerator: [{name: s, literals: ["port=${port}"]}]\nnamespace: shop\n'
    with pytest.raises(InvalidInput, match="is not filled in") as caught:
        Renderer(stamp({"overlay/kustomization.yaml": overlay}, "b")).shown(SITE, {})
    assert caught.value.where["field"] == "data.port"


def test_an_object_outside_the_namespaces_of_the_stamp_is_refused() -> None:
    overlay = OVERLAY.replace("namespace: shop", "namespace: other")
    with pytest.raises(InvalidInput, match="may not write to this namespace"):
        Renderer(stamp({**FILES, "overlay/kustomization.yaml": overlay}, "c")).shown(SITE, {})


SITE = Site(name="graz", region="eu", tenant="acme", role="store")
