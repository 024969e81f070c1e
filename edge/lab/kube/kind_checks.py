"""Rules of single built-in kinds that no schema can say: what a manifest for a real cluster most often gets wrong.

The objects are of the right types and have their default values when they come here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from edge.lab.kube import policies
from edge.lab.kube.errors import Cause, cause
from edge.lab.kube.resources import ResourceType
from edge.lab.kube.store import Obj

_Check = Callable[[Obj, "Obj | None"], Iterator[Cause]]

_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_KEY_RULE = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
_SECRET_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
"""Keys that a Secret of a type must have."""
_TEMPLATE = ("spec", "template", "spec")
_CONTAINERS = ("initContainers", "containers")
_POD_MAY_CHANGE = ("activeDeadlineSeconds", "schedulingGates", "terminationGracePeriodSeconds", "tolerations")
_POD_RULE = (
    "pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, "
    "`spec.activeDeadlineSeconds`, `spec.tolerations` (only additions to existing tolerations), "
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def kind_faults(resource: ResourceType, obj: Obj, old: Obj | None) -> Iterator[Cause]:
    """What the rules of the object's kind have against it."""
    for check in _CHECKS.get((resource.group, resource.kind), ()):
        yield from check(obj, old)


def _required(path: str, why: str = "") -> Cause:
    """A field that is not there."""
    return cause(path, "FieldValueRequired", f"Required value: {why}" if why else "Required value")


def _forbidden(path: str, why: str) -> Cause:
    return cause(path, "FieldValueForbidden", f"Forbidden: {why}")


def _map(obj: object, *words: str) -> Obj:
    """The map at the end of this path; empty where there is none. Null stands for a zero value, as in Go."""
    for word in words:
        obj = obj.get(word) if isinstance(obj, dict) else None
    return obj if isinstance(obj, dict) else {}


def _maps(obj: Obj, word: str) -> Iterator[tuple[int, Obj]]:
    """The maps in a list, with their places."""
    for place, item in enumerate(obj.get(word) or ()):
        yield place, item if isinstance(item, dict) else {}


# Data


def _keys(obj: Obj, _old: Obj | None) -> Iterator[Cause]:
    both = set(obj.get("data") or ()) & set(obj.get("binaryData") or ())
    for word in ("data", "binaryData"):
        for key in obj.get(word) or ():
            if not _KEY.fullmatch(key) or key == "." or key.startswith(".."):
                yield cause(f"{word}[{key}]", "FieldValueInvalid", f'Invalid value: "{key}": {_KEY_RULE}')
    for key in sorted(both):
        text = f'Invalid value: "{key}": duplicate of key present in binaryData'
        yield cause(f"data[{key}]", "FieldValueInvalid", text)


def _secret_type(obj: Obj, _old: Obj | None) -> Iterator[Cause]:
    data = _map(obj, "data")
    for key in _SECRET_KEYS.get(str(obj.get("type")), ()):
        if key not in data:
            yield _required(f"data[{key}]")


# Workloads


def _volumes(*path: str) -> _Check:
    """A volume has one source. A StatefulSet's pods are not checked: their mounts may name its claims."""

    def check(obj: Obj, _old: Obj | None) -> Iterator[Cause]:
        spec, where = _map(obj, *path), ".".join(path)
        for place, volume in _maps(spec, "volumes"):
            sources = [word for word, source in volume.items() if word != "name" and source is not None]
            for word in sources[1:]:
                yield _forbidden(f"{where}.volumes[{place}].{word}", "may not specify more than 1 volume type")
        for word in _CONTAINERS:
            for place, container in _maps(spec, word):
                yield from _mounts(spec, container, f"{where}.{word}[{place}]")

    return check


def _mounts(spec: Obj, container: Obj, where: str) -> Iterator[Cause]:
    known = {volume.get("name") for _, volume in _maps(spec, "volumes")}
    for number, mount in _maps(container, "volumeMounts"):
        name = mount.get("name", "")
        if name not in known:
            yield cause(f"{where}.volumeMounts[{number}].name", "FieldValueNotFound", f'Not found: "{name}"')


def _restarts_always(obj: Obj, _old: Obj | None) -> Iterator[Cause]:
    policy = _map(obj, *_TEMPLATE).get("restartPolicy", "Always")
    if policy in ("Never", "OnFailure"):
        text = f'Unsupported value: "{policy}": supported values: "Always"'
        yield cause("spec.template.spec.restartPolicy", "FieldValueNotSupported", text)


