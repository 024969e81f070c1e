"""Which site a device gets, why, and which rules are refused before any device comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.errors import InvalidInput
from edge.model.assignment import AssignmentRules
from edge.model.device import DeviceFacts, Registration
from edge.model.site import OfflinePolicy, SiteState
from edge.policy.assignment import assign, parse_rules

LAB = Path("deployments/environments/lab/assignment.yaml")


def rules(*made: dict[str, Any]) -> AssignmentRules:
    plain = {"name": "all", "when": "true", "site": "site-${device.id}"}
    return AssignmentRules.model_validate(
        {"rules": [{**plain, "name": f"rule {n}", **rule} for n, rule in enumerate(made)]}
    )


def device(device_id: str = "dev-0001", **facts: Any) -> Registration:
    return Registration(device_id=device_id, certificate="", facts=DeviceFacts(**{"serial": "SN-1", **facts}))


def text(**changes: str) -> str:
    rule = {"name": "one", "when": "'true'", "site": "site-a", **changes}
    lines = "\n".join(f"    {name}: {value}" for name, value in rule.items() if value)
    return f"apiVersion: edge-platform.io/v1\nkind: AssignmentRules\nrules:\n  -\n{lines}\n"


@pytest.mark.parametrize(
    ("location", "continent", "zone"),
    [
        pytest.param("emea-west", "emea", "Europe/Berlin", id="emea"),
        pytest.param("amer-east", "amer", "America/New_York", id="amer"),
        pytest.param("apac-south", "apac", "Asia/Singapore", id="apac"),
    ],
)
def test_the_labs_rules_give_a_lab_device_its_site(location: str, continent: str, zone: str) -> None:
    shipped = parse_rules((Path(__file__).parents[2] / LAB).read_text(), origin=str(LAB))
    site = assign(device("dev-0042", model="lab-gateway", location=location), shipped).site
    assert site is not None
    assert (site.name, site.tenant, site.region, site.time_zone) == ("site-0042", "factory", location, zone)
    assert (site.labels, site.state) == ({"continent": continent}, SiteState.KNOWN)


def test_the_first_rule_that_matches_decides() -> None:
    asked = rules({"when": "device.model == 'b'"}, {"site": "site-second"}, {"site": "site-third"})
    assignment = assign(device(model="a"), asked)
    assert assignment.site is not None
    assert (assignment.site.name, assignment.rule) == ("site-second", "rule 1")
    assert [(answer.rule, answer.matched) for answer in assignment.answers] == [("rule 0", False), ("rule 1", True)]
    assert assignment.why == "Rule 'rule 1' matches: true is true"


def test_no_rule_no_site_and_every_rule_says_why() -> None:
    assignment = assign(device(), rules({"when": "device.hardware.tpm == '2.0'"}, {"when": "device.model == 'x'"}))
    assert (assignment.site, assignment.rule) == (None, None)
    assert "rule 'rule 0' does not match: The device has no field 'tpm'" in assignment.why
    assert "rule 'rule 1' does not match: device.model == 'x' is false" in assignment.why


@pytest.mark.parametrize(
    "when",
    [
        pytest.param("device.id == 'dev-0001'", id="id"),
        pytest.param("device.serial.startsWith('SN-')", id="serial"),
        pytest.param("device.architecture in ['amd64', 'arm64']", id="architecture"),
        pytest.param("device.location.matches('^hall-[0-9]+$')", id="pattern"),
        pytest.param("has(device.hardware.tpm) && device.hardware.tpm == '2.0'", id="hardware"),
        pytest.param("!has(device.hardware.gpu)", id="what-is-not-there"),
    ],
)
def test_rules_see_what_a_device_says_of_itself(when: str) -> None:
    said = device(location="hall-7", hardware={"tpm": "2.0"})
    assert assign(said, rules({"when": when})).site is not None


def test_templates_fill_every_place() -> None:
    made = rules(
        {
            "site": "${device.location}-${device.id}",
            "stripPrefix": "dev-",
            "tenant": "t-${device.architecture}",
            "region": "${device.location}",
            "labels": {"model": "${device.model}"},
            "role": "hub",
            "whenOffline": "expected",
        }
    )
    site = assign(device(location="hall-7", model="m1"), made).site
    assert site is not None
    assert (site.name, site.tenant, site.region, site.role) == ("hall-7-0001", "t-amd64", "hall-7", "hub")
    assert (site.labels, site.when_offline) == ({"model": "m1"}, OfflinePolicy.EXPECTED)


@pytest.mark.parametrize(
    ("rule", "said", "field"),
    [
        pytest.param({"site": "${device.location}"}, {"location": "../etc"}, "name", id="path-as-site"),
        pytest.param({"site": "${device.location}"}, {}, "name", id="empty-site"),
        pytest.param({"tenant": "${device.model}"}, {"model": "Big Co"}, "tenant", id="tenant"),
        pytest.param({"region": "${device.location}"}, {"location": "[bold]x"}, "region", id="region"),
        pytest.param({"labels": {"m": "${device.model}"}}, {"model": "a b"}, "labels.m", id="label"),
    ],
)
def test_what_a_device_says_cannot_make_an_unusable_name(
    rule: dict[str, Any], said: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        assign(device(**said), rules(rule))
    assert (caught.value.where["field"], caught.value.where["device"]) == (field, "dev-0001")


def test_a_value_that_looks_like_a_template_is_not_filled_again() -> None:
    with pytest.raises(InvalidInput) as caught:
        assign(device(model="${device.id}"), rules({"site": "${device.model}"}))
    assert caught.value.where["value"] == "${device.id}"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"when": ""}, "rules.0.when", id="no-condition"),
        pytest.param({"when": '"device.model =="'}, "rules.0.when", id="half-an-expression"),
        pytest.param({"when": '"other.model == 1"'}, "rules.0.when", id="unknown-variable"),
        pytest.param({"when": '"device.id + 1 == 2"'}, "rules.0.when", id="types-do-not-fit"),
        pytest.param({"when": '"device.id"'}, "rules.0.when", id="no-truth-value"),
        pytest.param({"when": "true"}, "rules.0.when", id="yaml-boolean-instead-of-text"),
        pytest.param({"site": "site-${device.colour}"}, "rules.0.site", id="unknown-place"),
        pytest.param({"labels": "{a: '${x}'}"}, "rules.0.labels.a", id="unknown-place-in-a-label"),
        pytest.param({"stie": "x"}, "rules.0.stie", id="unknown-field"),
        pytest.param({"whenOffline": "sometimes"}, "rules.0.whenOffline", id="unknown-policy"),
        pytest.param({"timeZone": "../../etc/passwd"}, "rules.0.timeZone", id="time-zone-as-path"),
    ],
)
def test_a_bad_rule_is_refused_before_any_device_comes(changes: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_rules(text(**changes), origin="rules.yaml")
    assert (caught.value.where["file"], caught.value.where["field"]) == ("rules.yaml", field)


def test_a_good_file_is_read() -> None:
    assert parse_rules(text(), origin="rules.yaml").rules[0].name == "one"


def test_a_field_a_device_may_lack_is_no_mistake_in_a_rule() -> None:
    assert parse_rules(text(when="\"device.hardware.tpm == '2.0'\""), origin="rules.yaml").rules


def test_two_rules_of_one_name_are_refused() -> None:
    twice = text() + "  - {name: one, when: 'true', site: b}\n"
    with pytest.raises(InvalidInput) as caught:
        parse_rules(twice, origin="rules.yaml")
    assert caught.value.where["field"] == "rules.1.name"


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param("rules: []", id="no-rules"),
        pytest.param("", id="empty"),
        pytest.param("kind: AssignmentRules\nkind: AssignmentRules", id="key-twice"),
        pytest.param("kind: Stamp\nrules: [{name: a, when: 'true', site: b}]", id="other-kind"),
    ],
)
def test_a_file_that_holds_no_rules_is_refused(bad: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_rules(bad, origin="rules.yaml")
    assert caught.value.where["file"] == "rules.yaml"
