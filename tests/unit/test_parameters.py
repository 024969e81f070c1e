"""Parameters: what may be declared, which value wins on a site, and that a secret is never written down or repeated."""

from __future__ import annotations

from typing import Any

import pytest

from edge.errors import InvalidInput
from edge.model.site import Site
from edge.model.stamp import Parameter, ParameterType, ParameterValues, Stamp
from edge.policy.parameters import (
    BUILT_IN,
    check_declaration,
    check_values,
    sample_parameters,
    site_parameters,
    values_for,
)

SITE = Site(name="mill-1", region="north", tenant="acme")
FILE = {"file": "stamp.yaml"}


def stamp(values: ParameterValues | None = None, **parameters: Parameter) -> Stamp:
    return Stamp(
        name="press",
        version="1.0.0",
        namespaces=("press",),
        parameters=parameters,
        values=values or ParameterValues(),
        components=(),
        digest="0" * 64,
    )


def parameter(kind: str = "string", **said: Any) -> Parameter:
    own = {word: said.pop(word) for word in ("default", "pattern", "enum", "secret") if word in said}
    return Parameter(type=ParameterType(kind), constraints=said, **own)


@pytest.mark.parametrize(
    ("declared", "fits", "does_not"),
    [
        (parameter("integer", minimum=1, maximum=20), "20", "21"),
        (parameter("integer", exclusiveMinimum=0), "1", "0"),
        (parameter("integer", exclusiveMaximum=10), "9", "10"),
        (parameter("integer", multipleOf=5), "15", "16"),
        (parameter("integer", const=7), "7", "8"),
        (parameter("number", minimum=0.5), "0.5", "0.49"),
        (parameter("number", multipleOf=0.25), "1.75", "1.8"),
        (parameter("boolean", const=True), "true", "false"),
        (parameter(minLength=3), "abc", "ab"),
        (parameter(maxLength=3), "äöü", "äöüß"),
        (parameter(const="a"), "a", "b"),
        (parameter(format="hostname"), "mqtt.mill.example", "mqtt..example"),
        (parameter(format="ipv4"), "192.0.2.1", "192.0.2"),
        (parameter(format="ipv6"), "2001:db8::1", "2001::db8::1"),
        (parameter(format="uri"), "https://example.com/a", "example"),
        (parameter(format="email"), "ops@example.com", "ops"),
        (parameter(format="date"), "2026-02-28", "2026-02-30"),
        (parameter(format="date-time"), "2026-02-28T12:00:00Z", "2026-02-28"),
        (parameter(format="time"), "12:00:00Z", "noon"),
        (parameter(format="duration"), "PT5M", "5m"),
        (parameter(format="uuid"), "8c6f0a1e-6f0f-4a7e-9a55-0d0c4e7d9a11", "8c6f"),
    ],
    ids=lambda case: str(case.constraints) if isinstance(case, Parameter) else case,
)
def test_a_value_must_meet_the_json_schema(declared: Parameter, fits: str, does_not: str) -> None:
    wanted = stamp(size=declared)
    assert values_for(wanted, {"size": fits}) == {"size": fits}
    with pytest.raises(InvalidInput) as refused:
        values_for(wanted, {"size": does_not})
    assert refused.value.where == {"stamp": "press", "parameter": "size", "value": does_not}


