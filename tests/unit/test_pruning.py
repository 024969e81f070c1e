"""What an old version leaves behind: what may go, in which order, and what stays."""

from __future__ import annotations

from typing import Any

import pytest

from edge.model.kube import ObjectRef
from edge.policy.pruning import left_over, why_kept

LABELS = {"app.kubernetes.io/managed-by": "edge-platform", "edge-platform.io/stamp": "shop"}
OURS = {"manager": "edge-platform", "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}}}}
THEIRS = {**OURS, "manager": "them"}


def ref(kind: str, name: str = "one", api_version: str = "v1") -> ObjectRef:
    return ObjectRef(api_version=api_version, kind=kind, name=name, namespace="shop")


def live(kind: str = "ConfigMap", *, wish: str = "", **meta: Any) -> dict[str, Any]:
    notes = {"edge-platform.io/prune": wish} if wish else {}
    usual = {"name": "one", "labels": LABELS, "annotations": notes, "managedFields": [OURS, THEIRS]}
    return {"apiVersion": "v1", "kind": kind, "metadata": {**usual, **meta}}


def test_only_what_the_new_version_has_not_is_left_over_last_applied_first() -> None:
    old = [ref("Namespace"), ref("ConfigMap"), ref("ConfigMap", "two"), ref("Deployment", api_version="apps/v1")]
    gone = left_over(old, [ref("ConfigMap", "two")])
    assert gone == (ref("Deployment", api_version="apps/v1"), ref("ConfigMap"), ref("Namespace"))


def test_another_version_of_the_same_group_is_the_same_object() -> None:
    assert left_over([ref("CronJob", api_version="batch/v1beta1")], [ref("CronJob", api_version="batch/v1")]) == ()
    assert left_over([ref("Event", api_version="v1")], [ref("Event", api_version="events.k8s.io/v1")]) != ()


@pytest.mark.parametrize(
    ("obj", "why"),
    [
        pytest.param(live(), "", id="ours"),
        pytest.param(live(labels={}), "labels", id="without labels"),
        pytest.param(live(labels={**LABELS, "edge-platform.io/stamp": "bank"}), "labels", id="of another stamp"),
        pytest.param(live(labels={"edge-platform.io/stamp": "shop"}), "labels", id="managed by somebody else"),
        pytest.param(live(managedFields=[THEIRS]), "owns none", id="with no field of ours"),
        pytest.param(live(managedFields=[{**OURS, "subresource": "status"}]), "owns none", id="only a status of ours"),
        pytest.param(live(deletionTimestamp="2026-03-01T12:00:00Z"), "already", id="on its way out"),
        pytest.param(live(wish="disabled"), "says disabled", id="told to stay"),
        pytest.param(live("PersistentVolumeClaim"), "data", id="a claim"),
        pytest.param(live("Namespace"), "data", id="a namespace"),
        pytest.param(live("CustomResourceDefinition"), "data", id="a definition"),
        pytest.param(live("PersistentVolume", wish="yes"), "data", id="a volume with another word"),
        pytest.param(live("PersistentVolumeClaim", wish="enabled"), "", id="a claim that may go"),
        pytest.param(live("Namespace", wish="enabled", labels={}), "labels", id="a namespace that is not ours"),
    ],
)
def test_what_keeps_an_object_is_said(obj: dict[str, Any], why: str) -> None:
    found = why_kept(obj, "shop")
    assert why in found
    assert bool(found) is bool(why)
