"""The series that a Prometheus at a site has: some of kube-state-metrics' own, and those that ConfigMaps declare.

A ConfigMap labelled `lab.edge-platform.io/series: "true"` holds lines such as `queue_depth{site="a"} 4`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from edge.lab.kube.promql import PromqlFault, Sample, selector
from edge.lab.kube.resources import builtin
from edge.lab.kube.selectors import labels_of
from edge.lab.kube.store import Obj, SiteStore

SERIES_LABEL = "lab.edge-platform.io/series"
_LINE: Final = re.compile(r"(?P<series>.*\S)\s+(?P<value>[-+]?(?:\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|Inf)|NaN)")
_WORKLOADS: Final = (
    ("deployments", "deployment", "kube_deployment_spec_replicas", ("spec", "replicas")),
    ("deployments", "deployment", "kube_deployment_status_replicas_available", ("status", "availableReplicas")),
    ("statefulsets", "statefulset", "kube_statefulset_status_replicas_ready", ("status", "readyReplicas")),
    ("daemonsets", "daemonset", "kube_daemonset_status_number_ready", ("status", "numberReady")),
)


def series_of(store: SiteStore) -> Iterator[Sample]:
    """Every series, with its value now."""
    yield from _of_workloads(store)
    for pod in store.list(builtin("pods")):
        yield from _of_pod(pod)
    for table in store.list(builtin("configmaps"), "", f"{SERIES_LABEL}=true"):
        for text in (table.get("data") or {}).values():
            yield from _declared(text)


def _of_workloads(store: SiteStore) -> Iterator[Sample]:
    for plural, label, metric, (part, word) in _WORKLOADS:
        for obj in store.list(builtin(plural, "apps")):
            meta = obj["metadata"]
            value = (obj.get(part) or {}).get(word) or 0
            yield _sample(metric, value, {"namespace": meta["namespace"], label: meta["name"]})


def _of_pod(pod: Obj) -> Iterator[Sample]:
    meta, status = pod["metadata"], pod.get("status") or {}
    place = {"namespace": meta["namespace"], "pod": meta["name"]}
    labels = labels_of(pod)
    job = labels.get("app.kubernetes.io/name") or labels.get("app")
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ())
    if job and status.get("podIP"):
        yield _sample("up", float(ready), {**place, "job": job, "instance": status["podIP"]})
    for one in status.get("containerStatuses") or ():
        named = {**place, "container": one["name"], "uid": meta["uid"]}
        yield _sample("kube_pod_container_status_restarts_total", one.get("restartCount") or 0, named)


def _declared(text: str) -> Iterator[Sample]:
    """The lines that can be read; others are left out, as a scrape that fails leaves no series."""
    for line in text.splitlines():
        found = _LINE.fullmatch(line.strip())
        if found is None or line.lstrip().startswith("#"):
            continue
        try:
            labels = selector(found["series"])
        except PromqlFault:
            continue
        yield Sample(labels, float(found["value"]))


def _sample(metric: str, value: float, labels: dict[str, Any]) -> Sample:
    return Sample((("__name__", metric), *labels.items()), float(value))
