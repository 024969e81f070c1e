"""What `kubectl get` prints where a plain path into the object is not enough: one small function per column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

Obj = Mapping[str, Any]
Cell = Callable[[Obj, datetime], Any]
NONE = "<none>"
UNSET = "<unset>"


def cell(name: str) -> Cell:
    """The function for a column's `cell` name. KeyError when there is none."""
    return _CELLS[name]


def duration(seconds: float) -> str:
    """A time span as kubectl writes it: 45s, 3m20s, 2h, 5d, 2y10d."""
    whole = int(seconds)
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    for limit, big, small, big_word, small_word in _STEPS:
        if whole < limit:
            rest = whole % big // small
            return f"{whole // big}{big_word}{f'{rest}{small_word}' if rest else ''}"
    return f"{whole // 31_536_000}y"


_STEPS = (
    (600, 60, 1, "m", "s"),
    (10_800, 60, 60, "m", ""),
    (28_800, 3_600, 60, "h", "m"),
    (172_800, 3_600, 3_600, "h", ""),
    (691_200, 86_400, 3_600, "d", "h"),
    (63_072_000, 86_400, 86_400, "d", ""),
)


def since(text: str | None, now: datetime) -> str:
    """How long ago an RFC 3339 time was."""
    if not text:
        return "<unknown>"
    return duration((now - datetime.fromisoformat(text)).total_seconds())


def at(obj: Any, *path: str, default: Any = None) -> Any:
    """A nested value, or `default` when a part of the path is missing."""
    for word in path:
        obj = obj.get(word) if isinstance(obj, Mapping) else None
    return default if obj is None else obj


