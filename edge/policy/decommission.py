"""How a device leaves: which objects on a cluster are the platform's, in which order they go, and what proves it.

Objects are known by what stands in them (label and field manager), not by what the platform remembers to have applied:
memory may have been lost, and what an older version applied must go too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from edge.model.admission import Ownership
from edge.model.decommission import Footprint, LeaveProof, LeaveStep, Mark, StepProof
from edge.model.device import Device, DeviceState
from edge.model.kube import KubeObject, ObjectRef
from edge.model.step import Detail, StepKey, StepRecord, StepState
from edge.policy.owner import standing

FIELD_MANAGER = "edge-platform"
LABEL = "app.kubernetes.io/managed-by"
LOSS = "accept-loss"
"""A step of its own: an operator said that the cluster will not be seen again."""

REVOKED_WHY = "decommissioned"
"""How the reason of a key begins that decommissioning revoked."""

NOT_KEPT = frozenset({"authentication.k8s.io", "authorization.k8s.io", "metrics.k8s.io"})
"""Groups whose kinds are questions or readings: nothing of them is stored."""
ONLY_MADE = frozenset({"Binding", "ComponentStatus"})
"""Kinds that cannot be listed, or that are no objects."""

OWED_WHEN_LOST = (LeaveStep.WIPE, LeaveStep.ACCESS)
"""What a lost cluster leaves owed. Everything else is done and proven."""

_NOT_OURS_TO_DELETE = {
    "Namespace": frozenset({"default", "kube-system", "kube-public", "kube-node-lease"}),
    "Node": None,
}
"""Kinds of which some or (None) all objects are the cluster's own, whatever label they carry."""


def leave_work(device: Device) -> str:
    """The work id of a device's decommissioning: one for each of its lives."""
    return f"{leave_prefix(device.device_id)}{device.generation}"


def leave_prefix(device_id: str) -> str:
    """How the work ids of all decommissionings of a device begin; its life follows."""
    return f"decommission:{device_id}:"


def leave_key(device: Device, step: str) -> StepKey:
    """Under which a step is remembered."""
    return StepKey(work=leave_work(device), subject=device.device_id, step=step)


def footprint(obj: KubeObject) -> Footprint | None:
    """The platform's mark on an object; None when it carries none."""
    meta = obj["metadata"]
    labelled = (meta.get("labels") or {}).get(LABEL) == FIELD_MANAGER
    fields = _our_fields(meta)
    if not labelled and not fields:
        return None
    found = Footprint(ref=ObjectRef.of(obj), uid=meta.get("uid", ""), mark=Mark.OURS)
    if any(owner.get("controller") for owner in meta.get("ownerReferences") or ()):
        return found.model_copy(update={"mark": Mark.DEPENDENT})
    if _is_the_clusters(found.ref) or not (labelled or fields - {"f:metadata"}):
        return found.model_copy(update={"mark": Mark.TOUCHED}) if fields else None
    return found


def removal_order(found: Iterable[Footprint]) -> tuple[tuple[Footprint, ...], ...]:
    """What is to be deleted, in groups; each group must be gone before the next begins.

    Admission first, so that it cannot refuse the rest; custom resources while what runs them is still there; then
    what lives in namespaces, namespaces, cluster-wide objects, and the definitions of kinds.
    """
    groups: dict[int, list[Footprint]] = {}
    for one in found:
        if one.mark is Mark.OURS:
            groups.setdefault(_rank(one.ref), []).append(one)
    return tuple(tuple(groups[rank]) for rank in sorted(groups))


