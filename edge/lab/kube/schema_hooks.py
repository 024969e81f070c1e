"""Default values that depend on other fields of the same object, by the name of the definition they fill.

A hook gets one value of its type (a Deployment's strategy, a container) and changes it in place, before its children
are filled.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

from edge.lab.kube.schema_node import Hook, Json

CORE = "io.k8s.api.core.v1."
APPS = "io.k8s.api.apps.v1."


def _map(value: object) -> Json:
    """The value when it is a map, else an empty one: defaults come before validation, so anything may stand there."""
    return value if isinstance(value, dict) else {}


def _maps(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _container(container: Json) -> None:
    image = str(container.get("image") or "")
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    latest = tag == "latest" or (not tag and "@" not in image)
    container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")


def _volume(volume: Json) -> None:
    if volume.keys() <= {"name"}:
        volume["emptyDir"] = {}


def _pod(pod: Json) -> None:
    spec = _map(pod.get("spec"))
    spec.setdefault("enableServiceLinks", True)
    for container in (*_maps(spec.get("containers")), *_maps(spec.get("initContainers"))):
        resources = _map(container.get("resources"))
        if _map(resources.get("limits")):
            resources["requests"] = {**resources["limits"], **_map(resources.get("requests"))}


def _pod_spec(spec: Json) -> None:
    if spec.get("hostNetwork"):
        for container in _maps(spec.get("containers")):
            for port in _maps(container.get("ports")):
                port.setdefault("hostPort", port.get("containerPort"))


def _service_port(port: Json) -> None:
    if port.get("targetPort") in (None, "", 0) and "port" in port:
        port["targetPort"] = port["port"]


def _service_spec(spec: Json) -> None:
    kind = spec.get("type")
    if kind != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if spec.get("sessionAffinity") == "ClientIP" and not spec.get("sessionAffinityConfig"):
        spec["sessionAffinityConfig"] = {"clientIP": {}}


def _rolling(strategy: Json) -> None:
    if strategy.get("type") == "RollingUpdate" and not strategy.get("rollingUpdate"):
        strategy["rollingUpdate"] = {}


def _labels_of_template(workload: Json) -> None:
    template = _map(_map(_map(workload.get("spec")).get("template")).get("metadata"))
    if _map(template.get("labels")) and not _map(workload.get("metadata")).get("labels"):
        workload["metadata"] = {**_map(workload.get("metadata")), "labels": dict(template["labels"])}


def _stateful_set_spec(spec: Json) -> None:
    for claim in _maps(spec.get("volumeClaimTemplates")):
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")


def _job_spec(spec: Json) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    spec.setdefault("parallelism", 1)
    if spec.get("backoffLimitPerIndex") is None:
        spec.setdefault("backoffLimit", 6)
    spec.setdefault("podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")


def _network_policy_spec(spec: Json) -> None:
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _subject(subject: Json) -> None:
    if subject.get("kind") in ("User", "Group"):
        subject.setdefault("apiGroup", "rbac.authorization.k8s.io")


def _crd_names(names: Json) -> None:
    kind = str(names.get("kind") or "")
    names["singular"] = names.get("singular") or kind.lower()
    names["listKind"] = names.get("listKind") or f"{kind}List"


def _resources(resources: Json) -> None:
    for word in ("limits", "requests", "hard", "max", "min", "default", "defaultRequest", "capacity", "allocatable"):
        amounts = resources.get(word)
        if isinstance(amounts, dict):
            for name, amount in amounts.items():
                amounts[name] = canonical_quantity(amount)


BINARY: Final = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4, "Pi": 1024**5, "Ei": 1024**6}
DECIMAL: Final = {
    "E": Decimal(10**18),
    "P": Decimal(10**15),
    "T": Decimal(10**12),
    "G": Decimal(10**9),
    "M": Decimal(10**6),
    "k": Decimal(1000),
    "": Decimal(1),
    "m": Decimal("0.001"),
    "u": Decimal("0.000001"),
    "n": Decimal("0.000000001"),
}


def canonical_quantity(amount: object) -> object:
    """A quantity as a server gives it back: `1000m` is `1`, `1024Mi` is `1Gi`, 0.5 is `500m`.

    What cannot be read comes back as it is; validation speaks about it.
    """
    text = str(amount)
    if isinstance(amount, bool) or not isinstance(amount, str | int | float):
        return amount
    if text.isdecimal() and not text.endswith("000") and (text == "0" or text[0] != "0"):
        return text
    digits = text.rstrip("KMGTPEikmun")
    suffix = text[len(digits) :]
    try:
        number = Decimal(digits)
    except InvalidOperation:
        return amount
    if suffix in BINARY and (number * BINARY[suffix]) % 1 == 0:
        return _in_units(int(number * BINARY[suffix]))
    return _in_decimal(number * DECIMAL[suffix]) if suffix in DECIMAL else amount


def _in_units(count: int) -> str:
    for name, size in reversed(BINARY.items()):
        if count and count % size == 0:
            return f"{count // size}{name}"
    return str(count)


def _in_decimal(number: Decimal) -> str:
    if not number:
        return "0"
    for name, size in DECIMAL.items():
        if (number / size) % 1 == 0:
            return f"{int(number / size)}{name}"
    return f"{-(-number // DECIMAL['n']):.0f}n"


HOOKS: Final[dict[str, Hook]] = {
    f"{CORE}Container": _container,
    f"{CORE}EphemeralContainer": _container,
    f"{CORE}Volume": _volume,
    f"{CORE}Pod": _pod,
    f"{CORE}PodSpec": _pod_spec,
    f"{CORE}ServicePort": _service_port,
    f"{CORE}ServiceSpec": _service_spec,
    f"{CORE}ResourceRequirements": _resources,
    f"{CORE}VolumeResourceRequirements": _resources,
    f"{CORE}ResourceQuotaSpec": _resources,
    f"{CORE}LimitRangeItem": _resources,
    f"{CORE}NodeStatus": _resources,
    f"{APPS}DeploymentStrategy": _rolling,
    f"{APPS}StatefulSetUpdateStrategy": _rolling,
    f"{APPS}DaemonSetUpdateStrategy": _rolling,
    f"{APPS}ReplicaSet": _labels_of_template,
    f"{CORE}ReplicationController": _labels_of_template,
    f"{APPS}StatefulSetSpec": _stateful_set_spec,
    "io.k8s.api.batch.v1.JobSpec": _job_spec,
    "io.k8s.api.networking.v1.NetworkPolicySpec": _network_policy_spec,
    "io.k8s.api.rbac.v1.Subject": _subject,
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionNames": _crd_names,
}
