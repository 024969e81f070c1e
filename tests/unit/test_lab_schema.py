"""The lab's schemas: what they fill in, drop and refuse, in built-in kinds and in published custom ones."""

from __future__ import annotations

import gzip
import importlib.util
import os
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge.lab.kube.build_schemas import DATA, build, pack
from edge.lab.kube.schema import Schema, builtin_schema, crd_schema, openapi_v3
from edge.lab.kube.schema_hooks import canonical_quantity

CRDS = Path(os.environ.get("EDGE_CRDS") or Path(__file__).parents[3] / "shared" / "data" / "crds")


def schema_of(group: str, version: str, kind: str) -> Schema:
    found = builtin_schema(group, version, kind)
    assert found is not None
    return found


DEPLOYMENT = schema_of("apps", "v1", "Deployment")


def deployment(**container: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": "nginx:1.29", **container}]},
            },
        },
    }


def filled(schema: Schema, obj: dict[str, Any]) -> dict[str, Any]:
    schema.default(obj)
    return obj


def faults(schema: Schema, obj: dict[str, Any], old: dict[str, Any] | None = None) -> list[tuple[str, str, str]]:
    return [(fault.path, fault.reason, fault.message) for fault in schema.validate(obj, old)]


# The data file


@pytest.mark.skipif(importlib.util.find_spec("kubernetes_validate") is None, reason="the source package is not there")
def test_the_shipped_schemas_are_what_the_build_makes() -> None:
    shipped, made = (DATA / "schemas.json.gz").read_bytes(), pack(build())
    assert gzip.decompress(shipped) == gzip.decompress(made), "the headers differ between versions of Python"


def test_an_unknown_kind_has_no_schema() -> None:
    assert builtin_schema("apps", "v1", "Gadget") is None