@pytest.mark.parametrize(
    ("declared", "field"),
    [
        (parameter("string", minimum=1), "minimum"),
        (parameter("integer", minLength=1), "minLength"),
        (parameter("boolean", format="date"), "format"),
        (parameter("integer", minimum=3, maximum=2), "minimum"),
        (parameter(minLength=3, maxLength=2), "minLength"),
        (parameter("integer", minimum=3, default="2"), "default"),
        (parameter("integer", maximum=3, enum=("2", "4")), "enum"),
    ],
    ids=lambda case: case if isinstance(case, str) else str(case.constraints),
)
def test_a_declaration_that_contradicts_itself_is_refused(declared: Parameter, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_declaration("size", declared, **FILE)
    assert (refused.value.where["file"], refused.value.where["field"]) == (
        "stamp.yaml",
        f"spec.parameters.size.{field}",
    )


LEVELS: list[tuple[dict[str, Any], str]] = [
    ({}, "default"),
    ({"regions": "region"}, "region"),
    ({"regions": "region", "tenants": "tenant"}, "tenant"),
    ({"regions": "region", "tenants": "tenant", "sites": "site"}, "site"),
    ({"regions": "region", "tenants": "tenant", "sites": "site", "given": "given"}, "given"),
    ({"regions": "region", "given": "given"}, "given"),
    ({"regions": "region", "sites": "site"}, "site"),
]


@pytest.mark.parametrize(("said", "wins"), LEVELS, ids=[" ".join(said) or "nothing" for said, _ in LEVELS])
def test_the_nearest_level_wins(said: dict[str, str], wins: str) -> None:
    names = {"regions": "north", "tenants": "acme", "sites": "mill-1"}
    levels = {level: {name: {"colour": said[level]}} for level, name in names.items() if level in said}
    others = {level: {"other": {"colour": "wrong"}, **levels.get(level, {})} for level in names}
    wanted = stamp(ParameterValues.model_validate(others), colour=Parameter(default="default"))
    given = {"colour": said["given"]} if "given" in said else {}
    assert values_for(wanted, site_parameters(SITE, given, wanted))["colour"] == wins


def test_levels_are_merged_parameter_by_parameter() -> None:
    values = ParameterValues(regions={"north": {"a": "region", "b": "region"}}, sites={"mill-1": {"b": "site"}})
    merged = site_parameters(SITE, {"c": "given"}, stamp(values))
    assert {name: merged[name] for name in "abc"} == {"a": "region", "b": "site", "c": "given"}
    assert set(merged) == {"a", "b", "c", *BUILT_IN}


@pytest.mark.parametrize(
    ("values", "where"),
    [
        (
            ParameterValues(sites={"mill-1": {"size": "9"}}),
            {"site": "mill-1", "field": "spec.values.sites.mill-1.size"},
        ),
        (
            ParameterValues(tenants={"acme": {"size": "x"}}),
            {"tenant": "acme", "field": "spec.values.tenants.acme.size"},
        ),
        (ParameterValues(regions={"eu": {"colour": "9"}}), {"region": "eu", "field": "spec.values.regions.eu.colour"}),
        (ParameterValues(regions={"eu": {"site_name": "9"}}), {"region": "eu", "parameter": "site_name"}),
    ],
    ids=["out of range", "wrong type", "unknown", "built in"],
)
def test_a_value_that_does_not_fit_a_site_is_found_with_its_place(
    values: ParameterValues, where: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_values(values, {"size": parameter("integer", maximum=5)}, **FILE)
    assert refused.value.where.items() >= {**where, **FILE}.items()


PLAIN = "hunter2-Tr0ub4dor"


@pytest.mark.parametrize(
    "value", [PLAIN, "a/b/c", "/key", "name/", "../x/key", "Name/key", "a..b/key", "two words/key"]
)
def test_a_secret_in_plain_text_is_refused_and_not_repeated(value: str) -> None:
    wanted = stamp(door=parameter(secret=True))
    with pytest.raises(InvalidInput) as refused:
        values_for(wanted, {"door": value})
    assert value not in str(refused.value)
    assert refused.value.where["parameter"] == "door"
    with pytest.raises(InvalidInput) as refused:
        check_declaration("door", parameter(secret=True, default=value), **FILE)
    assert value not in str(refused.value)


def test_a_reference_stands_for_a_secret() -> None:
    assert values_for(stamp(door=parameter(secret=True)), {"door": "plc-7/pass.word"})["door"] == "plc-7/pass.word"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mqtt_password", PLAIN),
        ("mqttPassword", "q7!"),
        ("api_token", "7"),
        ("api_key", "abc"),
        ("accessKey", "AKIAIOSFODNN7EXAMPLE"),
        ("signing_key", "f3a9c1d2e4b5a6978877665544332211"),
        ("colour", "-----BEGIN PRIVATE KEY-----"),
        ("upstream", "https://joe:pass@example.com"),
    ],
)
def test_what_looks_like_a_secret_is_refused_where_none_is_declared(name: str, value: str) -> None:
    with pytest.raises(InvalidInput, match="secret in plain text") as refused:
        values_for(stamp(None, **{name: Parameter()}), {name: value})
    assert value not in str(refused.value).replace(name, "")
    assert "secret: true" in refused.value.remedy


@pytest.mark.parametrize(
    ("declared", "name", "value"),
    [
        (Parameter(), "tls_secret", "shop-tls"),
        (Parameter(), "partition_key", "UserIdentifierOfTheShop"),
        (Parameter(), "token_url", "https://login.example.com/token"),
        (Parameter(), "keyboard", "Qwertz12345678901234"),
        (parameter("integer"), "token", "7"),
        (parameter(enum=("ed25519", "rsa")), "host_key", "ed25519"),
        (Parameter(), "api_token", ""),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_what_only_sounds_like_a_secret_is_let_through(declared: Parameter, name: str, value: str) -> None:
    assert values_for(stamp(None, **{name: declared}), {name: value}) == {name: value}


@pytest.mark.parametrize(
    "declared",
    [parameter("integer", secret=True), parameter(secret=True, pattern="a"), parameter(secret=True, maxLength=3)],
    ids=["type", "pattern", "length"],
)
def test_nothing_can_be_asked_of_a_secrets_text(declared: Parameter) -> None:
    with pytest.raises(InvalidInput, match="references"):
        check_declaration("door", declared, **FILE)


@pytest.mark.parametrize(
    "declared",
    [
        parameter("integer", minimum=10),
        parameter("integer", multipleOf=4),
        parameter("integer", maximum=-3),
        parameter("number", minimum=0.5),
        parameter("boolean"),
        parameter(minLength=12),
        parameter(maxLength=2),
        parameter(const="only"),
        parameter(secret=True),
        *(parameter(format=name) for name in ("hostname", "ipv4", "uri", "date-time", "uuid", "duration")),
    ],
    ids=lambda case: f"{case.type} {case.constraints} {case.secret}",
)
def test_a_sample_fits_its_declaration(declared: Parameter) -> None:
    wanted = stamp(size=declared)
    samples = sample_parameters(wanted, {})
    assert values_for(wanted, samples)["size"] == samples["size"]


def test_what_no_simple_sample_fits_gets_none() -> None:
    wanted = stamp(size=parameter("integer", minimum=3, multipleOf=4), name=parameter(pattern="z+"))
    assert set(sample_parameters(wanted, {})) == set(BUILT_IN)
