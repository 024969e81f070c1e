"""Rules in CEL: what the shipped baseline finds, who may be excepted, and what a wrong rule gets."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.clients.files import read_stamp_folder
from edge.clients.rule_files import baseline_rules, read_rule_texts
from edge.errors import InvalidInput
from edge.model.rule import Rule, Waiver
from edge.policy.parameters import sample_parameters
from edge.policy.rules import RuleBook, parse_rules, unwaived
from edge.policy.stamp import parse_stamp
from tests.unit.rendered import render

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHIPPED = Path(__file__).parents[2] / "stamps" / "factory-line"
DIGEST = "registry.example/app@sha256:" + "a" * 64
CONTAINER = {
    "name": "app",
    "image": "allowed.example/team/app:1.2.3",
    "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
    "securityContext": {"allowPrivilegeEscalation": False},
    "readinessProbe": {"tcpSocket": {"port": 80}},
}


@pytest.fixture(scope="module")
def book() -> RuleBook:
    return RuleBook(baseline_rules(), ["allowed.example/team/"])


def workload(kind: str = "Deployment", **pod: Any) -> dict[str, Any]:
    """A sound workload of this kind, with `pod` over its pods' spec."""
    spec: dict[str, Any] = {"containers": [copy.deepcopy(CONTAINER)], **pod}
    api = {"Pod": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}.get(kind, "apps/v1")
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": {"template": {"spec": spec}}}}
    elif kind != "Pod":
        spec = {"template": {"spec": spec}}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "app", "namespace": "x"}, "spec": spec}


def with_container(**said: Any) -> dict[str, Any]:
    """Pods whose one container differs; None takes a field away."""
    container = {**copy.deepcopy(CONTAINER), **said}
    return {"containers": [{word: value for word, value in container.items() if value is not None}]}


KINDS = ("Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob")


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_workload_breaks_no_rule(book: RuleBook, kind: str) -> None:
    assert book.violations([workload(kind)], (), NOW) == ()


@pytest.mark.parametrize("kind", KINDS)
def test_pods_are_found_in_every_kind(book: RuleBook, kind: str) -> None:
    found = book.violations([workload(kind, hostNetwork=True)], (), NOW)
    assert [(one.code, one.ref.kind) for one in found] == [("no-host-namespaces", kind)]