def test_the_openapi_document_is_closed_and_names_its_kinds() -> None:
    schemas = openapi_v3("apps", "v1")
    references = {text.rpartition("/")[2] for text in _values_of(schemas, "$ref")}
    assert references <= schemas.keys()
    kinds = {gvk["kind"] for schema in schemas.values() for gvk in schema.get("x-kubernetes-group-version-kind", ())}
    assert {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"} <= kinds
    ports = schemas["io.k8s.api.core.v1.Container"]["properties"]["ports"]
    assert ports["x-kubernetes-list-map-keys"] == ["containerPort", "protocol"]
    assert ports["x-kubernetes-patch-merge-key"] == "containerPort"


def _values_of(schema: Any, word: str) -> list[str]:
    if isinstance(schema, dict):
        own = [schema[word]] if isinstance(schema.get(word), str) else []
        return own + [found for child in schema.values() for found in _values_of(child, word)]
    return [found for child in schema for found in _values_of(child, word)] if isinstance(schema, list) else []


# Defaults


def test_a_deployment_gets_the_defaults_of_a_real_server() -> None:
    spec = filled(DEPLOYMENT, deployment(ports=[{"containerPort": 80}]))["spec"]
    pod = spec["template"]["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert (pod["restartPolicy"], pod["dnsPolicy"], pod["schedulerName"]) == (
        "Always",
        "ClusterFirst",
        "default-scheduler",
    )
    assert pod["containers"][0] == {
        "name": "app",
        "image": "nginx:1.29",
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": 80, "protocol": "TCP"}],
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }


def test_a_recreate_strategy_gets_no_rolling_update() -> None:
    obj = deployment()
    obj["spec"]["strategy"] = {"type": "Recreate"}
    assert filled(DEPLOYMENT, obj)["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        pytest.param("nginx", "Always", id="no tag"),
        pytest.param("reg:5000/nginx", "Always", id="port is no tag"),
        pytest.param("nginx:latest", "Always", id="latest"),
        pytest.param("nginx:1.29", "IfNotPresent", id="tag"),
        pytest.param("nginx@sha256:00", "IfNotPresent", id="digest"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    obj = filled(DEPLOYMENT, deployment(image=image))
    assert obj["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_a_service_port_targets_itself_and_speaks_tcp() -> None:
    service = {"spec": {"ports": [{"port": 80}, {"port": 53, "protocol": "UDP", "targetPort": "dns"}]}}
    spec = filled(schema_of("", "v1", "Service"), service)["spec"]
    assert spec["type"] == "ClusterIP"
    assert spec["ports"] == [
        {"port": 80, "protocol": "TCP", "targetPort": 80},
        {"port": 53, "protocol": "UDP", "targetPort": "dns"},
    ]


def test_a_pod_requests_what_it_limits() -> None:
    pod = {
        "spec": {"containers": [{"name": "a", "image": "b", "resources": {"limits": {"cpu": 1, "memory": "1024Mi"}}}]}
    }
    resources = filled(schema_of("", "v1", "Pod"), pod)["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}


def test_filling_twice_is_filling_once() -> None:
    once = filled(DEPLOYMENT, deployment(readinessProbe={"httpGet": {"port": 80}}, resources={"limits": {"cpu": 0.5}}))
    assert filled(DEPLOYMENT, deepcopy(once)) == once


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [
        ("1000m", "1"),
        ("1500m", "1500m"),
        (0.5, "500m"),
        (2, "2"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1000", "1k"),
        ("0", "0"),
        ("100Ki", "100Ki"),
        ("nonsense", "nonsense"),
        (True, True),
    ],
    ids=str,
)
def test_quantities_are_written_as_a_server_writes_them(given_text: object, kept: object) -> None:
    assert canonical_quantity(given_text) == kept


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["spec", "containers", "template", "metadata", "labels", "strategy", "type", "ports"]),
            inner,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("group", "kind"),
    [
        pytest.param(group, kind, id=kind)
        for group, kind in [
            ("", "Pod"),
            ("", "Service"),
            ("apps", "ReplicaSet"),
            ("apps", "StatefulSet"),
            ("batch", "Job"),
            ("networking.k8s.io", "NetworkPolicy"),
            ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ]
    ],
)
@given(spec=JUNK)
def test_defaults_and_validation_survive_any_json(group: str, kind: str, spec: Any) -> None:
    schema = schema_of(group, "v1", kind)
    obj = {"metadata": {"name": "x"}, "spec": spec}
    schema.prune(obj)
    schema.default(obj)
    schema.validate(obj)


# Pruning


def test_unknown_fields_are_dropped_and_named() -> None:
    obj = deployment(colour="blue")
    obj["spec"]["shape"] = "round"
    assert DEPLOYMENT.prune(obj) == ["spec.template.spec.containers[0].colour", "spec.shape"]
    assert obj == deployment()


def test_a_null_in_a_built_in_kind_is_the_same_as_absent() -> None:
    obj = deployment(command=None)
    obj["metadata"]["creationTimestamp"] = None
    assert DEPLOYMENT.prune(obj) == []
    assert obj == deployment()


# Validation of built-in kinds


def test_a_good_deployment_has_no_faults() -> None:
    assert faults(DEPLOYMENT, filled(DEPLOYMENT, deployment(ports=[{"containerPort": 80}]))) == []


@pytest.mark.parametrize(
    ("container", "fault"),
    [
        pytest.param(
            {"image": None},
            ("spec.template.spec.containers[0].image", "FieldValueRequired", "Required value"),
            id="required",
        ),
        pytest.param(
            {"imagePullPolicy": "Often"},
            (
                "spec.template.spec.containers[0].imagePullPolicy",
                "FieldValueNotSupported",
                'Unsupported value: "Often": supported values: "Always", "IfNotPresent", "Never"',
            ),
            id="enum",
        ),
        pytest.param(
            {"ports": [{"containerPort": 0}]},
            (
                "spec.template.spec.containers[0].ports[0].containerPort",
                "FieldValueInvalid",
                "Invalid value: 0: must be greater than or equal to 1",
            ),
            id="range",
        ),
        pytest.param(
            {"ports": [{"containerPort": "http"}]},
            (
                "spec.template.spec.containers[0].ports[0].containerPort",
                "FieldValueTypeInvalid",
                "json: cannot unmarshal string into Go struct field "
                "spec.template.spec.containers[0].ports[0].containerPort of type int32",
            ),
            id="type",
        ),
        pytest.param(
            {"resources": {"limits": {"cpu": "lots"}}},
            (
                "spec.template.spec.containers[0].resources.limits.cpu",
                "FieldValueTypeInvalid",
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
            id="quantity",
        ),
        pytest.param(
            {"volumeMounts": [{"name": "a", "mountPath": "/x"}, {"name": "b", "mountPath": "/x"}]},
            (
                "spec.template.spec.containers[0].volumeMounts[1].mountPath",
                "FieldValueDuplicate",
                'Duplicate value: "/x"',
            ),
            id="duplicate",
        ),
    ],
)
def test_a_fault_names_place_reason_and_text(container: dict[str, Any], fault: tuple[str, str, str]) -> None:
    assert faults(DEPLOYMENT, deployment(**container)) == [fault]


def test_the_selector_must_fit_the_template() -> None:
    obj = deployment()
    obj["spec"]["selector"]["matchLabels"]["app"] = "other"
    [(path, _, text)] = faults(DEPLOYMENT, obj)
    assert path == "spec.template.metadata.labels"
    assert text == 'Invalid value: {"app":"web"}: `selector` does not match template `labels`'


def test_a_secret_must_be_base64() -> None:
    obj = {"metadata": {"name": "s"}, "data": {"good": "aGk=", "bad": "%%"}}
    assert [path for path, _, _ in faults(schema_of("", "v1", "Secret"), obj)] == ["data.bad"]


def test_a_status_may_be_incomplete() -> None:
    pod = {"spec": {"containers": [{"name": "a", "image": "b"}]}, "status": {"containerStatuses": [{"name": "a"}]}}
    assert faults(schema_of("", "v1", "Pod"), pod) == []


# Custom resources

WIDGET = crd_schema(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1, "maximum": 10},
                    "mode": {"type": "string", "enum": ["fast", "slow"], "default": "slow"},
                    "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5, "minLength": 1},
                    "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                    "when": {"type": "string", "format": "date-time"},
                    "note": {"type": "string", "nullable": True},
                    "parts": {
                        "type": "array",
                        "maxItems": 2,
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["id"],
                        "items": {
                            "type": "object",
                            "required": ["id"],
                            "properties": {"id": {"type": "string"}, "count": {"type": "integer", "default": 1}},
                        },
                    },
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    "half": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                        "properties": {"known": {"type": "object", "properties": {"a": {"type": "string"}}}},
                    },
                    "pod": {
                        "type": "object",
                        "x-kubernetes-embedded-resource": True,
                        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                    },
                    "limits": {"type": "object", "additionalProperties": {"type": "integer"}},
                    "low": {"type": "integer"},
                    "high": {"type": "integer"},
                    "fixed": {
                        "type": "string",
                        "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed is immutable"}],
                    },
                    "either": {
                        "type": "object",
                        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
                    },
                },
                "x-kubernetes-validations": [
                    {
                        "rule": "!has(self.low) || !has(self.high) || self.low <= self.high",
                        "messageExpression": "'low ' + string(self.low) + ' is over high'",
                    },
                    {"rule": "!has(self.name) || isURL(self.name)", "message": "not enforced: isURL is unknown here"},
                ],
            }
        },
    }
)


