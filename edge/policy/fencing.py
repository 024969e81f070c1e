"""Who may write to a site: a lease with a token that only grows, and the admission policy that compares the two.

The lease's `spec.leaseTransitions` is the token. Whoever takes the lease over adds one, so a run that was thought dead
has a smaller token than its successor, and the site itself refuses what it still wants to write. Clocks decide only
when a lease may be taken over, never who may write.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from edge.errors import FencedOff, NotYet
from edge.model.fence import Fence
from edge.model.kube import KubeObject, ObjectRef

NAMESPACE: Final = "edge-platform"
LEASE_NAME: Final = "edge-platform"
POLICY_NAME: Final = "edge-platform-fence"
EXTRA: Final = "edge-fence"
"""The user extra that carries the token."""

LEASE: Final = ObjectRef(api_version="coordination.k8s.io/v1", kind="Lease", name=LEASE_NAME, namespace=NAMESPACE)

_MANAGED: Final = {"app.kubernetes.io/managed-by": "edge-platform"}
_ADMISSION: Final = "admissionregistration.k8s.io/v1"
_TOKEN: Final = f"int(request.userInfo.extra['{EXTRA}'][0])"


def namespace_object() -> dict[str, Any]:
    """The platform's own namespace at a site: lease and snapshots."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": dict(_MANAGED)}}


def policy_objects() -> tuple[dict[str, Any], dict[str, Any]]:
    """The site's own guard: a policy that refuses a write with an older token than the lease's, and its binding.

    Requests without a token (people, controllers) do not meet its condition.
    """
    condition = f"has(request.userInfo.extra) && '{EXTRA}' in request.userInfo.extra"
    rule = {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "scope": "*"}
    policy = {
        "failurePolicy": "Fail",
        "paramKind": {"apiVersion": LEASE.api_version, "kind": LEASE.kind},
        "matchConstraints": {"resourceRules": [{**rule, "operations": ["CREATE", "UPDATE", "DELETE"]}]},
        "matchConditions": [{"name": "carries-a-token", "expression": condition}],
        "validations": [
            {
                "expression": f"!has(params.spec.leaseTransitions) || {_TOKEN} >= params.spec.leaseTransitions",
                "message": "another run of the platform has taken this site over",
                "reason": "Forbidden",
            }
        ],
    }
    binding = {
        "policyName": POLICY_NAME,
        "paramRef": {"name": LEASE_NAME, "namespace": NAMESPACE, "parameterNotFoundAction": "Allow"},
        "validationActions": ["Deny"],
    }
    return _admission("ValidatingAdmissionPolicy", policy), _admission("ValidatingAdmissionPolicyBinding", binding)


def write_headers(user: Mapping[str, Any], token: int) -> tuple[tuple[str, str], ...]:
    """What a write carries so that the site sees the token: we impersonate ourselves, with one extra.

    `user` is the `userInfo` of a SelfSubjectReview.
    """
    groups = [("Impersonate-Group", str(group)) for group in user.get("groups") or ()]
    name = [("Impersonate-User", str(user["username"]))]
    return (*name, *groups, ("Impersonate-Extra-Edge-Fence", str(token)))


def taken_over(live: KubeObject | None, holder: str, now: datetime, lasts_s: float) -> dict[str, Any]:
    """The lease as `holder` takes it, with the next token.

    A holder that finds its own name was started anew, and takes over at once. NotYet when another run holds the lease
    and it is not over; `now` is the site's time, UTC.
    """
    spec = _spec(live)
    until = _until(spec, now)
    if spec.get("holderIdentity") not in (None, "", holder) and until is not None:
        error = NotYet(
            "Another run has this site",
            remedy="It is taken over when its lease is over, or at once when that run ends",
            holder=spec["holderIdentity"],
            until=until.isoformat(timespec="seconds"),
        )
        error.retry_after = max(1.0, (until - now).total_seconds())
        raise error
    fields = {"holderIdentity": holder, "leaseTransitions": token_of(live) + 1, "acquireTime": micro(now)}
    timing = {"renewTime": micro(now), "leaseDurationSeconds": max(1, round(lasts_s))}
    return _lease(live, {**fields, **timing})


def renewed(live: KubeObject, now: datetime) -> dict[str, Any]:
    """The lease, held from now on for as long as before."""
    return _lease(live, {**_spec(live), "renewTime": micro(now)})


def released(live: KubeObject) -> dict[str, Any]:
    """The lease, free for anyone. The token stays, or it would not grow."""
    return _lease(live, {**_spec(live), "holderIdentity": ""})


def check_still_ours(live: KubeObject | None, fence: Fence) -> None:
    """FencedOff when the lease is gone or another's."""
    spec = _spec(live)
    if spec.get("holderIdentity") != fence.holder or token_of(live) != fence.token:
        raise FencedOff(
            "Another run has taken the site over; nothing was written",
            site=fence.site,
            holder=spec.get("holderIdentity") or "nobody",
            token=f"{token_of(live)}, ours is {fence.token}",
        )


def token_of(live: KubeObject | None) -> int:
    """The lease's token; 0 when there is none."""
    value = _spec(live).get("leaseTransitions")
    return value if isinstance(value, int) else 0


def micro(moment: datetime) -> str:
    """A MicroTime as Kubernetes writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _until(spec: Mapping[str, Any], now: datetime) -> datetime | None:
    """Until when the lease is held; None when it is over, or begins so far ahead that the clock has jumped."""
    try:
        begun = datetime.fromisoformat(str(spec["renewTime"]))
        lasts = timedelta(seconds=int(spec["leaseDurationSeconds"]))
    except (KeyError, TypeError, ValueError):
        return None
    if begun.tzinfo is None or abs(now - begun) >= lasts:
        return None
    return begun + lasts


def _spec(live: KubeObject | None) -> Mapping[str, Any]:
    spec = (live or {}).get("spec")
    return spec if isinstance(spec, Mapping) else {}


def _lease(live: KubeObject | None, spec: Mapping[str, Any]) -> dict[str, Any]:
    meta = {"name": LEASE_NAME, "namespace": NAMESPACE, "labels": dict(_MANAGED)}
    base: Mapping[str, Any] = live or {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": meta}
    return {**base, "spec": dict(spec)}


def _admission(kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    meta = {"name": POLICY_NAME, "labels": dict(_MANAGED)}
    return {"apiVersion": _ADMISSION, "kind": kind, "metadata": meta, "spec": dict(spec)}