def joined(values: Mapping[str, str] | None, empty: str = NONE) -> str:
    """`a=b,c=d`."""
    return ",".join(f"{key}={value}" for key, value in sorted((values or {}).items())) or empty


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector as text."""
    selector = selector or {}
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for one in selector.get("matchExpressions") or ():
        values = ",".join(one.get("values") or ())
        word = {"In": f" in ({values})", "NotIn": f" notin ({values})"}.get(one["operator"], "")
        parts.append(f"{'!' if one['operator'] == 'DoesNotExist' else ''}{one['key']}{word}")
    return ",".join(parts) or NONE


def _pod_ready(obj: Obj, _now: datetime) -> str:
    statuses = at(obj, "status", "containerStatuses", default=[])
    wanted = len(at(obj, "spec", "containers", default=[]))
    return f"{sum(bool(one.get('ready')) for one in statuses)}/{wanted}"


def _pod_status(obj: Obj, _now: datetime) -> str:
    status = at(obj, "status", default={})
    if at(obj, "metadata", "deletionTimestamp"):
        return "Terminating"
    for one in reversed(status.get("containerStatuses") or []):
        reason = at(one, "state", "waiting", "reason") or at(one, "state", "terminated", "reason")
        if reason:
            return str(reason)
    return str(status.get("reason") or status.get("phase") or "Unknown")


def _pod_restarts(obj: Obj, _now: datetime) -> int:
    return sum(one.get("restartCount", 0) for one in at(obj, "status", "containerStatuses", default=[]))


def _node_status(obj: Obj, _now: datetime) -> str:
    ready = [one["status"] for one in at(obj, "status", "conditions", default=[]) if one["type"] == "Ready"]
    text = {"True": "Ready", "False": "NotReady"}.get(ready[0] if ready else "", "Unknown")
    return f"{text},SchedulingDisabled" if at(obj, "spec", "unschedulable") else text


def _node_roles(obj: Obj, _now: datetime) -> str:
    prefix = "node-role.kubernetes.io/"
    roles = [key.removeprefix(prefix) for key in at(obj, "metadata", "labels", default={}) if key.startswith(prefix)]
    return ",".join(sorted(roles)) or NONE


def _node_internal_ip(obj: Obj, _now: datetime) -> str:
    addresses = at(obj, "status", "addresses", default=[])
    return next((one["address"] for one in addresses if one["type"] == "InternalIP"), NONE)


def _access_modes(obj: Obj, _now: datetime) -> str:
    short = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    modes = at(obj, "status", "accessModes") or at(obj, "spec", "accessModes", default=[])
    return ",".join(short.get(mode, str(mode)) for mode in modes)


def _claim(obj: Obj, _now: datetime) -> str:
    claim = at(obj, "spec", "claimRef")
    return f"{claim['namespace']}/{claim['name']}" if claim else ""


def _quota(obj: Obj, limits: bool) -> str:
    used = at(obj, "status", "used", default={})
    hard = at(obj, "status", "hard") or at(obj, "spec", "hard", default={})
    names = sorted(name for name in hard if name.startswith("limits.") == limits)
    return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in names)


def _external_ip(obj: Obj, _now: datetime) -> str:
    spec = at(obj, "spec", default={})
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", ""))
    found = [one.get("ip") or one.get("hostname") for one in at(obj, "status", "loadBalancer", "ingress", default=[])]
    found += spec.get("externalIPs") or []
    return ",".join(found) or ("<pending>" if spec.get("type") == "LoadBalancer" else NONE)


def _service_ports(obj: Obj, _now: datetime) -> str:
    parts = []
    for port in at(obj, "spec", "ports", default=[]):
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        parts.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(parts) or NONE


def _endpoints(obj: Obj, _now: datetime) -> str:
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or ()
        for address in subset.get("addresses") or ()
        for port in subset.get("ports") or ()
    ]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return ",".join(found[:3]) + more if found else NONE


def _template(obj: Obj, word: str) -> str:
    return ",".join(one.get(word, "") for one in at(obj, "spec", "template", "spec", "containers", default=[]))


def _job_status(obj: Obj, _now: datetime) -> str:
    conditions = {one["type"]: one["status"] for one in at(obj, "status", "conditions", default=[])}
    for kind in ("Complete", "Failed", "Suspended"):
        if conditions.get(kind) == "True":
            return kind
    return "Terminating" if at(obj, "metadata", "deletionTimestamp") else "Running"


def _job_completions(obj: Obj, _now: datetime) -> str:
    wanted = at(obj, "spec", "completions") or f"1 of {at(obj, 'spec', 'parallelism', default=1)}"
    return f"{at(obj, 'status', 'succeeded', default=0)}/{wanted}"


def _job_duration(obj: Obj, now: datetime) -> str:
    start, end = at(obj, "status", "startTime"), at(obj, "status", "completionTime")
    return since(start, datetime.fromisoformat(end) if end else now) if start else ""


def _last_schedule(obj: Obj, now: datetime) -> str:
    last = at(obj, "status", "lastScheduleTime")
    return since(last, now) if last else NONE


def _ingress_hosts(obj: Obj, _now: datetime) -> str:
    return ",".join(rule.get("host") or "*" for rule in at(obj, "spec", "rules", default=[])) or "*"


def _ingress_address(obj: Obj, _now: datetime) -> str:
    points = at(obj, "status", "loadBalancer", "ingress", default=[])
    return ",".join(one.get("ip") or one.get("hostname") or "" for one in points)


def _last_seen(obj: Obj, now: datetime) -> str:
    series = at(obj, "series", "lastObservedTime")
    last = series or obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp") or obj.get("eventTime")
    return since(last or at(obj, "metadata", "creationTimestamp"), now)


def _involved(obj: Obj, _now: datetime) -> str:
    target = obj.get("involvedObject") or obj.get("regarding") or {}
    return f"{target.get('kind', '').lower()}/{target.get('name', '')}"


def _slice_ports(obj: Obj, _now: datetime) -> str:
    return ",".join(str(port.get("port", "*")) for port in obj.get("ports") or ()) or UNSET


def _slice_endpoints(obj: Obj, _now: datetime) -> str:
    return ",".join(one for point in obj.get("endpoints") or () for one in point["addresses"]) or UNSET


def _number(*path: str) -> Cell:
    return lambda obj, _now: at(obj, *path, default=0)


def _text(*path: str, empty: str = NONE) -> Cell:
    return lambda obj, _now: str(at(obj, *path, default=empty))


def _boolean(*path: str) -> Cell:
    return lambda obj, _now: "true" if at(obj, *path) else "false"


def _size(*path: str) -> Cell:
    return lambda obj, _now: len(at(obj, *path, default=()))


_CELLS: dict[str, Cell] = {
    "access_modes": _access_modes,
    "active_count": _size("status", "active"),
    "age": lambda obj, now: since(at(obj, "metadata", "creationTimestamp"), now),
    "available_replicas": _number("status", "availableReplicas"),
    "claim": _claim,
    "cluster_ip": _text("spec", "clusterIP"),
    "current_replicas": _number("status", "replicas"),
    "data_count": lambda obj, _now: len(obj.get("data") or ()) + len(obj.get("binaryData") or ()),
    "endpoints": _endpoints,
    "external_ip": _external_ip,
    "global_default": _boolean("globalDefault"),
    "ingress_address": _ingress_address,
    "ingress_class": _text("spec", "ingressClassName"),
    "ingress_hosts": _ingress_hosts,
    "ingress_ports": lambda obj, _now: "80, 443" if at(obj, "spec", "tls") else "80",
    "involved_object": _involved,
    "job_completions": _job_completions,
    "job_duration": _job_duration,
    "job_status": _job_status,
    "label_selector": lambda obj, _now: selector_text(at(obj, "spec", "selector")),
    "last_schedule": _last_schedule,
    "last_seen": _last_seen,
    "max_unavailable": _text("spec", "maxUnavailable", empty="N/A"),
    "min_available": _text("spec", "minAvailable", empty="N/A"),
    "node_internal_ip": _node_internal_ip,
    "node_roles": _node_roles,
    "node_selector": lambda obj, _now: joined(at(obj, "spec", "template", "spec", "nodeSelector")),
    "node_status": _node_status,
    "number_available": _number("status", "numberAvailable"),
    "pod_ready": _pod_ready,
    "pod_restarts": _pod_restarts,
    "pod_selector": lambda obj, _now: selector_text(at(obj, "spec", "podSelector")),
    "pod_status": _pod_status,
    "quota_limits": lambda obj, _now: _quota(obj, limits=True),
    "quota_requests": lambda obj, _now: _quota(obj, limits=False),
    "ready_replicas": _number("status", "readyReplicas"),
    "replicas_ready": lambda obj, _now: (
        f"{at(obj, 'status', 'readyReplicas', default=0)}/{at(obj, 'spec', 'replicas', default=1)}"
    ),
    "role_ref": lambda obj, _now: f"{at(obj, 'roleRef', 'kind')}/{at(obj, 'roleRef', 'name')}",
    "scale_target": lambda obj, _now: (
        f"{at(obj, 'spec', 'scaleTargetRef', 'kind')}/{at(obj, 'spec', 'scaleTargetRef', 'name')}"
    ),
    "secrets_count": _size("secrets"),
    "service_ports": _service_ports,
    "service_selector": lambda obj, _now: joined(at(obj, "spec", "selector")),
    "slice_endpoints": _slice_endpoints,
    "slice_ports": _slice_ports,
    "suspended": lambda obj, _now: str(bool(at(obj, "spec", "suspend"))),
    "template_containers": lambda obj, _now: _template(obj, "name"),
    "template_images": lambda obj, _now: _template(obj, "image"),
    "time_zone": _text("spec", "timeZone"),
    "unset": lambda _obj, _now: UNSET,
    "unset_gates": lambda _obj, _now: NONE,
    "updated_replicas": _number("status", "updatedReplicas"),
    "updated_scheduled": _number("status", "updatedNumberScheduled"),
    "volume_expansion": _boolean("allowVolumeExpansion"),
}
