"""Helm components, rendered by Helm's own engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edge.clients.helm_template import chart_archive
from edge.clients.oci import CHART as CHART_LAYER
from edge.errors import InvalidInput, NotFound
from edge.model.site import Site
from edge.model.stamp import Component, ComponentKind, Parameter, ParameterType, Stamp
from tasks.rendering import Renderer
from tests.contract.served_registry import ServedRegistry

SITE = Site(name="graz", region="eu", tenant="acme", role="store")
CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-settings"}
data: {host: "{{ .Values.host }}", port: "{{ .Values.port }}", kept: "${HOME}"}
"""
HOOK = 'apiVersion: v1\nkind: Pod\nmetadata: {{name: hook, annotations: {{"helm.sh/hook": "{}"}}}}\n'
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tills.acme.io}
spec: {group: acme.io, scope: Namespaced, names: {kind: Till, plural: tills}, versions: []}
"""
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.2.3\n",
    "values.yaml": "port: 80\nhost: nobody\n",
    "values.schema.json": '{"properties": {"port": {"type": "integer"}}}',
    "templates/NOTES.txt": "Thank you",
    "templates/config.yaml": CONFIG,
    "templates/tests/test.yaml": HOOK.format("test"),
    "crds/till.yaml": CRD,
}
VALUES = {"host": "till.${site_name}", "port": "${port}"}


def stamp(digest: str, values: dict[str, Any] | None = None, **more: str) -> Stamp:
    """A stamp with a chart in `chart`; `more` are further templates of it. The digest must be another for each."""
    files = {**CHART, **{f"templates/{name}.yaml": text for name, text in more.items()}}
    return Stamp(
        name="till",
        version="1.0.0",
        namespaces=("shop",),
        cluster_kinds=("CustomResourceDefinition",),
        parameters={
            "port": Parameter(type=ParameterType.INTEGER, default="8080"),
            "password": Parameter(secret=True, default="plc/password"),
        },
        components=(Component(name="web", path="chart", kind=ComponentKind.HELM, values=values or VALUES),),
        files={f"chart/{name}": text for name, text in files.items()},
        digest=f"helm-{digest}",
    )


def test_values_are_filled_per_site_with_their_types_and_what_the_chart_makes_is_left_as_it_is() -> None:
    definition, config = Renderer(stamp("one")).shown(SITE, {})
    assert definition["kind"] == "CustomResourceDefinition"
    assert (config["metadata"]["name"], config["metadata"]["namespace"]) == ("web-settings", "shop")
    assert config["data"] == {"host": "till.graz", "port": "8080", "kept": "${HOME}"}


@pytest.mark.parametrize("event", ["pre-install", "post-upgrade", "pre-delete", "test,post-install"])
def test_a_hook_is_refused_by_name(event: str) -> None:
    with pytest.raises(InvalidInput, match="hooks are not run") as caught:
        Renderer(stamp(event, hook=HOOK.format(event))).shown(SITE, {})
    assert caught.value.where == {
        "file": "chart/templates/hook.yaml",
        "object": "Pod hook",
        "hook": event,
        "site": "graz",
    }


@pytest.mark.parametrize(
    ("case", "template", "said"),
    [
        pytest.param("fail", '{{ fail "not like this" }}', "not like this", id="a template that fails"),
        pytest.param("nil", "{{ .Values.a.b }}", "nil pointer", id="a value that is not there"),
        pytest.param("syntax", "{{ if }}", "missing value for if", id="a template's syntax"),
        pytest.param(
            "random", CONFIG.replace("${HOME}", "{{ randAlphaNum 9 }}"), "something else each time", id="chance"
        ),
        pytest.param("yaml", "a: [", "not YAML", id="no YAML"),
        pytest.param("list", "apiVersion: v1\nkind: List\nitems: []\n", "Lists are not allowed", id="a list"),
    ],
)
def test_what_goes_wrong_in_a_chart_names_where_and_what(case: str, template: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        Renderer(stamp(case, broken=template)).shown(SITE, {})
    assert caught.value.where["file"].startswith("chart")


def test_values_are_held_against_the_chart_s_own_schema() -> None:
    with pytest.raises(InvalidInput, match="want integer") as caught:
        Renderer(stamp("schema", {"port": "a ${site_name}"})).shown(SITE, {})
    assert caught.value.where == {"component": "web", "file": "chart", "site": "graz"}


def test_a_chart_that_lacks_a_chart_it_depends_on_is_refused() -> None:
    made = stamp("depends")
    chart = CHART["Chart.yaml"] + "dependencies: [{name: redis, version: 1.0.0, repository: https://charts}]\n"
    with pytest.raises(InvalidInput, match="lacks a chart") as caught:
        Renderer(made.model_copy(update={"files": {**made.files, "chart/Chart.yaml": chart}})).shown(SITE, {})
    assert caught.value.where["value"] == "redis"


def test_an_error_of_helm_does_not_quote_a_secret() -> None:
    renderer = Renderer(stamp("secret", {"port": 1, "host": "${password}"}, broken="{{ fail .Values.host }}"), Vault())
    with pytest.raises(InvalidInput, match="<secret plc/password>") as caught:
        renderer.objects(SITE, {})
    assert "hunter2" not in repr(caught.value.__dict__)


class Vault:
    """A secret source with one secret."""

    def value(self, reference: str) -> str:
        if reference != "plc/password":
            raise NotFound("There is no such secret", secret=reference)
        return "hunter2"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedRegistry]:
    served = ServedRegistry(tmp_path_factory.mktemp("registry"))
    yield served
    served.close()


@pytest.mark.parametrize("pinned", [False, True], ids=["by version", "by digest"])
def test_a_chart_is_pulled_from_a_registry(
    registry: ServedRegistry, monkeypatch: pytest.MonkeyPatch, pinned: bool
) -> None:
    monkeypatch.setenv("EDGE_REGISTRY_CA_FILE", registry.ca_file)
    made = stamp(f"oci-{pinned}")
    put = registry.put("charts/web:1.2.3_a", CHART_LAYER, chart_archive(made.files, "chart"))
    component = made.components[0].model_copy(
        update={"path": f"oci://{registry.host}/charts/web", "chart_version": put if pinned else "1.2.3+a"}
    )
    pulled = made.model_copy(update={"components": (component,), "files": {}})
    assert Renderer(pulled).shown(SITE, {}) == Renderer(made).shown(SITE, {})
