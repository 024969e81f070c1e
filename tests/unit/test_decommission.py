"""Which objects are the platform's, in which order they go, and what counts as proof that a device has left."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from edge.errors import InvalidInput
from edge.model.admission import Ownership, OwnershipKind
from edge.model.decommission import Footprint, LeaveStep, Mark
from edge.model.device import Device, DeviceFacts, DeviceState, Registration
from edge.model.kube import ObjectRef
from edge.model.outcome import Cause
from edge.model.step import StepRecord, StepState
from edge.policy.decommission import (
    LOSS,
    access_faults,
    footprint,
    leave_key,
    leave_work,
    leaving_life,
    may_return,
    proof_markdown,
    proof_of,
    released,
    removal_order,
)
from edge.policy.life import check_replacement, check_reset, replacement, warranty_warning

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
LABELS = {"app.kubernetes.io/managed-by": "edge-platform"}


def obj(kind: str = "ConfigMap", name: str = "x", api: str = "v1", namespace: str = "", **meta: Any) -> Any:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "uid": "u", **place, **meta}}


def applied(*words: str, manager: str = "edge-platform", subresource: str = "") -> Any:
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": {word: {} for word in words}}
    return {"managedFields": [{**entry, **({"subresource": subresource} if subresource else {})}]}


OWNER: dict[str, Any] = {"ownerReferences": [{"kind": "Deployment", "name": "d", "controller": True}]}


@pytest.mark.parametrize(
    ("found", "mark"),
    [
        pytest.param(obj(labels=LABELS), Mark.OURS, id="our-label"),
        pytest.param(obj(**applied("f:data")), Mark.OURS, id="our-fields-without-our-label"),
        pytest.param(obj(labels=LABELS, **OWNER), Mark.DEPENDENT, id="made-by-a-controller"),
        pytest.param(obj(**applied("f:metadata")), Mark.TOUCHED, id="only-marked-by-us"),
        pytest.param(
            obj("Namespace", "kube-system", labels=LABELS, **applied("f:metadata")), Mark.TOUCHED, id="system"
        ),
        pytest.param(obj("Namespace", "tenant-a", labels=LABELS, **applied("f:metadata")), Mark.OURS, id="namespace"),
        pytest.param(obj("Node", labels=LABELS, **applied("f:spec")), Mark.TOUCHED, id="node"),
        pytest.param(obj("Node", labels=LABELS), None, id="a-node-that-only-carries-the-label"),
        pytest.param(obj(**applied("f:data", manager="helm")), None, id="of-another-manager"),
        pytest.param(obj(**applied("f:status", subresource="status")), None, id="only-a-subresource"),
        pytest.param(obj(labels={"app.kubernetes.io/managed-by": "Helm"}), None, id="of-helm"),
        pytest.param(obj(), None, id="unmarked"),
    ],
)
def test_an_object_is_known_by_what_stands_in_it(found: dict[str, Any], mark: Mark | None) -> None:
    seen = footprint(found)
    assert (seen.mark if seen else None) == mark


def test_what_could_refuse_the_rest_goes_first_and_definitions_last() -> None:
    order = [
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", ""),
        ("cert-manager.io/v1", "Certificate", "a"),
        ("apps/v1", "Deployment", "a"),
        ("v1", "Namespace", ""),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", ""),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", ""),
    ]
    marks = [
        Footprint(ref=ObjectRef(api_version=api, kind=kind, name="x", namespace=space), mark=Mark.OURS)
        for api, kind, space in reversed(order)
    ]
    others = [marks[0].model_copy(update={"mark": mark}) for mark in (Mark.DEPENDENT, Mark.TOUCHED)]
    groups = removal_order([*marks, *others])
    assert [[one.ref.kind for one in group] for group in groups] == [[kind] for _, kind, _ in order]


def test_fields_are_given_up_by_applying_nothing_but_the_name() -> None:
    ref = ObjectRef(api_version="v1", kind="ConfigMap", name="x", namespace="a")
    assert released(ref) == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "a"}}


def test_accounts_and_bindings_of_the_tenant_are_access() -> None:
    subject = {"kind": "ServiceAccount", "name": "tenant", "namespace": "tenant-a"}
    objects = [
        obj("ServiceAccount", "tenant", namespace="tenant-a"),
        obj("ClusterRoleBinding", "broad") | {"subjects": [subject]},
        obj("RoleBinding", "other", namespace="b") | {"subjects": [subject | {"namespace": "tenant-b"}]},
        obj("ServiceAccount", "tenant", namespace="tenant-b"),
    ]
    faults = access_faults(objects, "tenant-a")
    assert [fault.split(" ")[0] for fault in faults] == ["ServiceAccount", "ClusterRoleBinding"]


def device(state: DeviceState = DeviceState.DECOMMISSIONING, generation: int = 1, site: str | None = None) -> Device:
    registration = Registration(device_id="dev-1", certificate="", facts=DeviceFacts(serial="SN-1"))
    return Device(
        device_id="dev-1", state=state, registration=registration, registered_at=NOW, generation=generation, site=site
    )


def record(step: str, state: StepState = StepState.DONE, cause: Cause | None = None, **detail: Any) -> StepRecord:
    key = leave_key(device(), step)
    return StepRecord(key=key, state=state, tries=1, started_at=NOW, ended_at=NOW, detail=detail, cause=cause)


ALL = [record(step, looked_at=["a"], found=["b"]) for step in LeaveStep]


@pytest.mark.parametrize(
    ("records", "owed"),
    [
        pytest.param(ALL, set(), id="all-done"),
        pytest.param([], set(LeaveStep), id="nothing-begun"),
        pytest.param(ALL[:2], set(LeaveStep) - {LeaveStep.REVOKE, LeaveStep.WIPE}, id="killed-after-two"),
        pytest.param([*ALL[:5], record("free", StepState.INTENDED)], {LeaveStep.FREE}, id="killed-inside-the-last"),
        pytest.param([*ALL[:5], record("free", StepState.FAILED)], {LeaveStep.FREE}, id="the-last-failed"),
    ],
)
def test_a_step_is_proven_when_it_ended_and_only_then(records: list[StepRecord], owed: set[LeaveStep]) -> None:
    assert {step.step for step in proof_of(device(), records).owed} == owed


def test_what_is_owed_says_why_and_a_lost_cluster_is_never_called_wiped() -> None:
    away = Cause(code="site-unreachable", message="The site | is away")
    records = [record("revoke", site="site-1", tenant="a", reason="stolen"), record("wipe", StepState.FAILED, away)]
    proof = proof_of(device(), [*records, record(LOSS)])
    page = proof_markdown(proof)
    assert (proof.site, proof.tenant, proof.reason, proof.lost) == ("site-1", "a", "stolen", True)
    assert proof.owed[0].owed == "The site | is away"
    assert "| wipe | no |" in page
    assert "OWED: The site / is away" in page
    assert "nothing is left" not in page


def owned(**changes: Any) -> Ownership:
    given = {"ownership_id": "o", "serial": "SN-1", "tenant": "b", "kind": OwnershipKind.VOUCHER, "created_at": NOW}
    return Ownership.model_validate({**given, **changes})


@pytest.mark.parametrize(
    ("state", "ownership", "lost", "returns"),
    [
        pytest.param(DeviceState.DECOMMISSIONED, owned(), False, True, id="a-new-owner"),
        pytest.param(DeviceState.DECOMMISSIONED, None, False, False, id="nobodys"),
        pytest.param(DeviceState.DECOMMISSIONED, owned(ended_at=NOW), False, False, id="ended"),
        pytest.param(DeviceState.DECOMMISSIONED, owned(used_by="dev-1"), False, False, id="used"),
        pytest.param(DeviceState.DECOMMISSIONED, owned(expires_at=NOW), False, False, id="expired"),
        pytest.param(DeviceState.DECOMMISSIONED, owned(), True, False, id="lost"),
        pytest.param(DeviceState.DECOMMISSIONING, owned(), False, False, id="not-yet-gone"),
    ],
)
def test_a_device_comes_back_only_on_a_new_owners_word(
    state: DeviceState, ownership: Ownership | None, lost: bool, returns: bool
) -> None:
    found = may_return(device(state, 2), [ownership] if ownership else [], lost=lost, now=NOW)
    assert (found is not None) is returns


def test_a_device_that_left_is_asked_about_the_life_that_ended() -> None:
    left = device(DeviceState.DECOMMISSIONED, 2)
    assert leave_work(leaving_life(left)) == leave_work(leaving_life(device())) == "decommission:dev-1:1"


@pytest.mark.parametrize(
    ("days", "said"),
    [
        pytest.param(91, "", id="far-off"),
        pytest.param(90, "ends in 90 days", id="ninety-days"),
        pytest.param(0, "ends in 0 days", id="today"),
        pytest.param(-1, "ended 1 days ago", id="yesterday"),
    ],
)
def test_a_warranty_that_ends_within_90_days_is_told(days: int, said: str) -> None:
    today = date(2026, 5, 4)
    assert warranty_warning(today + timedelta(days=days), today) == said
    assert warranty_warning(None, today) == ""


@pytest.mark.parametrize(
    ("new_id", "new"),
    [
        pytest.param("dev-1", None, id="itself"),
        pytest.param("dev-2", device(DeviceState.CONNECTED, site="site-9"), id="has-a-site-already"),
        pytest.param("dev-2", device(DeviceState.DECOMMISSIONED, 2), id="has-left"),
    ],
)
def test_a_device_that_cannot_take_the_place_is_refused(new_id: str, new: Device | None) -> None:
    with pytest.raises(InvalidInput):
        check_replacement(device(DeviceState.CONNECTED, site="site-1"), new_id, new)


def test_a_new_device_may_come_before_or_after_and_repeat_itself() -> None:
    old = device(DeviceState.CONNECTED, site="site-1")
    for new in (None, device(DeviceState.REGISTERED), device(DeviceState.FAILED, site="site-1")):
        check_replacement(old, "dev-2", new)
    kept = replacement(old, "site-1", "dev-2", at=NOW)
    assert (kept.device_id, kept.site, kept.replaces) == ("dev-2", "site-1", "dev-1")


def test_a_device_on_its_way_out_is_not_reset() -> None:
    with pytest.raises(InvalidInput):
        check_reset(device())
    check_reset(device(DeviceState.CONNECTED))
