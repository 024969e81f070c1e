"""The health rules, kind by kind, on objects as an API server gives them."""

from __future__ import annotations

from typing import Any

import pytest

from edge.model.kube import Health
from edge.policy.health import health_of

CURRENT, IN_PROGRESS, FAILED = Health.CURRENT, Health.IN_PROGRESS, Health.FAILED


def an(api_version: str, kind: str, *, generation: int | None = None, **parts: Any) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": "x", "namespace": "shop"}
    if generation is not None:
        meta["generation"] = generation
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **parts}


def condition(kind: str, status: str, reason: str = "", message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


AVAILABLE = condition("Available", "True")


def deployment(replicas: int | None = 2, *conditions: dict[str, str], **counts: Any) -> dict[str, Any]:
    words = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    full = {**dict.fromkeys(words, 1 if replicas is None else replicas), "observedGeneration": 3, **counts}
    spec = {} if replicas is None else {"replicas": replicas}
    status = {**full, "conditions": list(conditions or (AVAILABLE,))}
    return an("apps/v1", "Deployment", generation=3, spec=spec, status=status)


DEPLOYMENTS = [
    pytest.param(deployment(), CURRENT, id="all-there"),
    pytest.param(deployment(None), CURRENT, id="replicas-left-out-means-one"),
    pytest.param(deployment(None, readyReplicas=0), IN_PROGRESS, id="the-one-is-not-ready"),
    pytest.param(deployment(0, condition("Available", "False")), CURRENT, id="scaled-to-zero"),
    pytest.param(deployment(observedGeneration=2), IN_PROGRESS, id="old-generation"),
    pytest.param(deployment(updatedReplicas=1), IN_PROGRESS, id="rolling"),
    pytest.param(deployment(availableReplicas=1), IN_PROGRESS, id="not-available"),
    pytest.param(deployment(replicas=2) | {"status": {}}, IN_PROGRESS, id="just-created"),
    pytest.param(an("apps/v1", "Deployment", generation=1, spec={"replicas": 0}), IN_PROGRESS, id="no-status"),
    pytest.param(
        deployment(1) | {"status": deployment(1)["status"] | {"replicas": 2}}, IN_PROGRESS, id="an-old-pod-is-left"
    ),
    pytest.param(
        deployment(2, AVAILABLE, condition("Progressing", "False", "ProgressDeadlineExceeded", "timed out")),
        FAILED,
        id="deadline-exceeded",
    ),
    pytest.param(
        deployment(2, AVAILABLE, condition("Progressing", "False", "FailedCreate")), FAILED, id="cannot-progress"
    ),
    pytest.param(
        deployment(2, AVAILABLE, condition("Progressing", "Unknown", "DeploymentPaused")), CURRENT, id="paused"
    ),
    pytest.param(
        deployment(2, AVAILABLE, condition("ReplicaFailure", "True", message="exceeded quota")),
        IN_PROGRESS,
        id="quota-may-be-raised",
    ),
    pytest.param(
        deployment(2, condition("Available", "False", message="below minimum")), IN_PROGRESS, id="unavailable"
    ),
]


def statefulset(replicas: int = 3, strategy: dict[str, Any] | None = None, **counts: Any) -> dict[str, Any]:
    status = {
        "observedGeneration": 1,
        **dict.fromkeys(("replicas", "readyReplicas", "currentReplicas", "updatedReplicas"), replicas),
        "currentRevision": "r1",
        "updateRevision": "r1",
        **counts,
    }
    spec = {"replicas": replicas, "updateStrategy": strategy or {"type": "RollingUpdate"}}
    return an("apps/v1", "StatefulSet", generation=1, spec=spec, status=status)


PARTITION = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
STATEFULSETS = [
    pytest.param(statefulset(), CURRENT, id="all-there"),
    pytest.param(statefulset(readyReplicas=2), IN_PROGRESS, id="one-is-not-ready"),
    pytest.param(statefulset(updateRevision="r2", updatedReplicas=1), IN_PROGRESS, id="two-revisions"),
    pytest.param(statefulset(replicas=3) | {"status": {}}, IN_PROGRESS, id="just-created"),
    pytest.param(statefulset(strategy={"type": "OnDelete"}, readyReplicas=0), CURRENT, id="on-delete-is-for-people"),
    pytest.param(
        statefulset(strategy=PARTITION, updateRevision="r2", updatedReplicas=1), CURRENT, id="beyond-the-partition"
    ),
    pytest.param(
        statefulset(strategy=PARTITION, updateRevision="r2", updatedReplicas=0), IN_PROGRESS, id="before-the-partition"
    ),
    pytest.param(
        statefulset(strategy=PARTITION, updatedReplicas=1, readyReplicas=2), IN_PROGRESS, id="partition-not-ready"
    ),
    pytest.param(statefulset(0), CURRENT, id="scaled-to-zero"),
]


def daemonset(wanted: int = 2, **counts: Any) -> dict[str, Any]:
    words = ("currentNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady")
    status = {
        "observedGeneration": 1,
        "desiredNumberScheduled": wanted,
        **dict.fromkeys(words, wanted),
        **counts,
    }
    return an("apps/v1", "DaemonSet", generation=1, spec={}, status=status)


DAEMONSETS = [
    pytest.param(daemonset(), CURRENT, id="on-every-node"),
    pytest.param(daemonset(0), CURRENT, id="no-node-fits"),
    pytest.param(daemonset(numberReady=1), IN_PROGRESS, id="one-is-not-ready"),
    pytest.param(daemonset(updatedNumberScheduled=0), IN_PROGRESS, id="rolling"),
    pytest.param(daemonset() | {"status": {"desiredNumberScheduled": 0}}, IN_PROGRESS, id="not-seen-yet"),
    pytest.param(daemonset() | {"status": {}}, IN_PROGRESS, id="just-created"),
]


def replicaset(**counts: Any) -> dict[str, Any]:
    words = ("replicas", "fullyLabeledReplicas", "availableReplicas", "readyReplicas")
    status = {"observedGeneration": 1, **dict.fromkeys(words, 1), **counts}
    return an("apps/v1", "ReplicaSet", generation=1, spec={"replicas": 1}, status=status)


REPLICASETS = [
    pytest.param(replicaset(), CURRENT, id="all-there"),
    pytest.param(replicaset(fullyLabeledReplicas=0), IN_PROGRESS, id="labels-differ"),
    pytest.param(replicaset(conditions=[condition("ReplicaFailure", "True")]), IN_PROGRESS, id="cannot-create"),
]


def job(*conditions: dict[str, str], **spec: Any) -> dict[str, Any]:
    return an("batch/v1", "Job", spec=spec, status={"conditions": list(conditions)})


JOBS = [
    pytest.param(job(condition("Complete", "True")), CURRENT, id="complete"),
    pytest.param(job(condition("Failed", "True", "BackoffLimitExceeded")), FAILED, id="failed"),
    pytest.param(job(), IN_PROGRESS, id="running"),
    pytest.param(job(condition("Complete", "False")), IN_PROGRESS, id="a-condition-that-is-false"),
    pytest.param(job(condition("Suspended", "True"), suspend=True), CURRENT, id="suspended-as-asked"),
]


def pod(phase: str, *conditions: dict[str, str], waiting: str = "", init: str = "", **more: Any) -> dict[str, Any]:
    def states(reason: str) -> list[dict[str, Any]]:
        return [{"name": "main", "state": {"waiting": {"reason": reason}}}] if reason else []

    status = {
        "phase": phase,
        "conditions": list(conditions),
        "containerStatuses": states(waiting),
        "initContainerStatuses": states(init),
        **more,
    }
    return an("v1", "Pod", spec={}, status=status)


PODS = [
    pytest.param(pod("Running", condition("Ready", "True")), CURRENT, id="ready"),
    pytest.param(pod("Running", condition("Ready", "False")), IN_PROGRESS, id="running-not-ready"),
    pytest.param(pod("Succeeded", condition("Ready", "False", "PodCompleted")), CURRENT, id="succeeded"),
    pytest.param(pod("Failed", message="evicted"), FAILED, id="failed"),
    pytest.param(pod("Running", waiting="CrashLoopBackOff"), FAILED, id="crash-loop"),
    pytest.param(pod("Pending", init="CrashLoopBackOff"), FAILED, id="init-crash-loop"),
    pytest.param(pod("Pending", waiting="ImagePullBackOff"), IN_PROGRESS, id="image-may-come-with-the-link"),
    pytest.param(
        pod("Pending", condition("PodScheduled", "False", "Unschedulable", "no node")), IN_PROGRESS, id="unschedulable"
    ),
    pytest.param(an("v1", "Pod", spec={}), IN_PROGRESS, id="no-status"),
]

OTHERS = [
    pytest.param(an("v1", "PersistentVolumeClaim", status={"phase": "Bound"}), CURRENT, id="claim-bound"),
    pytest.param(an("v1", "PersistentVolumeClaim", status={"phase": "Pending"}), IN_PROGRESS, id="claim-pending"),
    pytest.param(an("v1", "PersistentVolumeClaim", status={"phase": "Lost"}), FAILED, id="claim-lost"),
    pytest.param(an("v1", "Service", spec={"type": "ClusterIP"}), CURRENT, id="service-inside"),
    pytest.param(an("v1", "Service", spec={"type": "LoadBalancer"}, status={}), IN_PROGRESS, id="no-address"),
    pytest.param(
        an("v1", "Service", spec={"type": "LoadBalancer"}, status={"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}),
        CURRENT,
        id="address",
    ),
    pytest.param(an("v1", "Namespace", status={"phase": "Active"}), CURRENT, id="namespace-active"),
    pytest.param(an("v1", "Namespace", status={"phase": "Terminating"}), Health.TERMINATING, id="namespace-going"),
    pytest.param(an("v1", "Namespace", status={}), IN_PROGRESS, id="namespace-new"),
    pytest.param(
        an(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            status={"conditions": [condition("Established", "True")]},
        ),
        CURRENT,
        id="crd-established",
    ),
    pytest.param(an("apiextensions.k8s.io/v1", "CustomResourceDefinition"), IN_PROGRESS, id="crd-new"),
    pytest.param(
        an(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            status={"conditions": [condition("NamesAccepted", "False", "ListKindConflict", "taken")]},
        ),
        FAILED,
        id="crd-name-taken",
    ),
    pytest.param(
        an("policy/v1", "PodDisruptionBudget", generation=1, status={"observedGeneration": 1, "disruptionsAllowed": 0}),
        CURRENT,
        id="budget-counted",
    ),
    pytest.param(an("policy/v1", "PodDisruptionBudget", status={}), IN_PROGRESS, id="budget-not-counted"),
    pytest.param(an("v1", "ConfigMap", data={}), CURRENT, id="being-there-is-enough"),
]


def custom(*conditions: Any, generation: int = 2, **status: Any) -> dict[str, Any]:
    return an("x.io/v1", "Widget", generation=generation, status={"conditions": list(conditions), **status})


GENERIC = [
    pytest.param(an("x.io/v1", "Widget"), CURRENT, id="no-status"),
    pytest.param(custom(condition("Ready", "True"), observedGeneration=2), CURRENT, id="ready"),
    pytest.param(custom(condition("Ready", "True"), observedGeneration=1), IN_PROGRESS, id="ready-but-of-before"),
    pytest.param(custom(condition("Ready", "False", message="pulling")), IN_PROGRESS, id="not-ready"),
    pytest.param(custom(condition("Ready", "Unknown")), IN_PROGRESS, id="unknown"),
    pytest.param(custom(condition("Stalled", "True"), condition("Ready", "True")), FAILED, id="stalled"),
    pytest.param(custom(condition("Reconciling", "True"), condition("Ready", "True")), IN_PROGRESS, id="reconciling"),
    pytest.param(an("x.io/v1", "Widget", status={"conditions": "none"}), CURRENT, id="conditions-of-another-shape"),
    pytest.param(an("x.io/v1", "Widget", status={"conditions": ["Ready"]}), CURRENT, id="conditions-that-are-words"),
    pytest.param(an("x.io/v1", "Widget", status="fine"), CURRENT, id="status-of-another-shape"),
    pytest.param(an("x.io/v1", "Deployment", status={}), CURRENT, id="a-namesake-of-another-group"),
]

ALL = DEPLOYMENTS + STATEFULSETS + DAEMONSETS + REPLICASETS + JOBS + PODS + OTHERS + GENERIC


@pytest.mark.parametrize(("obj", "expected"), DEPLOYMENTS)
def test_a_deployment_is_judged_by_its_replicas_and_conditions(obj: dict[str, Any], expected: Health) -> None:
    assert health_of(obj).health is expected


@pytest.mark.parametrize(("obj", "expected"), STATEFULSETS)
def test_a_stateful_set_is_judged_by_revision_and_partition(obj: dict[str, Any], expected: Health) -> None:
    assert health_of(obj).health is expected


@pytest.mark.parametrize(("obj", "expected"), DAEMONSETS)
def test_a_daemon_set_is_judged_by_its_nodes(obj: dict[str, Any], expected: Health) -> None:
    assert health_of(obj).health is expected


@pytest.mark.parametrize(("obj", "expected"), REPLICASETS)
def test_a_replica_set_is_judged_by_its_replicas(obj: dict[str, Any], expected: Health) -> None:
    assert health_of(obj).health is expected


@pytest.mark.parametrize(("obj", "expected"), JOBS)
def test_a_job_is_current_when_it_has_ended_well(obj: dict[str, Any], expected: Health) -> None:
    assert health_of(obj).health is expected


@pytest.mark.parametrize(("obj", "expected"), PODS)
def test_a_pod_is_judged_by_phase_and_containers(obj: dict[str, Any], expected: Health) -> None:
    assert health_of(obj).health is expected


@pytest.mark.parametrize(("obj", "expected"), OTHERS)
def test_other_kinds_have_rules_of_their_own(obj: dict[str, Any], expected: Health) -> None:
    assert health_of(obj).health is expected


@pytest.mark.parametrize(("obj", "expected"), GENERIC)
def test_an_unknown_kind_is_judged_by_standard_conditions(obj: dict[str, Any], expected: Health) -> None:
    assert health_of(obj).health is expected


@pytest.mark.parametrize(("obj", "expected"), ALL)
def test_deletion_comes_before_everything_else(obj: dict[str, Any], expected: Health) -> None:
    going = {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert health_of(going).health is Health.TERMINATING


@pytest.mark.parametrize(("obj", "expected"), ALL)
def test_whatever_is_not_current_says_why(obj: dict[str, Any], expected: Health) -> None:
    found = health_of(obj)
    assert bool(found.message) is (found.health is not CURRENT)


def test_the_message_carries_the_numbers() -> None:
    assert health_of(deployment(readyReplicas=1)).message == "1 of 2 readyReplicas"


def test_the_message_carries_the_servers_words() -> None:
    assert health_of(job(condition("Failed", "True", "BackoffLimitExceeded"))).message == "BackoffLimitExceeded"