def released(ref: ObjectRef) -> dict[str, Any]:
    """What to apply to give up every field of an object that the platform set."""
    meta = {"name": ref.name, **({"namespace": ref.namespace} if ref.namespace else {})}
    return {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": meta}


def access_faults(objects: Iterable[KubeObject], namespace: str) -> list[str]:
    """Accounts of the tenant's namespace, and bindings anywhere that give them rights; one sentence each."""
    faults = []
    for obj in objects:
        if obj["kind"] == "ServiceAccount" and obj["metadata"].get("namespace") == namespace:
            faults.append(f"{ObjectRef.of(obj)} exists")
        elif any(subject.get("namespace") == namespace for subject in obj.get("subjects") or ()):
            faults.append(f"{ObjectRef.of(obj)} gives rights to an account of {namespace}")
    return faults


def proven_detail(looked_at: Iterable[str], found: Iterable[str], **more: str) -> Detail:
    """What a step leaves when reading afterwards has shown that it holds."""
    return {"looked_at": list(looked_at), "found": list(found), **more}


def proof_of(device: Device, records: Iterable[StepRecord]) -> LeaveProof:
    """The proof, from the step log of the device's decommissioning."""
    by_step = {record.key.step: record for record in records}
    first = by_step.get(LeaveStep.REVOKE)
    lived = first.detail if first is not None else {}
    lost = LOSS in by_step and by_step[LOSS].state is StepState.DONE
    return LeaveProof(
        device_id=device.device_id,
        generation=device.generation,
        site=_text(lived, "site") or device.site,
        tenant=_text(lived, "tenant") or device.tenant,
        reason=_text(lived, "reason"),
        lost=lost,
        steps=tuple(_step_proof(step, by_step.get(step)) for step in LeaveStep),
    )


def leaving_life(device: Device) -> Device:
    """The device in the life in which it leaves, or left: that life ended with its decommissioning."""
    if device.state is not DeviceState.DECOMMISSIONED:
        return device
    return device.model_copy(update={"generation": max(1, device.generation - 1)})


def may_return(device: Device, ownerships: Iterable[Ownership], *, lost: bool, now: datetime) -> Ownership | None:
    """The new ownership on which a decommissioned device comes back by itself; None: it stays out.

    One that was lost does not: its key was in unknown hands, and only an operator lets it in again.
    """
    if device.state is not DeviceState.DECOMMISSIONED or lost:
        return None
    new = [
        one
        for one in standing(tuple(ownerships))
        if one.used_by is None and (one.expires_at is None or one.expires_at > now)
    ]
    return new[-1] if new else None


def proof_markdown(proof: LeaveProof) -> str:
    """The proof as a page for people."""
    ended = "nothing is left, and that is proven" if not proof.owed else "not everything is proven"
    if proof.owed and proof.lost:
        ended = "let go as lost: what is owed stays on record"
    lines = [f"# {proof.device_id} has left: {ended}", "", f"Life {proof.generation}, site {proof.site or '(none)'}, "]
    lines[-1] += f"tenant {proof.tenant or '(none)'}. {proof.reason}".rstrip()
    lines += ["", "| step | proven | when | looked at | found |", "|---|---|---|---|---|"]
    for step in proof.steps:
        found = "; ".join(step.found) or ("OWED: " + step.owed if step.owed else "")
        cells = (step.step.value, "yes" if step.proven else "no", _when(step), "; ".join(step.looked_at), found)
        lines.append("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _our_fields(meta: Mapping[str, Any]) -> set[str]:
    """The top-level words of the fields that the platform applied."""
    words: set[str] = set()
    for entry in meta.get("managedFields") or ():
        if entry.get("manager") == FIELD_MANAGER and not entry.get("subresource"):
            words.update(entry.get("fieldsV1") or {})
    return words


def _is_the_clusters(ref: ObjectRef) -> bool:
    if ref.kind not in _NOT_OURS_TO_DELETE or ref.api_version != "v1":
        return False
    names = _NOT_OURS_TO_DELETE[ref.kind]
    return names is None or ref.name in names


def _rank(ref: ObjectRef) -> int:
    group = ref.api_version.rpartition("/")[0]
    if group == "admissionregistration.k8s.io":
        return 0
    if ref.kind == "CustomResourceDefinition":
        return 5
    if "." in group and not group.endswith(".k8s.io"):
        return 1
    if ref.namespace:
        return 2
    return 3 if ref.kind == "Namespace" else 4


def _step_proof(step: LeaveStep, record: StepRecord | None) -> StepProof:
    if record is None:
        return StepProof(step=step, owed="It has not begun")
    if record.state is not StepState.DONE:
        why = record.cause.message if record.cause else "It was begun, and did not end"
        return StepProof(step=step, at=record.started_at, owed=why)
    return StepProof(
        step=step, at=record.ended_at, looked_at=_texts(record, "looked_at"), found=_texts(record, "found")
    )


def _texts(record: StepRecord, field: str) -> tuple[str, ...]:
    value = record.detail.get(field, [])
    return tuple(value) if isinstance(value, list) else (str(value),)


def _text(detail: Detail, field: str) -> str:
    return str(detail.get(field, ""))


def _when(step: StepProof) -> str:
    return f"{step.at:%Y-%m-%d %H:%M:%S} UTC" if step.at else ""
