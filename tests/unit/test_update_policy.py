"""Who gets a version, and what a node's report means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from edge.clients.node_update import node_update_definition
from edge.errors import InvalidInput
from edge.model.device import Device, DeviceFacts, DeviceState, Registration
from edge.model.firmware import (
    Component,
    UpdatableDevice,
    UpdateAttempt,
    UpdateOrder,
    UpdateOutcome,
    UpdatePhase,
    UpdateRefusal,
)
from edge.model.kube import Health
from edge.model.rollout import Delivery, OnBrokenBudget, Strategy
from edge.model.site import OfflinePolicy, Site
from edge.policy.firmware import (
    check_means,
    check_times,
    node_update,
    plan_update,
    read_report,
    refusal_of,
    settled,
    updatable,
    verdict_of,
    with_report,
)

AT = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
IMAGE = f"registry.example/os@sha256:{'ab' * 32}"
ORDER = UpdateOrder(component=Component.OS, version="2.0.0", image=IMAGE)


def device(**changes: Any) -> UpdatableDevice:
    fields = {"device_id": "dev-1", "site": "s1", "state": DeviceState.CONNECTED, "current": "1.0.0"}
    return UpdatableDevice.model_validate({**fields, **changes})


def attempt(version: str, outcome: str, days: int = 0, component: str = "os") -> UpdateAttempt:
    fields = {"device_id": "dev-1", "component": component, "version": version, "outcome": outcome}
    return UpdateAttempt.model_validate({**fields, "at": AT + days * DAY})


def reported(phase: str | None, active: str = "a", wanted: str = "2.0.0", seen: int = 3, **status: Any) -> Any:
    slots = {name: {"version": ver, "active": name == active} for name, ver in (("a", "1.0.0"), ("b", "2.0.0"))}
    return {
        **node_update(ORDER.model_copy(update={"version": wanted}), "node-1"),
        "metadata": {"name": "node-1-os", "generation": 3},
        "status": {"phase": phase, "observedGeneration": seen, "slots": slots, **status},
    }


@pytest.mark.parametrize(
    ("known", "refusal"),
    [
        pytest.param(device(), None, id="older"),
        pytest.param(device(current=""), None, id="version-unknown"),
        pytest.param(device(current="Linux from a stick"), None, id="version-that-is-none"),
        pytest.param(device(running="2.0.0"), None, id="this-update-is-under-way"),
        pytest.param(device(failed={"1.9.0"}), None, id="another-version-failed"),
        pytest.param(device(state=DeviceState.QUARANTINED), UpdateRefusal.NOT_CONNECTED, id="quarantined"),
        pytest.param(device(site=None), UpdateRefusal.NOT_CONNECTED, id="no-site"),
        pytest.param(device(failed={"2.0.0"}), UpdateRefusal.FAILED_BEFORE, id="failed-before"),
        pytest.param(device(running="1.5.0"), UpdateRefusal.UPDATE_RUNNING, id="another-is-under-way"),
        pytest.param(device(current="2.0.0"), UpdateRefusal.ALREADY_THERE, id="already-there"),
        pytest.param(device(current="2.0.1"), UpdateRefusal.NOT_NEWER, id="newer"),
    ],
)
def test_who_gets_a_version(known: UpdatableDevice, refusal: UpdateRefusal | None) -> None:
    assert refusal_of(ORDER, known) is refusal


@pytest.mark.parametrize(
    ("known", "refusal"),
    [
        pytest.param(device(current="3.0.0"), None, id="newer"),
        pytest.param(device(current="3.0.0", failed={"2.0.0"}), UpdateRefusal.FAILED_BEFORE, id="failed-before"),
        pytest.param(device(current="2.0.0"), UpdateRefusal.ALREADY_THERE, id="already-there"),
    ],
)
def test_going_back_is_asked_for_and_not_to_what_failed(known: UpdatableDevice, refusal: UpdateRefusal | None) -> None:
    assert refusal_of(ORDER.model_copy(update={"go_back": True}), known) is refusal


@pytest.mark.parametrize(
    ("attempts", "current", "failed"),
    [
        pytest.param([], "1.0.0", set(), id="as-registered"),
        pytest.param([attempt("2.0.0", "confirmed", 1)], "2.0.0", set(), id="confirmed-since"),
        pytest.param([attempt("2.0.0", "confirmed", -1)], "1.0.0", set(), id="reset-since"),
        pytest.param([attempt("2.0.0", "fell-back", 1)], "1.0.0", {"2.0.0"}, id="fell-back"),
        pytest.param([attempt("2.0.0", "failed", -9)], "1.0.0", {"2.0.0"}, id="failed-long-ago"),
        pytest.param([attempt("2.0.0", "silent", 1)], "1.0.0", set(), id="silent"),
        pytest.param([attempt("2.0.0", "failed", 1), attempt("2.0.0", "confirmed", 2)], "2.0.0", set(), id="mended"),
        pytest.param([attempt("2.0.0", "fell-back", 1, "firmware")], "1.0.0", set(), id="another-component"),
    ],
)
def test_what_is_known_of_a_device(attempts: list[UpdateAttempt], current: str, failed: set[str]) -> None:
    facts = DeviceFacts(serial="SN-1", os="1.0.0", firmware="7")
    registration = Registration(device_id="dev-1", certificate="none", facts=facts)
    registered = Device(device_id="dev-1", state=DeviceState.CONNECTED, registration=registration, registered_at=AT)
    found = updatable(registered, attempts, Component.OS)
    assert (found.current, found.failed) == (current, failed)
    assert updatable(registered, [], Component.FIRMWARE).current == "7"


@pytest.mark.parametrize(
    ("obj", "outcome", "reason"),
    [
        pytest.param(reported("Confirmed", "b"), UpdateOutcome.CONFIRMED, "", id="confirmed"),
        pytest.param(reported("FellBack", message="no network"), UpdateOutcome.FELL_BACK, "no network", id="fell-back"),
        pytest.param(reported("Failed", reason="DigestMismatch"), UpdateOutcome.FAILED, "DigestMismatch", id="failed"),
        pytest.param(reported("Failed"), UpdateOutcome.FAILED, "It could not be installed", id="failed-without-a-word"),
        pytest.param(reported("Confirmed"), UpdateOutcome.FELL_BACK, "It runs 1.0.0", id="confirms-and-runs-the-old"),
    ],
)
def test_how_an_update_ended_is_what_the_device_says(obj: Any, outcome: UpdateOutcome, reason: str) -> None:
    verdict = verdict_of(ORDER, read_report(obj))
    assert verdict is not None
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert settled(ORDER, obj).health is Health.CURRENT


@pytest.mark.parametrize(
    "obj",
    [
        *(
            pytest.param(reported(phase), id=phase.lower())
            for phase in (UpdatePhase.PENDING, UpdatePhase.DOWNLOADING, UpdatePhase.INSTALLED, UpdatePhase.TESTING)
        ),
        pytest.param(reported("Confirmed", "b", seen=2), id="about-an-earlier-order"),
        pytest.param(reported("FellBack", wanted="1.9.0"), id="about-another-version"),
        pytest.param(reported("Rebooting"), id="a-word-that-nobody-knows"),
        pytest.param(reported(None), id="no-phase"),
        pytest.param({**node_update(ORDER, "node-1"), "metadata": {"name": "x", "generation": 1}}, id="no-status"),
    ],
)
def test_nothing_is_concluded_before_the_device_says_so(obj: Any) -> None:
    assert verdict_of(ORDER, read_report(obj)) is None
    assert settled(ORDER, obj).health is Health.IN_PROGRESS


@pytest.mark.parametrize(
    ("obj", "running"),
    [
        pytest.param(reported("Testing", "b"), "2.0.0", id="in-the-middle"),
        pytest.param(reported("Confirmed", "b", seen=2), "2.0.0", id="ordered-a-moment-ago"),
        pytest.param(reported("Confirmed", "b"), "", id="over"),
        pytest.param(reported("FellBack", "b"), "", id="fell-back"),
    ],
)
def test_the_updater_knows_better_than_the_record(obj: Any, running: str) -> None:
    found = with_report(device(), read_report(obj))
    assert (found.current, found.running) == ("2.0.0", running)


def test_an_update_is_planned_as_any_rollout_is() -> None:
    sites = [Site(name=f"s{number}") for number in range(8)]
    sites[0] = sites[0].model_copy(update={"when_offline": OfflinePolicy.EXPECTED})
    sites[7] = sites[7].model_copy(update={"when_offline": OfflinePolicy.ERROR})
    plan = plan_update(ORDER, sites, Strategy(), 1)
    assert [(wave.name, len(wave.sites)) for wave in plan.waves] == [("canary", 1), ("wave-1", 2), ("wave-2", 5)]
    assert plan.waves[0].sites == ("s1",)
    assert (plan.stamp, plan.version, plan.must_be_online) == ("update-os", "2.0.0", ("s7",))
    assert plan == plan_update(ORDER, sites[::-1], Strategy(), 1)
    assert plan.rollout_id != plan_update(ORDER, sites, Strategy(), 2).rollout_id


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"image": "registry.example/os:2.0.0"}, id="image-by-tag"),
        pytest.param({"image": f"os@sha256:{'AB' * 32}"}, id="digest-in-capitals"),
        pytest.param({"version": "newest"}, id="no-version"),
        pytest.param({"self_test_s": -1}, id="negative-time"),
    ],
)
def test_an_order_that_is_not_exact_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        UpdateOrder.model_validate({**ORDER.model_dump(), **wrong})


def test_what_is_asked_of_a_node_fits_the_shipped_definition() -> None:
    (version,) = node_update_definition()["spec"]["versions"]
    asked = node_update(ORDER, "node-1")["spec"]
    known = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert set(asked) == set(known["properties"])
    assert set(known["required"]) <= set(asked)
    assert known["properties"]["component"]["enum"] == [*reversed(Component)]
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert status["properties"]["phase"]["enum"] == [*UpdatePhase]


def test_a_self_test_that_outlasts_its_deadline_is_refused() -> None:
    check_times(ORDER, Strategy(site_deadline_s=121))
    with pytest.raises(InvalidInput) as refused:
        check_times(ORDER, Strategy(site_deadline_s=120))
    assert refused.value.where["field"] == "self_test_s"


@pytest.mark.parametrize(
    ("strategy", "field"),
    [
        pytest.param(Strategy(on_broken_budget=OnBrokenBudget.ROLL_BACK), "on_broken_budget", id="roll-back"),
        pytest.param(Strategy(precache=True), "precache", id="precache"),
        pytest.param(Strategy(delivery=Delivery.GITOPS), "delivery", id="gitops"),
        pytest.param(Strategy(runs=2), "runs", id="shared"),
    ],
)
def test_what_an_update_cannot_do_is_refused(strategy: Strategy, field: str) -> None:
    check_means(Strategy())
    with pytest.raises(InvalidInput) as refused:
        check_means(strategy)
    assert refused.value.where["field"] == f"strategy.{field}"
