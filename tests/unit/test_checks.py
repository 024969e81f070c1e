"""Judging checks: from what was seen alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.errors import InvalidInput
from edge.model.check import CelCheck, HttpCheck, PromqlCheck
from edge.model.kube import ObjectRef
from edge.policy.checks import compile_checks, failing, judge_cel, judge_http, judge_promql
from edge.policy.restarts import grown, pod_selector, restarts_of

HTTP = HttpCheck(name="front", namespace="shop", service="web", port="80", status=(200, 204), contains="ready")
QUEUE = PromqlCheck(name="queue", query="queue_depth", holds="value < 10.0")
REF = ObjectRef(api_version="v1", kind="ConfigMap", name="state", namespace="shop")
MODE = CelCheck(name="mode", ref=REF, expression="object.data.mode == 'open'")


def samples(*values: str, kind: str = "vector") -> bytes:
    found = [{"metric": {}, "value": [1.0, value]} for value in values]
    result: Any = [1.0, values[0]] if kind == "scalar" else found
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "refusal", "message"),
    [
        (200, b"it is ready", "", ""),
        (204, b"ready", "", ""),
        (500, b"ready", "", "the answer is 500, not 200 or 204"),
        (200, b"secret", "", "the answer of 6 bytes lacks the text it must contain"),
        (503, b"", "no endpoints", "the Service was not reached: no endpoints"),
    ],
    ids=["good", "another-good-status", "status", "text", "not-reached"],
)
def test_an_answer_is_good_or_says_why_not(status: int, body: bytes, refusal: str, message: str) -> None:
    result = judge_http(HTTP, status, body, refusal)
    assert result.good == (not message)
    assert result.good or result.message == message


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, samples("4"), "the value is 4"),
        (200, samples("9.5", kind="scalar"), "the value is 9.5"),
        (200, samples("12"), "the value is 12: `value < 10.0` is not true"),
        (200, samples(), "the query has no sample"),
        (200, samples("NaN"), "the query has no sample"),
        (400, b'{"status": "error", "error": "parse error"}', "Prometheus answered 400: parse error"),
        (502, b"<html>", "Prometheus answered 502, and not JSON"),
        (
            200,
            b'{"status": "success", "data": {"result": [{}], "resultType": "vector"}}',
            "Prometheus' answer has another",
        ),
        (200, b"[]", "Prometheus answered 200: no object"),
    ],
    ids=["holds", "scalar", "too-much", "no-sample", "not-a-number", "refused", "no-json", "no-shape", "no-object"],
)
def test_the_first_sample_is_judged(status: int, body: bytes, message: str) -> None:
    result = judge_promql(QUEUE, status, body)
    assert result.message.startswith(message)
    assert result.good == (message in ("the value is 4", "the value is 9.5"))


def test_no_sample_may_be_good() -> None:
    check = QUEUE.model_copy(update={"absent_is_good": True})
    assert judge_promql(check, 200, samples()).good
    assert not judge_promql(check, 200, samples("12")).good


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"data": {"mode": "open"}}, ""),
        ({"data": {"mode": "hunter2"}}, "is not true"),
        ({"kind": "ConfigMap"}, "cannot be evaluated (no such field: data)"),
        (None, "ConfigMap shop/state is not there"),
    ],
    ids=["true", "false", "no-field", "absent"],
)
def test_an_expression_is_judged_over_an_object_and_its_values_are_not_repeated(obj: Any, message: str) -> None:
    result = judge_cel(MODE, obj)
    assert result.good == (not message)
    assert message in result.message
    assert "hunter2" not in result.message


def test_an_expression_that_is_not_true_or_false_does_not_hold() -> None:
    check = CelCheck(name="one", ref=REF, expression="1")
    assert not judge_cel(check, {"data": {}}).good


@pytest.mark.parametrize(
    "checks",
    [
        [MODE.model_copy(update={"expression": "object.data &&"})],
        [QUEUE.model_copy(update={"holds": "value <"})],
        [HTTP, QUEUE.model_copy(update={"name": "front"})],
    ],
    ids=["cel", "holds", "names"],
)
def test_checks_that_cannot_run_are_refused_before_anything_is_asked(checks: list[Any]) -> None:
    with pytest.raises(InvalidInput):
        compile_checks(checks)


@pytest.mark.parametrize(
    "path",
    ["healthz", "/../../secrets/x", "/a/%2e%2E/b", "/a/./b", "/..\\x", "/a b", "/a#b", "/a\n", "/%2e%2e%2fsecrets"],
)
def test_a_path_cannot_leave_its_service(path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        compile_checks([HTTP.model_copy(update={"path": path})])
    assert refused.value.where["field"] == "checks.front.path"


@pytest.mark.parametrize("path", ["/", "/a..b/.well-known/x", "/q?to=../x", "/a%20b"])
def test_other_paths_are_taken(path: str) -> None:
    compile_checks([HTTP.model_copy(update={"path": path})])


def test_failing_checks_are_named_with_their_reasons() -> None:
    results = [judge_http(HTTP, 200, b"ready"), judge_http(HTTP, 500, b""), judge_cel(MODE, None)]
    assert failing(results) == "front: the answer is 500, not 200 or 204; mode: ConfigMap shop/state is not there"
    assert failing(results[:1]) == ""


def pod(uid: str, **counts: int) -> dict[str, Any]:
    states = [{"name": name, "restartCount": count} for name, count in counts.items()]
    return {"metadata": {"name": f"web-{uid}", "uid": uid}, "status": {"containerStatuses": states}}


def test_restarts_that_grow_are_found_also_in_pods_that_are_new() -> None:
    before = restarts_of([pod("a", main=2, side=0)])
    assert grown(before, [pod("a", main=2, side=0), pod("b", main=0)]) == ""
    assert grown(before, [pod("a", main=3, side=0)]) == "container main of Pod web-a was started again 1 times"
    assert "Pod web-b" in grown(before, [pod("b", main=1)])


def test_the_pods_of_a_workload_are_found_by_its_selector() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
        {"key": "x", "operator": "Exists"},
        {"key": "y", "operator": "NotIn", "values": ["z"]},
    ]
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": expressions}
    workload = {"kind": "Deployment", "spec": {"selector": selector}}
    assert pod_selector(workload) == "app=web,tier in (a,b),!old,x,y notin (z)"
    assert pod_selector({"kind": "Service", "spec": {"selector": {"app": "web"}}}) == ""
