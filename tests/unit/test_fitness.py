"""What a site lacks for a stamp: version, kinds, controllers, architecture, room, clock, owner."""

from __future__ import annotations

from typing import Any

import pytest

from edge.model.stamp import Component, Requirements, Stamp
from edge.policy.fitness import SiteFacts, unfit, warnings


def stamp(**requires: Any) -> Stamp:
    return Stamp(
        name="line",
        version="1.0.0",
        namespaces=("line",),
        components=(Component(name="base", path="base"),),
        requires=Requirements(**requires),
        digest="d",
    )


def node(cpu: str = "2", memory: str = "4Gi", *, name: str = "n1", arch: str = "amd64", **more: Any) -> dict[str, Any]:
    status = {"allocatable": {"cpu": cpu, "memory": memory, "pods": "110"}, "conditions": more.pop("conditions", [])}
    labels = {"kubernetes.io/arch": arch, **more.pop("labels", {})}
    return {"metadata": {"name": name, "labels": labels}, "spec": more, "status": status}


def pods(cpu: str, **more: Any) -> dict[str, Any]:
    return {"containers": [{"name": "a", "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}], **more}


def workload(kind: str, cpu: str, **spec: Any) -> dict[str, Any]:
    api = "batch/v1" if kind == "Job" else "apps/v1"
    body = {"template": {"spec": pods(cpu, **spec.pop("pod", {}))}, **spec}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "w", "namespace": "line"}, "spec": body}


def running(cpu: str, *, namespace: str = "other", phase: str = "Running", on: str = "n1") -> dict[str, Any]:
    spec = pods(cpu, nodeName=on)
    return {"metadata": {"name": "p", "namespace": namespace}, "spec": spec, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("requires", "facts", "checks"),
    [
        pytest.param({"kubernetes": "1.28"}, {"version": "v1.27.9+k3s1"}, ["kubernetes"], id="too-old"),
        pytest.param({"kubernetes": "1.9"}, {"version": "v1.28.0"}, [], id="versions-are-numbers"),
        pytest.param({"kubernetes": "1.28"}, {"version": ""}, [], id="version-not-said"),
        pytest.param({"kinds": ("Cert.cm.io",)}, {"kinds": frozenset({"Cert"})}, ["kinds"], id="kind-of-other-group"),
        pytest.param({"kinds": ("Cert.cm.io",)}, {"kinds": frozenset({"Cert.cm.io"})}, [], id="kind-served"),
        pytest.param({"controllers": ("cm/cm",)}, {"controllers": {}}, ["controllers"], id="controller-absent"),
        pytest.param({"controllers": ("cm/cm",)}, {"controllers": {"cm/cm": False}}, ["controllers"], id="not-working"),
        pytest.param({"controllers": ("cm/cm",)}, {"controllers": {"cm/cm": True}}, [], id="controller-works"),
        pytest.param({"architectures": ("arm64",)}, {"nodes": (node(),)}, ["architecture"], id="wrong-architecture"),
        pytest.param({"architectures": ("arm64", "amd64")}, {"nodes": (node(),)}, [], id="one-of-two"),
        pytest.param({}, {"clock_off_s": 1800.0}, ["clock"], id="half-an-hour-ahead"),
        pytest.param({}, {"clock_off_s": -1801.0}, ["clock"], id="half-an-hour-behind"),
        pytest.param({}, {"clock_off_s": 1799.0}, [], id="less-than-half-an-hour"),
        pytest.param({}, {"owners": {"line": "other"}}, ["owner"], id="namespace-of-another-stamp"),
        pytest.param({}, {"owners": {"line": "line"}}, [], id="own-namespace"),
        pytest.param({}, {"owners": {"line": ""}}, [], id="nobodys-namespace"),
    ],
)
def test_what_is_lacking_is_named(requires: dict[str, Any], facts: dict[str, Any], checks: list[str]) -> None:
    assert [one.check for one in unfit(stamp(**requires), [], SiteFacts(**facts))] == checks


def test_a_kind_that_the_stamp_brings_is_not_missing() -> None:
    crd = {"kind": "CustomResourceDefinition", "spec": {"group": "cm.io", "names": {"kind": "Cert"}}}
    assert unfit(stamp(kinds=("Cert.cm.io",)), [crd], SiteFacts(kinds=frozenset())) == ()


@pytest.mark.parametrize(("off", "said"), [(299.0, 0), (301.0, 1), (-301.0, 1), (1801.0, 0), (None, 0)], ids=str)
def test_a_clock_that_is_minutes_off_is_a_warning(off: float | None, said: int) -> None:
    assert len(warnings(SiteFacts(clock_off_s=off))) == said


@pytest.mark.parametrize(
    ("objects", "facts", "lacks"),
    [
        pytest.param([workload("Deployment", "1", replicas=2)], {}, False, id="fits-exactly"),
        pytest.param([workload("Deployment", "1", replicas=3)], {}, True, id="one-too-many"),
        pytest.param(
            [workload("Deployment", "1500m", replicas=2)], {"nodes": (node(), node(name="n2"))}, False, id="two-nodes"
        ),
        pytest.param(
            [workload("Deployment", "3")], {"nodes": (node(), node(name="n2"))}, True, id="no-node-is-large-enough"
        ),
        pytest.param(
            [workload("DaemonSet", "1")], {"nodes": (node(), node("500m", name="n2"))}, True, id="daemon-on-each"
        ),
        pytest.param([workload("Deployment", "2")], {"pods": (running("1"),)}, True, id="others-run-there"),
        pytest.param(
            [workload("Deployment", "2")], {"pods": (running("1", phase="Succeeded"),)}, False, id="others-ended"
        ),
        pytest.param(
            [workload("Deployment", "2")], {"pods": (running("1", namespace="line"),)}, False, id="own-of-before"
        ),
        pytest.param([workload("Deployment", "1")], {"nodes": (node(unschedulable=True),)}, True, id="cordoned"),
        pytest.param(
            [workload("Deployment", "1")],
            {"nodes": (node(conditions=[{"type": "Ready", "status": "Unknown"}]),)},
            True,
            id="not-ready",
        ),
        pytest.param([workload("Deployment", "9")], {"nodes": ()}, False, id="nodes-not-known"),
        pytest.param([workload("Deployment", "9", replicas=0)], {}, False, id="scaled-to-zero"),
        pytest.param([workload("Job", "1", parallelism=3)], {}, True, id="parallel-job"),
        pytest.param(
            [workload("Deployment", "1", pod={"nodeSelector": {"disk": "ssd"}})], {}, True, id="selector-fits-no-node"
        ),
        pytest.param(
            [workload("Deployment", "1", pod={"nodeSelector": {"disk": "ssd"}})],
            {"nodes": (node(labels={"disk": "ssd"}),)},
            False,
            id="selector-fits",
        ),
        pytest.param([workload("Deployment", "lots")], {}, False, id="no-quantity-is-for-the-schema"),
        pytest.param([workload("Deployment", "1", replicas=10**9)], {}, True, id="a-billion-replicas"),
        pytest.param(
            [workload("Deployment", "1500m"), workload("DaemonSet", "1")],
            {"nodes": (node(), node("3", name="n2"))},
            False,
            id="daemons-first",
        ),
    ],
)
def test_room_is_estimated_on_each_node(objects: list[dict[str, Any]], facts: dict[str, Any], lacks: bool) -> None:
    found = unfit(stamp(), objects, SiteFacts(**{"nodes": (node(),), **facts}))
    assert [one.check for one in found] == (["capacity"] if lacks else [])


def test_missing_room_is_told_with_numbers() -> None:
    facts = SiteFacts(nodes=(node(),))
    (found,) = unfit(stamp(), [workload("Deployment", "1500m", replicas=3)], facts)
    assert found.message == "Deployment w: 2 of 3 pods have no room (1500m CPU, 64Mi memory each)"
