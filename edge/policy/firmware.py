"""Updates of devices, decided: who gets a version, what is asked of a node, and what its report means.

A device says itself how an update ended; nothing is concluded from time alone. A device that says nothing is silent,
which is neither a success nor the fault of the version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from edge.errors import InvalidInput
from edge.model.device import Device, DeviceState
from edge.model.firmware import (
    Component,
    NodeReport,
    UpdatableDevice,
    UpdateAttempt,
    UpdateOrder,
    UpdateOutcome,
    UpdatePhase,
    UpdateRefusal,
    UpdateVerdict,
)
from edge.model.kube import Health, KubeObject, ObjectHealth, ObjectRef
from edge.model.rollout import Delivery, OnBrokenBudget, RolloutPlan, Strategy
from edge.model.site import OfflinePolicy, Site
from edge.policy.rollout import cut_waves, mandatory_sites, zones_of
from edge.policy.versions import is_newer

API_VERSION: Final = "edge-platform.io/v1"
KIND: Final = "NodeUpdate"

_UNDER_WAY = (UpdatePhase.PENDING, UpdatePhase.DOWNLOADING, UpdatePhase.INSTALLED, UpdatePhase.TESTING)
_BLAMED = (UpdateOutcome.FELL_BACK, UpdateOutcome.FAILED)


def updatable(device: Device, attempts: Sequence[UpdateAttempt], component: Component) -> UpdatableDevice:
    """What is on record of a device that bears on an update; `attempts` are its own, oldest first.

    Of what it told when it registered and what it confirmed, the newer is what it runs: it may have been reset since.
    """
    facts = device.registration.facts
    current, since = (facts.os if component is Component.OS else facts.firmware), device.registered_at
    failed: set[str] = set()
    for attempt in attempts:
        if attempt.component is not component:
            continue
        if attempt.outcome is UpdateOutcome.CONFIRMED:
            failed.discard(attempt.version)
            if not current or attempt.at >= since:
                current, since = attempt.version, attempt.at
        elif attempt.outcome in _BLAMED:
            failed.add(attempt.version)
    return UpdatableDevice(
        device_id=device.device_id,
        site=device.site,
        state=device.state,
        current=current,
        failed=frozenset(failed),
    )


def refusal_of(order: UpdateOrder, device: UpdatableDevice) -> UpdateRefusal | None:
    """Why the device does not get this version; None: it does."""
    if device.state is not DeviceState.CONNECTED or device.site is None:
        return UpdateRefusal.NOT_CONNECTED
    if order.version in device.failed:
        return UpdateRefusal.FAILED_BEFORE
    if device.running not in ("", order.version):
        return UpdateRefusal.UPDATE_RUNNING
    if device.current == order.version:
        return UpdateRefusal.ALREADY_THERE
    if is_newer(device.current, order.version) and not order.go_back:
        return UpdateRefusal.NOT_NEWER
    return None


def plan_update(order: UpdateOrder, cohort: Sequence[Site], strategy: Strategy, attempt: int) -> RolloutPlan:
    """The rollout of an update: waves, budget and verdicts are those of any rollout. `attempt` counts from 1."""
    digest = digest_of(order)
    names = sorted(site.name for site in cohort)
    said = hashlib.sha256(json.dumps([digest, names]).encode()).hexdigest()[:10]
    name = rollout_name(order.component)
    return RolloutPlan(
        rollout_id=f"{name}-{order.version}-{said}-{attempt}",
        stamp=name,
        version=order.version,
        digest=digest,
        strategy=strategy,
        waves=cut_waves(cohort, strategy),
        must_be_online=tuple(sorted(site.name for site in cohort if site.when_offline is OfflinePolicy.ERROR)),
        mandatory=mandatory_sites(cohort, strategy),
        time_zones=zones_of(cohort),
    )


def check_times(order: UpdateOrder, strategy: Strategy) -> None:
    """Raise InvalidInput when a device would be given up before its self-test can be over."""
    if order.self_test_s >= strategy.site_deadline_s:
        what = f"The self-test lasts {order.self_test_s} s, and a site may take {strategy.site_deadline_s:g} s for all"
        remedy = "Give each site longer: `site_deadline_s` of the strategy"
        raise InvalidInput(what, remedy=remedy, field="self_test_s", value=order.self_test_s)


def check_means(strategy: Strategy) -> None:
    """Raises InvalidInput for what a strategy may ask of a stamp's rollout and no update can do."""
    asked = {
        "on_broken_budget": strategy.on_broken_budget is OnBrokenBudget.ROLL_BACK,
        "precache": strategy.precache,
        "delivery": strategy.delivery is Delivery.GITOPS,
        "runs": strategy.runs > 1,
    }
    field = next((name for name, is_asked in asked.items() if is_asked), None)
    if field is not None:
        remedy = "Leave it away: a device that does not confirm an update falls back by itself"
        what = "An update of devices cannot do this"
        raise InvalidInput(what, remedy=remedy, field=f"strategy.{field}", value=getattr(strategy, field))


