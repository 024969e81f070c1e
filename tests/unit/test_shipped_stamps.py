"""The stamps that ship with the product: each parses, fits Kubernetes' own schemas, and is fit for a small cluster."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from edge.clients.files import read_stamp_folder
from edge.clients.rule_files import baseline_rules
from edge.model.check import CelCheck
from edge.model.kube import KubeObject
from edge.model.site import Site
from edge.model.stamp import ComponentKind, Stamp
from edge.policy.rules import RuleBook
from edge.policy.stamp import parse_stamp
from edge.settings import Settings
from tasks.rendering import Renderer

FOLDERS = sorted(file.parent for file in (Path(__file__).parents[2] / "stamps").glob("*/stamp.yaml"))
KUBERNETES = "1.37"
SITE = Site(name="mill-7")


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def stamp(request: pytest.FixtureRequest) -> Stamp:
    return parse_stamp(read_stamp_folder(request.param))


@pytest.fixture
def objects(stamp: Stamp) -> tuple[KubeObject, ...]:
    return Renderer(stamp).shown(SITE, {})


def pods(objects: tuple[KubeObject, ...]) -> Iterator[dict[str, Any]]:
    for obj in objects:
        template = (obj.get("spec") or {}).get("template")
        if template:
            yield template["spec"]


def test_the_shipped_stamps_show_every_kind_of_component() -> None:
    assert [folder.name for folder in FOLDERS] == ["edge-gateway", "factory-line"]
    stamps = [parse_stamp(read_stamp_folder(folder)) for folder in FOLDERS]
    assert {component.kind for stamp in stamps for component in stamp.components} == set(ComponentKind)
    assert all(stamp.checks and stamp.requires.kubernetes for stamp in stamps)


def test_no_shipped_object_breaks_a_rule(stamp: Stamp, objects: tuple[KubeObject, ...]) -> None:
    rules = RuleBook(baseline_rules(), Settings().allowed_registries)
    assert rules.violations(objects, stamp.waivers, datetime.now(UTC)) == ()


def test_every_check_is_about_something_that_the_stamp_brings(stamp: Stamp, objects: tuple[KubeObject, ...]) -> None:
    there = {(obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]) for obj in objects}
    for check in stamp.checks:
        if isinstance(check, CelCheck):
            assert (check.ref.kind, check.ref.namespace, check.ref.name) in there
        else:
            assert ("Service", check.namespace, check.service) in there


def test_a_stamp_is_called_like_its_folder(stamp: Stamp) -> None:
    assert stamp.name in {folder.name for folder in FOLDERS}


def test_a_stamp_needs_no_parameter(stamp: Stamp) -> None:
    assert all(parameter.default is not None for parameter in stamp.parameters.values())
    assert all(parameter.description for parameter in stamp.parameters.values())


def test_kubernetes_schemas_accept_every_object(objects: tuple[KubeObject, ...]) -> None:
    for obj in objects:
        kubernetes_validate.validate(obj, KUBERNETES, strict=True)


def test_every_container_is_bounded_and_probed(objects: tuple[KubeObject, ...]) -> None:
    containers = [container for pod in pods(objects) for container in pod["containers"]]
    assert containers
    for container in containers:
        assert set(container["resources"]["requests"]) == set(container["resources"]["limits"]) == {"cpu", "memory"}
        assert "readinessProbe" in container
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert not container["image"].endswith(":latest")


def test_every_selector_finds_its_pods(objects: tuple[KubeObject, ...]) -> None:
    workloads = [obj for obj in objects if obj["kind"] in ("Deployment", "StatefulSet", "DaemonSet")]
    labels = [workload["spec"]["template"]["metadata"]["labels"] for workload in workloads]
    for workload, found in zip(workloads, labels, strict=True):
        assert workload["spec"]["selector"]["matchLabels"].items() <= found.items()
    for service in (obj for obj in objects if obj["kind"] == "Service"):
        assert any(service["spec"]["selector"].items() <= found.items() for found in labels)


def test_the_factory_line_has_a_controller_for_each_line() -> None:
    stamp = parse_stamp(read_stamp_folder(next(folder for folder in FOLDERS if folder.name == "factory-line")))
    objects = Renderer(stamp).shown(SITE, {"line_count": "5"})
    found = {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}
    assert found["StatefulSet", "line-controller"]["spec"]["replicas"] == 5
    assert found["ConfigMap", "line-controller"]["data"]["LINE_COUNT"] == "5"
    assert found["ConfigMap", "line-controller"]["data"]["SITE_NAME"] == "mill-7"


def test_the_gateways_proxy_takes_its_values_through_kustomize_and_helm() -> None:
    stamp = parse_stamp(read_stamp_folder(next(folder for folder in FOLDERS if folder.name == "edge-gateway")))
    given = {"proxy_replicas": "3", "probe_every_s": "60", "image_registry": "registry.example:5000/edge"}
    objects = Renderer(stamp).shown(SITE, given)
    found = {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}
    assert found["ConfigMap", "proxy"]["data"]["SITE"] == "mill-7"
    assert found["Deployment", "proxy"]["spec"]["replicas"] == 3
    containers = [pod["containers"][0] for pod in pods(objects)]
    assert {container["image"].rpartition("/")[0] for container in containers} == {"registry.example:5000/edge"}
    assert "--every=60s" in containers[1]["args"]