def _restarts_with_an_end(obj: Obj, old: Obj | None) -> Iterator[Cause]:
    if old is None and _map(obj, *_TEMPLATE).get("restartPolicy", "Always") == "Always":
        yield _required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')


def _strategy(obj: Obj, _old: Obj | None) -> Iterator[Cause]:
    strategy = _map(obj, "spec", "strategy")
    rolling = _map(strategy, "rollingUpdate")
    if not rolling:
        return
    if strategy.get("type") == "Recreate":
        yield _forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    elif all(str(rolling.get(word)) in ("0", "0%") for word in ("maxSurge", "maxUnavailable")):
        text = "Invalid value: 0: may not be 0 when `maxSurge` is 0"
        yield cause("spec.strategy.rollingUpdate.maxUnavailable", "FieldValueInvalid", text)


def _pod_stays(obj: Obj, old: Obj | None) -> Iterator[Cause]:
    """A pod's containers may get other images, and little else may change."""
    if old is None:
        return
    for word in _CONTAINERS:
        if len(obj["spec"].get(word) or ()) != len(old["spec"].get(word) or ()):
            yield _forbidden(f"spec.{word}", "pod updates may not add or remove containers")
            return
    if _fixed(obj["spec"]) != _fixed(old["spec"]):
        yield _forbidden("spec", _POD_RULE)


def _fixed(spec: Obj) -> Obj:
    kept = {word: value for word, value in spec.items() if word not in _POD_MAY_CHANGE}
    for word in _CONTAINERS:
        kept[word] = [{**container, "image": ""} for _, container in _maps(spec, word)]
    return kept


# Others


def _claim(obj: Obj, old: Obj | None) -> Iterator[Cause]:
    spec = _map(obj, "spec")
    if old is None and not spec.get("accessModes"):
        yield _required("spec.accessModes", "at least 1 access mode is required")
    if old is None and "storage" not in _map(spec, "resources", "requests"):
        yield _required("spec.resources[storage]")


def _budget(obj: Obj, _old: Obj | None) -> Iterator[Cause]:
    spec = _map(obj, "spec")
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        text = "Invalid value: minAvailable and maxUnavailable cannot be both set"
        yield cause("spec", "FieldValueInvalid", text)


def _policy_types(obj: Obj, _old: Obj | None) -> Iterator[Cause]:
    for place, word in enumerate(_map(obj, "spec").get("policyTypes") or ()):
        if word not in ("Egress", "Ingress"):
            text = f'Unsupported value: "{word}": supported values: "Egress", "Ingress"'
            yield cause(f"spec.policyTypes[{place}]", "FieldValueNotSupported", text)


def _rules(obj: Obj, _old: Obj | None) -> Iterator[Cause]:
    for place, rule in _maps(obj, "rules"):
        if rule.get("nonResourceURLs"):
            continue
        if not rule.get("apiGroups"):
            yield _required(f"rules[{place}].apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            yield _required(f"rules[{place}].resources", "resource rules must supply at least one resource")


_CHECKS: Final[Mapping[tuple[str, str], tuple[_Check, ...]]] = {
    ("", "ConfigMap"): (_keys,),
    ("", "Secret"): (_keys, _secret_type),
    ("", "Pod"): (_pod_stays, _volumes("spec")),
    ("", "PersistentVolumeClaim"): (_claim,),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): (policies.faults_of,),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): (policies.webhook_faults_of,),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): (policies.webhook_faults_of,),
    ("apps", "DaemonSet"): (_restarts_always, _volumes(*_TEMPLATE)),
    ("apps", "Deployment"): (_strategy, _restarts_always, _volumes(*_TEMPLATE)),
    ("apps", "ReplicaSet"): (_restarts_always, _volumes(*_TEMPLATE)),
    ("apps", "StatefulSet"): (_restarts_always,),
    ("batch", "Job"): (_restarts_with_an_end, _volumes(*_TEMPLATE)),
    ("networking.k8s.io", "NetworkPolicy"): (_policy_types,),
    ("policy", "PodDisruptionBudget"): (_budget,),
    ("rbac.authorization.k8s.io", "ClusterRole"): (_rules,),
    ("rbac.authorization.k8s.io", "Role"): (_rules,),
}
