"""The stamps that ship with the product: each parses, fits Kubernetes' own schemas, and is fit for a small cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from edge.clients.files import read_stamp_folder
from edge.model.stamp import Stamp
from edge.policy.parameters import sample_parameters
from edge.policy.render import render
from edge.policy.stamp import parse_stamp

FOLDERS = sorted(file.parent for file in (Path(__file__).parents[2] / "stamps").glob("*/stamp.yaml"))
KUBERNETES = "1.37"


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def stamp(request: pytest.FixtureRequest) -> Stamp:
    return parse_stamp(read_stamp_folder(request.param))


@pytest.fixture
def objects(stamp: Stamp) -> tuple[dict[str, Any], ...]:
    return render(stamp, sample_parameters(stamp, {}))


def pods(objects: tuple[dict[str, Any], ...]) -> Iterator[dict[str, Any]]:
    for obj in objects:
        template = (obj.get("spec") or {}).get("template")
        if template:
            yield template["spec"]


def test_there_is_a_shipped_stamp() -> None:
    assert [folder.name for folder in FOLDERS] == ["factory-line"]


def test_a_stamp_is_called_like_its_folder(stamp: Stamp) -> None:
    assert stamp.name in {folder.name for folder in FOLDERS}


def test_a_stamp_needs_no_parameter(stamp: Stamp) -> None:
    assert all(parameter.default is not None for parameter in stamp.parameters.values())
    assert all(parameter.description for parameter in stamp.parameters.values())


def test_kubernetes_schemas_accept_every_object(objects: tuple[dict[str, Any], ...]) -> None:
    for obj in objects:
        kubernetes_validate.validate(obj, KUBERNETES, strict=True)


def test_every_container_is_bounded_and_probed(objects: tuple[dict[str, Any], ...]) -> None:
    containers = [container for pod in pods(objects) for container in pod["containers"]]
    assert containers
    for container in containers:
        assert set(container["resources"]["requests"]) == set(container["resources"]["limits"]) == {"cpu", "memory"}
        assert "readinessProbe" in container
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert not container["image"].endswith(":latest")


def test_every_selector_finds_its_pods(objects: tuple[dict[str, Any], ...]) -> None:
    workloads = [obj for obj in objects if obj["kind"] in ("Deployment", "StatefulSet", "DaemonSet")]
    labels = [workload["spec"]["template"]["metadata"]["labels"] for workload in workloads]
    for workload, found in zip(workloads, labels, strict=True):
        assert workload["spec"]["selector"]["matchLabels"].items() <= found.items()
    for service in (obj for obj in objects if obj["kind"] == "Service"):
        assert any(service["spec"]["selector"].items() <= found.items() for found in labels)


def test_the_factory_line_has_a_controller_for_each_line() -> None:
    stamp = parse_stamp(read_stamp_folder(next(folder for folder in FOLDERS if folder.name == "factory-line")))
    objects = render(stamp, sample_parameters(stamp, {"line_count": "5", "site_name": "mill-7"}))
    found = {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}
    assert found["StatefulSet", "line-controller"]["spec"]["replicas"] == 5
    assert found["ConfigMap", "line-controller"]["data"]["LINE_COUNT"] == "5"
    assert found["ConfigMap", "line-controller"]["data"]["SITE_NAME"] == "mill-7"
