"""Which site a device gets, why, and which rules are refused before any device comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.errors import InvalidInput
from edge.model.assignment import AssignmentRules
from edge.model.device import DeviceFacts, Registration
from edge.model.site import OfflinePolicy, Site, SiteState
from edge.policy.assignment import assign, keep_site, parse_rules

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
        pytest.param("device.position.latitude > 50.0", id="position"),
        pytest.param("!has(device.position.altitude)", id="position-without-altitude"),
        pytest.param("device.firmware == '1.2.0' && device.os.startsWith('22.')", id="versions"),
        pytest.param("'SN-1000' <= device.serial && device.serial < 'SN-2000'", id="serials-of-one-length"),
        pytest.param(
            "device.serialPrefix == 'SN-' && 900 <= device.serialNumber && device.serialNumber < 2000",
            id="serials-as-numbers",
        ),
    ],
)
def test_rules_see_what_a_device_says_of_itself(when: str) -> None:
    said = device(
        serial="SN-1500",
        location="hall-7",
        position={"latitude": 52.5, "longitude": 13.4},
        firmware="1.2.0",
        os="22.04",
        hardware={"tpm": "2.0"},
    )
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


@pytest.mark.parametrize(
    ("serial", "matched"),
    [
        pytest.param("SN-999", False, id="below"),
        pytest.param("SN-1000", True, id="first"),
        pytest.param("SN-1999", True, id="last"),
        pytest.param("SN-2000", False, id="above"),
        pytest.param("SN-00001500", True, id="leading-zeros"),
        pytest.param("XX-1500", False, id="another-prefix"),
        pytest.param("SN-", False, id="no-digits"),
        pytest.param("SN-" + "9" * 40, False, id="more-digits-than-a-number-holds"),
        pytest.param("SN-١٥٠٠", False, id="digits-of-another-script"),
    ],
)
def test_a_range_of_serial_numbers(serial: str, matched: bool) -> None:
    when = "device.serialPrefix == 'SN-' && device.serialNumber >= 1000 && device.serialNumber < 2000"
    assert assign(device(serial=serial), rules({"when": when})).answers[0].matched is matched


def test_the_owner_decides_when_one_is_known() -> None:
    late = rules({"when": "owner.tenant == 'acme'", "tenant": "${owner.tenant}"}, {"tenant": "${owner.tenant}"})
    owned = assign(device(), late, owner="acme").site
    assert owned is not None
    assert owned.tenant == "acme"
    unknown = assign(device(), late)
    assert unknown.site is None
    assert [answer.why for answer in unknown.answers] == [
        "No voucher and no allow-list names an owner",
        "Its templates need the owner, and no voucher and no allow-list names one",
    ]


def test_a_rule_may_ask_whether_there_is_an_owner() -> None:
    assert assign(device(), rules({"when": "!has(owner.tenant)"})).site is not None
    assert assign(device(), rules({"when": "!has(owner.tenant)"}), owner="acme").site is None


EAST_WEST = {
    "policy": "custom",
    "expression": "device.location",
    "targets": [
        {"name": "east", "region": "apac", "arcResourceGroup": "edge-east", "arcLocation": "southeastasia"},
        {"name": "west", "region": "amer"},
    ],
}


def test_the_allocations_choice_fills_templates_and_says_where_arc_goes() -> None:
    made = rules({"allocation": EAST_WEST, "region": "${target.region}", "labels": {"hub": "${target.name}"}})
    assignment = assign(device(location="east"), made)
    assert assignment.site is not None
    assert assignment.choice is not None
    assert (assignment.site.region, assignment.site.labels) == ("apac", {"hub": "east"})
    assert (assignment.site.arc_resource_group, assignment.site.arc_location) == ("edge-east", "southeastasia")
    assert assignment.choice.why == "The expression gives target east"


def test_an_allocation_that_names_an_unknown_target_is_refused_with_the_rule() -> None:
    with pytest.raises(InvalidInput, match="a target that the rule does not have") as caught:
        assign(device(location="north"), rules({"allocation": EAST_WEST}))
    where = caught.value.where
    assert (where["rule"], where["device"], where["value"]) == ("rule 0", "dev-0001", "north")


def test_a_rule_whose_allocation_chooses_nothing_does_not_match() -> None:
    geo = {"policy": "geo", "targets": [{"name": "a", "position": {"latitude": 1, "longitude": 2}}]}
    assignment = assign(device(), rules({"allocation": geo}, {"site": "site-second"}))
    assert assignment.rule == "rule 1"
    assert "does not tell its position" in assignment.answers[0].why


def test_a_rule_names_the_stamp() -> None:
    site = assign(device(), rules({"stamp": "factory-line"})).site
    assert site is not None
    assert site.stamp == "factory-line"


def test_a_device_that_has_a_site_stays_where_it_was_allocated() -> None:
    made = rules({"site": "site-a", "allocation": EAST_WEST, "region": "${target.region}", "role": "hub"})
    recorded = Site(name="site-a", region="emea", arc_resource_group="edge-old", arc_id="/x", state=SiteState.CONNECTED)
    kept = keep_site(recorded, assign(device(location="east"), made))
    assert (kept.region, kept.arc_resource_group, kept.arc_location) == ("emea", "edge-old", None)
    assert (kept.role, kept.arc_id, kept.state) == ("hub", "/x", SiteState.CONNECTED)


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param({"site": "site-b"}, id="another-site"),
        pytest.param({"site": "site-a", "tenant": "other"}, id="another-tenant"),
        pytest.param({"when": "false"}, id="no-rule"),
    ],
)
def test_a_device_that_has_a_site_keeps_it_whatever_the_rules_say_now(rule: dict[str, Any]) -> None:
    recorded = Site(name="site-a", tenant="acme", role="hub")
    assert keep_site(recorded, assign(device(), rules(rule))) == recorded


@pytest.mark.parametrize(
    ("allocation", "field"),
    [
        pytest.param("{policy: custom, expression: 'a +', targets: [{name: a}]}", "allocation.expression", id="half"),
        pytest.param("{policy: geo, targets: [{name: a}]}", "allocation", id="no-position"),
        pytest.param("{policy: fair, targets: [{name: a}]}", "allocation.policy", id="unknown-policy"),
        pytest.param("{policy: hashed, targets: [{name: A b}]}", "allocation.targets.0.name", id="bad-name"),
    ],
)
def test_a_bad_allocation_is_refused_before_any_device_comes(allocation: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_rules(text(allocation=allocation), origin="rules.yaml")
    assert caught.value.where["field"] == f"rules.0.{field}"


def test_a_template_may_name_a_target_only_with_an_allocation() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_rules(text(region="${target.region}"), origin="rules.yaml")
    assert (caught.value.where["field"], caught.value.remedy) == ("rules.0.region", "Give the rule an allocation")
    static = "{policy: static, targets: [{name: a, region: emea}]}"
    assert parse_rules(text(region="${target.region}", allocation=static), origin="rules.yaml").rules
