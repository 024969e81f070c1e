"""What kubectl prints of the lab's objects: JSONPaths, ages, computed cells."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from edge.lab.kube.cells import cell, duration
from edge.lab.kube.jsonpath import find, first
from edge.lab.kube.resources import builtin, builtin_types
from edge.lab.kube.table import columns_of, row

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OBJ: dict[str, Any] = {
    "metadata": {"labels": {"a.b/c": "dotted"}},
    "spec": {"replicas": 3, "list": [{"n": 1}, {"n": 2}]},
    "status": {"conditions": [{"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}]},
}


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (".spec.replicas", [3]),
        ("{.spec.replicas}", [3]),
        ("$.spec.list[1].n", [2]),
        (".spec.list[-1].n", [2]),
        (".spec.list[*].n", [1, 2]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type!='Ready')].status", ["False"]),
        (".metadata.labels['a.b/c']", ["dotted"]),
        (r".metadata.labels.a\.b/c", ["dotted"]),
        (".spec.none.deeper", []),
        (".spec.list[9]", []),
        (".spec.(", []),
    ],
)
def test_a_path_finds(path: str, values: list[Any]) -> None:
    assert find(OBJ, path) == values
    assert first(OBJ, path) == (values[0] if values else None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (3_600, "60m"),
        (11_000, "3h3m"),
        (36_000, "10h"),
        (180_000, "2d2h"),
        (864_000, "10d"),
        (70_000_000, "2y"),
    ],
)
def test_ages_read_as_kubectl_writes_them(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_every_column_of_the_catalogue_can_be_printed_of_a_bare_object() -> None:
    bare = {"metadata": {"name": "x"}, "spec": {}, "status": {}}
    for resource in builtin_types():
        line = row(resource, bare, "None", NOW)
        assert len(line["cells"]) == 1 + len(columns_of(resource)), resource.plural


def _pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{}, {}]}, "status": status}


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"phase": "Running"}, "Running"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        (
            {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]},
            "ErrImagePull",
        ),
        ({}, "Unknown"),
    ],
    ids=["phase", "reason", "waiting", "nothing"],
)
def test_a_pods_status_says_what_is_wrong(status: dict[str, Any], text: str) -> None:
    assert cell("pod_status")(_pod(**status), NOW) == text


def test_a_pods_ready_cell_counts_containers() -> None:
    statuses = [{"ready": True, "restartCount": 2}, {"ready": False, "restartCount": 1}]
    pod = _pod(containerStatuses=statuses)
    assert cell("pod_ready")(pod, NOW) == "1/2"
    assert cell("pod_restarts")(pod, NOW) == 3


def test_a_service_shows_ports_and_where_it_can_be_reached() -> None:
    ports = [{"port": 80, "nodePort": 30_001}, {"port": 53, "protocol": "UDP"}]
    service = {"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer", "ports": ports}}
    assert cell("service_ports")(service, NOW) == "80:30001/TCP,53/UDP"
    assert cell("external_ip")(service, NOW) == "<pending>"


def test_a_table_row_can_hold_the_whole_object() -> None:
    obj = {"metadata": {"name": "c"}, "data": {"a": "b"}}
    assert row(builtin("configmaps"), obj, "Object", NOW)["object"] is obj
    assert "object" not in row(builtin("configmaps"), obj, "None", NOW)