def widget(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "x.io/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1, **spec}}


def test_a_good_custom_resource_has_no_faults() -> None:
    obj = widget(
        name="abc",
        port="http",
        when="2026-11-24T10:00:00Z",
        note=None,
        parts=[{"id": "a"}],
        limits={"x": 1},
        low=1,
        high=2,
    )
    assert faults(WIDGET, obj) == []


def test_custom_defaults_reach_into_lists_and_replace_a_null() -> None:
    spec = filled(WIDGET, widget(mode=None, parts=[{"id": "a"}, {"id": "b", "count": 3}]))["spec"]
    assert spec["mode"] == "slow"
    assert spec["parts"] == [{"id": "a", "count": 1}, {"id": "b", "count": 3}]


def test_pruning_keeps_what_the_schema_says_to_preserve() -> None:
    obj = widget(
        free={"any": {"thing": 1}},
        half={"other": 1, "known": {"a": "x", "gone": 1}},
        pod={
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "bogus": 1},
            "spec": {"containers": []},
            "extra": 1,
        },
        oops=1,
    )
    gone = WIDGET.prune(obj)
    assert sorted(gone) == ["spec.half.known.gone", "spec.oops", "spec.pod.extra", "spec.pod.metadata.bogus"]
    assert obj["spec"]["free"] == {"any": {"thing": 1}}
    assert obj["spec"]["half"] == {"other": 1, "known": {"a": "x"}}


