"""A stamp's files: what makes a stamp, and what is refused with file and field before anything is done."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from edge.errors import InvalidInput
from edge.model.check import CelCheck, HttpCheck, PromqlCheck
from edge.model.kube import ObjectRef
from edge.model.site import Site
from edge.model.stamp import ParameterType, Stamp, StampSource
from edge.policy.parameters import BUILT_IN, sample_parameters, site_parameters, values_for
from edge.policy.stamp import digest_of, parse_stamp

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app, namespace: press}\ndata: {lines: '${lines}'}\n"


def spec(**changes: Any) -> dict[str, Any]:
    said: dict[str, Any] = {
        "version": "1.2.3",
        "namespaces": ["press"],
        "parameters": {"lines": {"type": "integer", "default": 2}},
        "components": [{"name": "app", "path": "app"}],
    }
    return {key: value for key, value in {**said, **changes}.items() if value is not None}


def files(manifests: dict[str, str] | None = None, **changes: Any) -> dict[str, str]:
    header = {
        "apiVersion": "edge-platform.io/v1",
        "kind": "Stamp",
        "metadata": {"name": "press"},
        "spec": spec(**changes),
    }
    return {"stamp.yaml": yaml.safe_dump(header), **(manifests or {"app/config.yaml": CONFIG_MAP})}


def parse(manifests: dict[str, str] | None = None, **changes: Any) -> Stamp:
    return parse_stamp(StampSource(origin="press", files=files(manifests, **changes)))


def refused(manifests: dict[str, str] | None = None, **changes: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        parse(manifests, **changes)
    return caught.value


def test_a_stamp_is_read_from_its_files() -> None:
    stamp = parse(description="Presses", clusterKinds=["PriorityClass", "Widget.example.com"])
    assert (stamp.name, stamp.version, stamp.description) == ("press", "1.2.3", "Presses")
    assert stamp.cluster_kinds == ("PriorityClass", "Widget.example.com")
    assert stamp.parameters["lines"].type is ParameterType.INTEGER
    assert stamp.parameters["lines"].default == "2"
    assert stamp.manifests == {"app/config.yaml": CONFIG_MAP}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"colour": "red"}, "spec.colour"),
        ({"version": None}, "spec.version"),
        ({"version": 1.0}, "spec.version"),
        ({"version": "one"}, "spec.version"),
        ({"namespaces": "press"}, "spec.namespaces"),
        ({"namespaces": []}, "spec.namespaces"),
        ({"namespaces": ["../x"]}, "spec.namespaces.0"),
        ({"clusterKinds": ["*"]}, "spec.clusterKinds.0"),
        ({"components": []}, "spec.components"),
        ({"components": [{"name": "app"}]}, "spec.components.0.path"),
        ({"components": [{"name": "app", "path": "../other"}]}, "spec.components.app"),
        ({"components": [{"name": "app", "path": "/etc"}]}, "spec.components.app"),
        ({"components": [{"name": "app", "path": "."}]}, "spec.components.app"),
        ({"components": [{"name": "app", "path": "app//config.yaml"}]}, "spec.components.app"),
        ({"components": [{"name": "app", "path": "nothing"}]}, "spec.components.app"),
        ({"components": [{"name": "a", "path": "app"}, {"name": "a", "path": "app"}]}, "spec.components.a"),
        ({"components": [{"name": "a", "path": "app"}, {"name": "b", "path": "app/config.yaml"}]}, "spec.components.b"),
        ({"parameters": {"1x": {}}}, "spec.parameters.1x.[key]"),
        ({"parameters": {"site_name": {}}}, "spec.parameters.site_name"),
        ({"parameters": {"lines": {"type": "list"}}}, "spec.parameters.lines.type"),
        ({"parameters": {"lines": {"type": "integer", "default": "many"}}}, "spec.parameters.lines.default"),
        ({"parameters": {"lines": {"default": 1.5}}}, "spec.parameters.lines.default"),
        ({"parameters": {"lines": {"pattern": "("}}}, "spec.parameters.lines.pattern"),
        ({"parameters": {"lines": {"pattern": "a)|(b"}}}, "spec.parameters.lines.pattern"),
        ({"parameters": {"lines": {"pattern": "[0-9]", "default": "10"}}}, "spec.parameters.lines.default"),
        ({"parameters": {"lines": {"enum": ["1", "2"], "default": "3"}}}, "spec.parameters.lines.default"),
        ({"parameters": {"lines": {"type": "integer", "enum": ["one"]}}}, "spec.parameters.lines.enum"),
    ],
    ids=lambda case: case if isinstance(case, str) else str(case)[:60],
)
def test_a_wrong_header_is_refused_with_its_field(changes: dict[str, Any], field: str) -> None:
    error = refused(**changes)
    assert error.where["file"] == "press/stamp.yaml"
    assert error.where["field"] == field


HTTP = {"type": "http", "name": "ready", "namespace": "press", "service": "app", "port": 80}
POD = {"apiVersion": "v1", "kind": "Pod", "name": "app", "namespace": "press"}
CEL = {"type": "cel", "name": "runs", "object": POD, "expression": "object.status.phase == 'Running'"}
PROMQL = {"type": "promql", "name": "up", "query": "up", "absentIsGood": True}
WAIVER = {"code": "no-host-path", "owner": "ann", "reason": "old driver", "expires": "2027-01-31"}


def test_checks_requirements_and_waivers_are_read() -> None:
    requires = {"kinds": ["Certificate.cert-manager.io"], "controllers": ["cert-manager/cert-manager"]}
    stamp = parse(checks=[HTTP, CEL, PROMQL], requires=requires, policies={"waivers": [WAIVER]}, requiredStep=True)
    assert stamp.checks == (
        HttpCheck(name="ready", namespace="press", service="app", port="80"),
        CelCheck(
            name="runs",
            ref=ObjectRef(api_version="v1", kind="Pod", name="app", namespace="press"),
            expression="object.status.phase == 'Running'",
        ),
        PromqlCheck(name="up", query="up", absent_is_good=True),
    )
    assert stamp.requires.controllers == ("cert-manager/cert-manager",)
    assert stamp.waivers[0].expires == datetime(2027, 1, 31, tzinfo=UTC)
    assert stamp.required_step


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"checks": [{**HTTP, "port": None}]}, "spec.checks.0.port"),
        ({"checks": [{**HTTP, "path": "ready"}]}, "spec.checks.0.path"),
        ({"checks": [{**HTTP, "status": [99]}]}, "spec.checks.0.status.0"),
        ({"checks": [{**HTTP, "expression": "true"}]}, "spec.checks.0.expression"),
        ({"checks": [{**HTTP, "type": "tcp"}]}, "spec.checks.0"),
        ({"checks": [HTTP, {**HTTP}]}, "spec.checks"),
        ({"checks": [{**CEL, "expression": "object."}]}, "spec.checks.runs"),
        ({"checks": [{**CEL, "object": {**POD, "colour": "red"}}]}, "spec.checks.0.object.colour"),
        ({"checks": [{**PROMQL, "holds": "value >"}]}, "spec.checks.up"),
        ({"requires": {"kubernetes": 1.28}}, "spec.requires.kubernetes"),
        ({"requires": {"controllers": ["cert-manager"]}}, "spec.requires.controllers.0"),
        ({"requires": {"kinds": ["certificates"]}}, "spec.requires.kinds.0"),
        ({"policies": {"waivers": [{**WAIVER, "owner": ""}]}}, "spec.policies.waivers.0.owner"),
        ({"policies": {"waivers": [{**WAIVER, "expires": "2027-01-31T00:00:00"}]}}, "spec.policies.waivers.0.expires"),
        ({"requiredStep": "yes"}, "spec.requiredStep"),
        ({"parameters": {"lines": {"minimum": "1"}}}, "spec.parameters.lines.minimum"),
        ({"parameters": {"lines": {"type": "integer", "multipleOf": 0}}}, "spec.parameters.lines.multipleOf"),
        ({"parameters": {"lines": {"format": "colour"}}}, "spec.parameters.lines.format"),
        ({"parameters": {"lines": {"type": "integer", "const": "many"}}}, "spec.parameters.lines.const"),
        ({"values": {"sites": {"mill-1": {"lines": 1.5}}}}, "spec.values.sites.mill-1.lines"),
        ({"values": {"sites": {"../x": {}}}}, "spec.values.sites.../x.[key]"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_a_wrong_part_is_refused_with_its_field(changes: dict[str, Any], field: str) -> None:
    error = refused(**changes)
    assert (error.where["file"], error.where["field"]) == ("press/stamp.yaml", field)


@pytest.mark.parametrize(
    "parameters",
    [
        {"door": {"secret": True, "default": "hunter2"}},
        {"door": {"secret": True, "default": ["hunter2"]}},
        {"door": {"secret": True, "value": "hunter2"}},
        {"door_password": {"default": "hunter2"}},
    ],
    ids=["plain", "list", "wrong field", "not declared"],
)
def test_a_secret_in_the_header_is_refused_and_not_repeated(parameters: dict[str, Any]) -> None:
    error = refused(parameters=parameters)
    assert error.where["field"].startswith("spec.parameters.door")
    assert "hunter2" not in repr(error) + str(error)
    assert error.__cause__ is None


def test_a_fraction_may_be_written_bare_where_a_number_is_declared() -> None:
    declared = {"lines": {"type": "number", "default": 0.5, "enum": [0.5, 2]}}
    stamp = parse(parameters=declared, values={"regions": {"north": {"lines": 2}}})
    assert (stamp.parameters["lines"].default, stamp.parameters["lines"].enum) == ("0.5", ("0.5", "2"))
    assert stamp.values.regions == {"north": {"lines": "2"}}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("kind: Pod\nmetadata: {name: a}", "needs apiVersion"),
        ("apiVersion: v1\nmetadata: {name: a}", "needs kind"),
        ("apiVersion: v1\nkind: Pod", "needs a name"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {generateName: a}", "needs a name"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: 5}", "needs a name"),
        ("apiVersion: v1\nkind: Pod\nmetadata: []", "needs a name"),
        ("apiVersion: v1\nkind: ${lines}\nmetadata: {name: a}", "not kind"),
        ("apiVersion: ../v1\nkind: Pod\nmetadata: {name: a}", "not apiVersion"),
        ("apiVersion: v1\nkind: List\nitems: []\nmetadata: {name: a}", "Lists are not allowed"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: [x]}", "must be a mapping"),
        ("- a", "must be a mapping"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a, name: b}", "twice"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: '${absent}'}", "not a parameter"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {'${lines}': x}}", "in a key"),
        ("a: &a [b]", "Anchors"),
        ("# nothing", "no objects"),
    ],
    ids=lambda case: case[:40],
)
def test_a_wrong_manifest_is_refused_with_its_file(text: str, what: str) -> None:
    error = refused({"app/bad.yaml": text})
    assert what in error.what
    assert error.where["file"] in ("press/app/bad.yaml", "press/stamp.yaml")


@pytest.mark.parametrize("text", ["", "- a", "a: 1\n---\nb: 2", "x" * 2_000_000], ids=["empty", "list", "two", "large"])
def test_a_stamp_file_that_is_no_stamp_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_stamp(StampSource(origin="press", files={"stamp.yaml": text}))
    assert caught.value.where["file"] == "press/stamp.yaml"


def test_a_folder_without_a_stamp_file_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"no stamp\.yaml"):
        parse_stamp(StampSource(origin="press", files={"app/config.yaml": CONFIG_MAP}))


def test_only_files_that_end_like_manifests_are_manifests() -> None:
    stamp = parse({"app/config.yaml": CONFIG_MAP, "app/README.md": "# Read me", "other/x.yaml": "nonsense"})
    assert list(stamp.manifests) == ["app/config.yaml"]


def test_an_undeclared_variable_with_a_default_is_fine() -> None:
    text = CONFIG_MAP.replace("${lines}", "${colour:=red}")
    assert parse({"app/config.yaml": text}).manifests


def test_the_digest_is_the_same_whatever_the_order_of_the_files() -> None:
    assert digest_of({"a": "1", "b": "2"}) == digest_of({"b": "2", "a": "1"})


@pytest.mark.parametrize(
    "other",
    [{"a": "1", "b": "3"}, {"a": "1", "c": "2"}, {"a": "1"}, {"ab": "12"}, {"a": "1b", "": "2"}],
    ids=["content", "path", "fewer", "joined", "shifted"],
)
def test_the_digest_tells_files_apart(other: dict[str, str]) -> None:
    assert digest_of(other) != digest_of({"a": "1", "b": "2"})


def test_values_are_what_is_given_and_defaults_for_the_rest() -> None:
    stamp = parse(parameters={"lines": {"type": "integer", "default": 2}, "name": {}})
    assert values_for(stamp, {"name": "x", "site_name": "mill"}) == {"name": "x", "site_name": "mill", "lines": "2"}


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_the_site_itself_says_cannot_be_given(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        site_parameters(Site(name="mill"), {"colour": "red", name: "other"})
    assert refused.value.where == {"parameter": name, "value": "other"}


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ({"type": "integer"}, "two"),
        ({"type": "integer"}, "1_0"),
        ({"type": "integer"}, "007"),
        ({"type": "integer"}, "9" * 40),
        ({"type": "number"}, "1e3"),
        ({"type": "boolean"}, "yes"),
        ({"enum": ["a", "b"]}, "c"),
        ({"pattern": "[a-z]+"}, "abc1"),
        ({"pattern": "a|b"}, "ax"),
        ({}, "two\nlines"),
        ({}, "bell\a"),
        ({}, "x" * 4097),
        ({}, "half \ud800"),
    ],
    ids=lambda case: repr(case)[:30],
)
def test_a_value_that_does_not_fit_is_refused(declared: dict[str, Any], value: str) -> None:
    stamp = parse(parameters={"lines": declared})
    with pytest.raises(InvalidInput) as caught:
        values_for(stamp, {"lines": value})
    assert caught.value.where["parameter"] == "lines"


def test_a_value_that_no_parameter_takes_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no such parameter") as caught:
        values_for(parse(), {"line": "2"})
    assert caught.value.where["known"] == "lines"


def test_a_parameter_without_value_and_default_is_refused() -> None:
    with pytest.raises(InvalidInput, match="needs a value"):
        values_for(parse(parameters={"lines": {}}), {})


def test_a_pattern_that_would_take_for_ever_does_not() -> None:
    stamp = parse(parameters={"lines": {"pattern": "(a+)+b"}})
    with pytest.raises(InvalidInput, match="pattern"):
        values_for(stamp, {"lines": "a" * 4000})


def test_samples_fit_what_is_declared() -> None:
    declared = {
        "a": {},
        "b": {"type": "boolean"},
        "c": {"enum": ["x"]},
        "d": {"pattern": "z"},
        "lines": {"default": "1"},
    }
    samples = sample_parameters(parse(parameters=declared), {"d": "z"})
    assert samples | {"a": "sample", "b": "true", "c": "x", "d": "z"} == samples
    assert "lines" not in samples
