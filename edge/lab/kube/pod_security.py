"""Pod Security admission: a namespace's labels say which pods it takes, and which only cause a warning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edge.lab.kube.errors import Cause, cause, forbidden, invalid
from edge.lab.kube.pod_security_checks import BASELINE, RESTRICTED, Check, Pod
from edge.lab.kube.resources import NAMESPACES, PODS, ResourceType, builtin
from edge.lab.kube.store import Obj, SiteStore

_HEAD = "pod-security.kubernetes.io/"
_LEVELS: Mapping[str, tuple[Check, ...]] = {"privileged": (), "baseline": BASELINE, "restricted": RESTRICTED}
_MODES = ("enforce", "audit", "warn")
_VERSION = re.compile(r"latest|v1\.(0|[1-9][0-9]*)")
_TEMPLATES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("apps", "daemonsets"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
    ("", "podtemplates"): ("template",),
    ("", "replicationcontrollers"): ("spec", "template"),
}


def check(store: SiteStore, resource: ResourceType, obj: Obj, old: Obj | None) -> list[str]:
    """Refuse (403) a pod that its namespace does not take; the warnings for one that it takes, or for a workload.

    A namespace whose own labels are no levels is refused (422).
    """
    if resource.key == NAMESPACES:
        _check_labels(obj)
    elif resource.key == PODS and (old is None or obj["spec"] != old["spec"]):
        labels = _labels(store, obj)
        why = violations(labels, "enforce", obj)
        if why:
            raise forbidden(resource, obj["metadata"].get("name", ""), f"violates PodSecurity {why}")
        return _warnings(labels, obj)
    elif resource.key in _TEMPLATES:
        template: Any = obj
        for word in _TEMPLATES[resource.key]:
            template = (template or {}).get(word)
        return _warnings(_labels(store, obj), template or {})
    return []


def violations(labels: Mapping[str, str], mode: str, pod: Pod) -> str:
    """Level, version and what the pod does that the level of this mode forbids; "" when it does nothing of the kind."""
    level = labels.get(f"{_HEAD}{mode}", "privileged")
    found = [text for test in _LEVELS.get(level, RESTRICTED) if (text := test(pod))]
    version = labels.get(f"{_HEAD}{mode}-version", "latest")
    return f'"{level}:{version}": {", ".join(found)}' if found else ""


def _warnings(labels: Mapping[str, str], pod: Pod) -> list[str]:
    why = violations(labels, "warn", pod)
    return [f"would violate PodSecurity {why}"] if why else []


def _labels(store: SiteStore, obj: Obj) -> Mapping[str, str]:
    namespace = store.get(builtin("namespaces"), "", obj["metadata"].get("namespace", ""))
    return (namespace or {}).get("metadata", {}).get("labels") or {}


def _check_labels(obj: Obj) -> None:
    labels = obj["metadata"].get("labels") or {}
    faults: list[Cause] = []
    for mode in _MODES:
        level, version = labels.get(f"{_HEAD}{mode}", "privileged"), labels.get(f"{_HEAD}{mode}-version", "latest")
        if level not in _LEVELS:
            said = f'Invalid value: "{level}": must be one of {", ".join(_LEVELS)}'
            faults.append(cause(f"metadata.labels[{_HEAD}{mode}]", "FieldValueInvalid", said))
        if not _VERSION.fullmatch(version):
            said = f'Invalid value: "{version}": must be "latest" or "v1.x"'
            faults.append(cause(f"metadata.labels[{_HEAD}{mode}-version]", "FieldValueInvalid", said))
    if faults:
        raise invalid("Namespace", "", obj["metadata"].get("name", ""), faults)