@pytest.mark.parametrize(
    ("pod", "codes"),
    [
        pytest.param(
            with_container(securityContext={"privileged": True, "allowPrivilegeEscalation": False}),
            ["no-privileged-pods"],
            id="privileged",
        ),
        pytest.param(with_container(securityContext={}), ["no-privilege-escalation"], id="escalation-not-denied"),
        pytest.param(with_container(securityContext=None), ["no-privilege-escalation"], id="no-security-context"),
        pytest.param({"hostPID": True}, ["no-host-namespaces"], id="host-pid"),
        pytest.param({"hostIPC": True}, ["no-host-namespaces"], id="host-ipc"),
        pytest.param({"hostPID": False}, [], id="host-pid-denied"),
        pytest.param({"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}, ["no-host-path"], id="host-path"),
        pytest.param({"volumes": [{"name": "a", "emptyDir": {}}]}, [], id="empty-dir"),
        pytest.param(with_container(resources=None), ["limits-set"], id="no-resources"),
        pytest.param(with_container(resources={"limits": {"cpu": "1"}}), ["limits-set"], id="no-memory-limit"),
        pytest.param(with_container(image=DIGEST), [], id="digest-from-anywhere"),
        pytest.param(with_container(image="other.example/app:1"), ["image-source"], id="foreign-registry"),
        pytest.param(
            with_container(image="allowed.example/teamster/app:1"), ["image-source"], id="registry-with-longer-name"
        ),
        pytest.param(
            with_container(image="allowed.example/team/app@sha256:abc"), ["no-latest-tag"], id="digest-cut-short"
        ),
        pytest.param(with_container(image="allowed.example/team/app"), ["no-latest-tag"], id="no-tag"),
        pytest.param(with_container(image="allowed.example/team/app:latest"), ["no-latest-tag"], id="latest"),
        pytest.param(
            with_container(image="localhost:5000/app"), ["image-source", "no-latest-tag"], id="port-is-no-tag"
        ),
        pytest.param(with_container(readinessProbe=None), ["probes-present"], id="no-probe"),
        pytest.param(
            {"initContainers": [{**CONTAINER, "image": "allowed.example/team/init"}]}, ["no-latest-tag"], id="init"
        ),
    ],
)
def test_a_breach_is_found_by_its_rule_and_no_other(book: RuleBook, pod: dict[str, Any], codes: list[str]) -> None:
    assert [one.code for one in book.violations([workload(**pod)], (), NOW)] == codes


@pytest.mark.parametrize("kind", ["Job", "CronJob", "Pod"])
def test_what_ends_by_itself_needs_no_probe(book: RuleBook, kind: str) -> None:
    assert book.violations([workload(kind, **with_container(readinessProbe=None))], (), NOW) == ()


@pytest.mark.parametrize("spec", [None, "text", {}, {"template": None}], ids=repr)
def test_a_workload_without_pods_breaks_rules_instead_of_the_check(book: RuleBook, spec: object) -> None:
    found = book.violations([{**workload(), "spec": spec}], (), NOW)
    assert {one.code for one in found} == {rule.code for rule in book.rules}
    assert all("cannot be evaluated" in one.message for one in found)


def test_a_namesake_of_another_group_is_not_taken_for_a_workload(book: RuleBook) -> None:
    assert book.violations([{**workload("Job"), "apiVersion": "example.com/v1", "spec": {}}], (), NOW) == ()


def test_the_shipped_stamp_keeps_to_the_baseline() -> None:
    stamp = parse_stamp(read_stamp_folder(SHIPPED))
    objects = render(stamp, sample_parameters(stamp, {}))
    assert RuleBook(baseline_rules(), ["ghcr.io/edge-platform"]).violations(objects, stamp.waivers, NOW) == ()


def waiver(code: str = "no-host-namespaces", days: int = 1, **more: str) -> Waiver:
    return Waiver(code=code, owner="line team", reason="vendor driver", expires=NOW + timedelta(days=days), **more)


def test_a_waiver_covers_its_rule_and_names_its_owner(book: RuleBook) -> None:
    found = book.violations([workload(hostNetwork=True, **with_container(resources=None))], [waiver()], NOW)
    assert {one.code: one.waived_by for one in found} == {"no-host-namespaces": "line team", "limits-set": ""}
    assert [one.code for one in unwaived(found)] == ["limits-set"]


def test_a_waiver_for_one_object_covers_no_other(book: RuleBook) -> None:
    other = workload(hostNetwork=True)
    other["metadata"]["name"] = "other"
    found = book.violations([workload(hostNetwork=True), other], [waiver(object="app")], NOW)
    assert {one.ref.name: bool(one.waived_by) for one in found} == {"app": True, "other": False}


@pytest.mark.parametrize(("seconds", "holds"), [(1, True), (0, False), (-1, False)], ids=["before", "at", "after"])
def test_a_waiver_ends_with_its_expiry_and_that_is_said(book: RuleBook, seconds: int, holds: bool) -> None:
    ends = waiver().model_copy(update={"expires": NOW + timedelta(seconds=seconds)})
    (found,) = book.violations([workload(hostNetwork=True)], [ends], NOW)
    assert bool(found.waived_by) is holds
    assert ("the waiver of line team expired on 2026-03-01" in found.message) is not holds


def test_a_waiver_of_an_unknown_rule_is_refused(book: RuleBook) -> None:
    with pytest.raises(InvalidInput, match="does not exist") as refused:
        book.violations([], [waiver(), waiver("no-such-rule")], NOW)
    assert (refused.value.where["field"], refused.value.where["value"]) == ("waivers.1.code", "no-such-rule")


def rule(**said: Any) -> Rule:
    return Rule.model_validate({"code": "own-rule", "expression": "true", "message": "m", "fix": "f", **said})


@pytest.mark.parametrize(
    ("make", "where"),
    [
        pytest.param(lambda: RuleBook([rule(expression="object.(")]), {"field": "expression"}, id="no-cel"),
        pytest.param(lambda: RuleBook([rule(), rule()]), {"field": "code", "value": "own-rule"}, id="code-twice"),
        pytest.param(lambda: parse_rules("[]", "x.yaml"), {"file": "x.yaml", "field": "rules"}, id="no-mapping"),
        pytest.param(lambda: parse_rules("rules: [1]", "x.yaml"), {"field": "rules.0"}, id="no-rule"),
        pytest.param(
            lambda: parse_rules("rules: [{code: UP, expression: a, message: m, fix: f}]", "x.yaml"),
            {"field": "rules.0.code", "value": "UP"},
            id="bad-code",
        ),
    ],
)
def test_a_wrong_rule_is_refused_with_its_place(make: Callable[[], object], where: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        make()
    assert where.items() <= refused.value.where.items()


def test_own_rules_look_at_any_kind(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "rules:\n- {code: no-node-port, kinds: [Service], expression: \"object.spec.type != 'NodePort'\","
        " message: A port on each node, fix: Use an Ingress}\n"
    )
    ((name, text),) = read_rule_texts(tmp_path).items()
    own = RuleBook(parse_rules(text, origin=name))
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"type": "NodePort"}}
    assert [one.code for one in own.violations([service, workload()], (), NOW)] == ["no-node-port"]
    with pytest.raises(InvalidInput, match="no folder"):
        read_rule_texts(tmp_path / "nowhere")