def test_a_schema_that_preserves_everything_prunes_nothing() -> None:
    schema = crd_schema({"type": "object"}, preserve_unknown=True)
    obj = {"metadata": {"name": "x"}, "anything": {"at": "all"}}
    assert schema.prune(obj) == []
    assert obj["anything"] == {"at": "all"}


@pytest.mark.parametrize(
    ("spec", "path", "reason", "text"),
    [
        pytest.param(
            {"size": "big"},
            "spec.size",
            "FieldValueTypeInvalid",
            'Invalid value: "string": spec.size in body must be of type integer: "string"',
            id="type",
        ),
        pytest.param(
            {"size": 11},
            "spec.size",
            "FieldValueInvalid",
            "Invalid value: 11: spec.size in body should be less than or equal to 10",
            id="maximum",
        ),
        pytest.param(
            {"mode": "medium"},
            "spec.mode",
            "FieldValueNotSupported",
            'Unsupported value: "medium": supported values: "fast", "slow"',
            id="enum",
        ),
        pytest.param(
            {"name": "A1"},
            "spec.name",
            "FieldValueInvalid",
            "Invalid value: \"A1\": spec.name in body should match '^[a-z]+$'",
            id="pattern",
        ),
        pytest.param(
            {"name": "abcdef"}, "spec.name", "FieldValueTooLong", "Too long: may not be more than 5 bytes", id="length"
        ),
        pytest.param(
            {"port": 1.5},
            "spec.port",
            "FieldValueTypeInvalid",
            'Invalid value: "number": spec.port in body must be of type integer or string: "number"',
            id="int or string",
        ),
        pytest.param(
            {"when": "soon"},
            "spec.when",
            "FieldValueInvalid",
            'Invalid value: "soon": spec.when in body must be of type date-time: "soon"',
            id="format",
        ),
        pytest.param(
            {"parts": [{"id": "a"}, {"id": "a"}]},
            "spec.parts[1]",
            "FieldValueDuplicate",
            'Duplicate value: {"id":"a"}',
            id="list map",
        ),
        pytest.param(
            {"parts": [{"id": "a"}, {"id": "b"}, {"id": "c"}]},
            "spec.parts",
            "FieldValueTooMany",
            "Too many: 3: must have at most 2 items",
            id="items",
        ),
        pytest.param({"parts": [{}]}, "spec.parts[0].id", "FieldValueRequired", "Required value", id="required"),
        pytest.param(
            {"limits": {"x": "1"}},
            "spec.limits.x",
            "FieldValueTypeInvalid",
            'Invalid value: "string": spec.limits.x in body must be of type integer: "string"',
            id="map value",
        ),
        pytest.param(
            {"either": {"a": "1", "b": "2"}},
            "spec.either",
            "FieldValueInvalid",
            'Invalid value: "": "spec.either" must validate one and only one schema (oneOf). '
            "Found 2 valid alternatives",
            id="oneOf",
        ),
        pytest.param(
            {"low": 3, "high": 2}, "spec", "FieldValueInvalid", 'Invalid value: "object": low 3 is over high', id="CEL"
        ),
    ],
)
def test_a_custom_fault_reads_as_on_a_real_server(spec: dict[str, Any], path: str, reason: str, text: str) -> None:
    assert faults(WIDGET, widget(**spec)) == [(path, reason, text)]


def test_a_transition_rule_needs_the_old_object() -> None:
    assert faults(WIDGET, widget(fixed="b")) == []
    assert faults(WIDGET, widget(fixed="a"), widget(fixed="a")) == []
    [(path, _, text)] = faults(WIDGET, widget(fixed="b"), widget(fixed="a"))
    assert (path, text) == ("spec.fixed", 'Invalid value: "string": fixed is immutable')