def rollout_name(component: Component) -> str:
    """What updates of a component are called among the rollouts."""
    return f"update-{component}"


def digest_of(order: UpdateOrder) -> str:
    """SHA-256 in hex of the order."""
    return hashlib.sha256(order.model_dump_json().encode()).hexdigest()


def node_update(order: UpdateOrder, node: str) -> KubeObject:
    """The object that asks a node's updater for the version."""
    spec: dict[str, Any] = {
        "node": node,
        "component": order.component.value,
        "version": order.version,
        "image": order.image,
        "selfTestSeconds": order.self_test_s,
        "rebootAllowed": order.reboot_allowed,
    }
    name = node_update_ref(order.component, node).name
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


def node_update_ref(component: Component, node: str) -> ObjectRef:
    """Where a node's object for a component is."""
    return ObjectRef(api_version=API_VERSION, kind=KIND, name=f"{node}-{component}")


def read_report(obj: KubeObject) -> NodeReport:
    """What the updater says in a NodeUpdate. A phase that is not known is that of an updater that is busy."""
    status = obj.get("status") or {}
    phase = status.get("phase")
    slots = (status.get("slots") or {}).values()
    return NodeReport(
        wanted=str((obj.get("spec") or {}).get("version") or ""),
        phase=UpdatePhase(phase) if phase in set(UpdatePhase) else UpdatePhase.PENDING,
        seen=status.get("observedGeneration") == obj["metadata"].get("generation"),
        active=next((str(slot.get("version") or "") for slot in slots if slot.get("active")), ""),
        reason=str(status.get("message") or status.get("reason") or ""),
    )


def with_report(device: UpdatableDevice, report: NodeReport) -> UpdatableDevice:
    """What is known of the device once its updater was heard: it knows better than any record what it runs."""
    under_way = bool(report.wanted) and (report.phase in _UNDER_WAY or not report.seen)
    return device.model_copy(
        update={"current": report.active or device.current, "running": report.wanted if under_way else ""}
    )


def verdict_of(order: UpdateOrder, report: NodeReport) -> UpdateVerdict | None:
    """How the update ended; None while the device has not said so about this order."""
    if not report.seen or report.wanted != order.version or report.phase in _UNDER_WAY:
        return None
    if report.phase is UpdatePhase.CONFIRMED and report.active == order.version:
        return UpdateVerdict(outcome=UpdateOutcome.CONFIRMED, reason=report.reason)
    if report.phase is UpdatePhase.FAILED:
        return UpdateVerdict(outcome=UpdateOutcome.FAILED, reason=report.reason or "It could not be installed")
    runs = f"It runs {report.active or 'an unknown version'}"
    return UpdateVerdict(outcome=UpdateOutcome.FELL_BACK, reason=report.reason or runs)


def settled(order: UpdateOrder, obj: KubeObject) -> ObjectHealth:
    """A judge for `SiteClient.wait_for`: an update that ended, in whatever way, needs no more waiting."""
    report = read_report(obj)
    done = verdict_of(order, report) is not None
    said = f"its updater says {report.phase}" if report.seen else "its updater has not seen the order"
    return ObjectHealth(ref=ObjectRef.of(obj), health=Health.CURRENT if done else Health.IN_PROGRESS, message=said)
