"""Weather that is felt inside a site's API server, and the queries that its Prometheus knows."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from edge.lab.kube.promql import PromqlFault, Sample, evaluated
from edge.lab.kube.webhook_answer import WebhookMode
from edge.lab.scenario import read_scenario
from edge.lab.weather import FAULT, FailingWebhook, FaultKind, FullDisk, ServerTroubles, Slow, spells_of


def test_faults_inside_are_told_apart_from_those_on_the_wire() -> None:
    fair = ServerTroubles([Slow()])
    assert (fair.disk_full, fair.webhook("guard")) == (False, None)
    bad = ServerTroubles([Slow(), FullDisk(), FailingWebhook(service="gu*", mode=WebhookMode.REJECT)])
    assert bad.disk_full
    assert bad.webhook("guard") == FailingWebhook(service="gu*", mode=WebhookMode.REJECT)
    assert bad.webhook("other") is None


def test_a_webhooks_fault_is_set_in_flat_words_as_on_the_command_line() -> None:
    said = {"kind": "failing-webhook", "mode": "reject", "message": "no", "code": "422"}
    assert FAULT.validate_python(said) == FailingWebhook(mode=WebhookMode.REJECT, message="no", code=422)
    with pytest.raises(ValidationError):
        FAULT.validate_python({"kind": "failing-webhook", "mode": "sulk"})
    with pytest.raises(ValidationError):
        FAULT.validate_python({"kind": "failing-webhook", "code": 200})


def test_the_ailing_fleet_has_all_that_ails_a_site() -> None:
    scenario, _ = read_scenario("ailing")
    felt = {
        spell.fault.kind for number in range(200) for spell in spells_of(scenario, f"site-{number:04d}", "emea-west")
    }
    assert felt == {FaultKind.FULL_DISK, FaultKind.FAILING_WEBHOOK, FaultKind.WRONG_CLOCK, FaultKind.FULL_NODE}


UP = [
    Sample((("__name__", "up"), ("job", "a"), ("path", 'x"y')), 1.0),
    Sample((("__name__", "up"), ("job", "b")), 0.0),
    Sample((("__name__", "depth"),), 4.0),
]


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("up", [1.0, 0.0]),
        ('up{job="a"}', [1.0]),
        ('{job="b"}', [0.0]),
        (r'up{path="x\"y"}', [1.0]),
        ('up{job="a",}', [1.0]),
        ("sum(up)", [1.0]),
        ("avg( up )", [0.5]),
        ("count(up)", [2.0]),
        (r'sum(up{path="x\"y"})', [1.0]),
        ("max(depth)", [4.0]),
        ("sum(nothing)", []),
        ("3.5", [3.5]),
    ],
)
def test_a_query_finds_its_samples(query: str, values: list[float]) -> None:
    assert [one.value for one in evaluated(query, UP)[1]] == values


@pytest.mark.parametrize(
    ("query", "place"),
    [("up > 0", "1:3"), ("up[5m]", "1:3"), ('up{job!="a"}', "1:4"), ('up{job="a"', "1:3"), ("sum(up) by (job)", "1:4")],
)
def test_a_query_that_is_not_known_says_where(query: str, place: str) -> None:
    with pytest.raises(PromqlFault, match=f"^{place}: parse error"):
        evaluated(query, UP)