# Published definitions

published = pytest.mark.skipif(not CRDS.is_dir(), reason="the published definitions are not here")


@cache
def _definitions() -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    texts = [file.read_text() for file in sorted(CRDS.glob("*.yaml"))]
    return [crd for text in texts for crd in yaml.load_all(text, loader) if crd]


def _published(kind: str) -> Schema:
    crd = next(crd for crd in _definitions() if crd["spec"]["names"]["kind"] == kind)
    version = next(each for each in crd["spec"]["versions"] if each["storage"])
    return crd_schema(version["schema"]["openAPIV3Schema"])


@published
def test_published_definitions_pass_the_schema_of_definitions() -> None:
    schema = schema_of("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    assert _definitions()
    for crd in deepcopy(_definitions()):
        name = crd["metadata"]["name"]
        assert schema.prune(crd) == [], name
        assert faults(schema, filled(schema, crd)) == [], name


GOOD: dict[str, dict[str, Any]] = {
    "Backup": {"includedNamespaces": ["a"], "ttl": "720h0m0s", "storageLocation": "default"},
    "Schedule": {"schedule": "0 1 * * *", "template": {"includedNamespaces": ["*"]}},
    "GitRepository": {"url": "https://git.example/x", "interval": "1m", "ref": {"branch": "main"}},
    "Kustomization": {
        "interval": "10m",
        "path": "./site",
        "prune": True,
        "sourceRef": {"kind": "GitRepository", "name": "x"},
    },
    "Gateway": {"gatewayClassName": "c", "listeners": [{"name": "h", "port": 80, "protocol": "HTTP"}]},
    "HTTPRoute": {"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": [{"name": "s", "port": 80}]}]},
    "VolumeSnapshot": {"source": {"persistentVolumeClaimName": "p"}},
    "AuthorizationPolicy": {"action": "ALLOW", "rules": [{"from": [{"source": {"namespaces": ["a"]}}]}]},
}


@published
@pytest.mark.parametrize("kind", GOOD)
def test_a_good_object_of_a_published_kind_passes(kind: str) -> None:
    schema = _published(kind)
    obj = {"apiVersion": "x/v1", "kind": kind, "metadata": {"name": "x"}, "spec": deepcopy(GOOD[kind])}
    assert schema.prune(obj) == []
    assert faults(schema, filled(schema, obj)) == []


@published
@pytest.mark.parametrize(
    ("kind", "change", "path"),
    [
        pytest.param("GitRepository", {"interval": "often"}, "spec.interval", id="pattern"),
        pytest.param("GitRepository", {"url": 5}, "spec.url", id="type"),
        pytest.param("Kustomization", {"sourceRef": {"kind": "Floppy", "name": "x"}}, "spec.sourceRef.kind", id="enum"),
        pytest.param(
            "Gateway", {"listeners": [{"name": "h", "port": 0, "protocol": "HTTP"}]}, "spec.listeners[0].port", id="min"
        ),
        pytest.param(
            "Gateway",
            {"listeners": [{"name": "h", "port": 80, "protocol": "TCP", "hostname": "a.example"}]},
            "spec.listeners",
            id="CEL",
        ),
        pytest.param("VolumeSnapshot", {"source": {}}, "spec.source", id="oneOf or CEL"),
    ],
)
def test_a_bad_object_of_a_published_kind_is_refused_at_the_right_place(
    kind: str, change: dict[str, Any], path: str
) -> None:
    schema = _published(kind)
    obj = {"apiVersion": "x/v1", "kind": kind, "metadata": {"name": "x"}, "spec": {**deepcopy(GOOD[kind]), **change}}
    assert path in [fault[0] for fault in faults(schema, filled(schema, obj))]


@published
def test_a_published_kind_gets_its_defaults() -> None:
    obj = {"spec": deepcopy(GOOD["HTTPRoute"])}
    spec = filled(_published("HTTPRoute"), obj)["spec"]
    assert spec["rules"][0]["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]
    assert spec["parentRefs"][0]["group"] == "gateway.networking.k8s.io"
