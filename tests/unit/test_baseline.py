"""The baseline of a site, and what reading it back finds."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from edge.model.kube import ObjectRef
from edge.model.site import Site
from edge.policy.baseline import baseline_faults, baseline_namespace, baseline_objects

SITE = Site(name="site-0001", tenant="acme")


def read_back() -> list[dict[str, Any]]:
    """The baseline as a server returns it: with fields of its own."""
    found = [copy.deepcopy(dict(obj)) for obj in baseline_objects(SITE)]
    for obj in found:
        obj["metadata"] |= {"uid": "u", "resourceVersion": "1"}
        obj["status"] = {}
    found[0]["metadata"]["labels"]["kubernetes.io/metadata.name"] = "tenant-acme"
    return found


def test_the_namespace_comes_first_and_holds_all_the_rest() -> None:
    first, *rest = baseline_objects(SITE)
    assert first["kind"] == "Namespace"
    assert first["metadata"]["name"] == "tenant-acme"
    assert {obj["metadata"]["namespace"] for obj in rest} == {"tenant-acme"}


def test_every_object_says_who_manages_it_and_for_whom() -> None:
    for obj in baseline_objects(SITE):
        labels = obj["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "edge-platform"
        assert labels["edge-platform.io/tenant"] == "acme"


def test_privileged_pods_are_kept_out() -> None:
    assert baseline_objects(SITE)[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"


def test_the_binding_gives_the_role_to_the_tenants_account() -> None:
    objects = {obj["kind"]: obj for obj in baseline_objects(SITE)}
    binding = objects["RoleBinding"]
    assert binding["roleRef"]["name"] == objects["Role"]["metadata"]["name"]
    account = objects["ServiceAccount"]["metadata"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]


def test_the_tenant_may_not_change_its_own_fence() -> None:
    role = next(obj for obj in baseline_objects(SITE) if obj["kind"] == "Role")
    reachable = {word for rule in role["rules"] for word in rule["resources"]}
    assert not reachable & {"resourcequotas", "limitranges", "roles", "rolebindings", "serviceaccounts", "*"}


def test_a_long_tenant_name_still_makes_a_namespace() -> None:
    name = baseline_namespace(Site(name="s", tenant="a" * 55 + "-" + "b" * 7))
    assert len(name) <= 63
    assert not name.endswith("-")


def test_two_long_tenants_do_not_share_a_namespace() -> None:
    names = {baseline_namespace(Site(name="s", tenant="a" * 62 + last)) for last in "bc"}
    assert len(names) == 2


def test_what_was_applied_and_read_back_has_no_faults() -> None:
    assert baseline_faults(SITE, read_back()) == []
    assert baseline_faults(SITE, {ObjectRef.of(obj): obj for obj in read_back()}) == []


def test_each_missing_object_is_named() -> None:
    assert baseline_faults(SITE, read_back()[2:]) == [
        "Namespace tenant-acme is missing",
        "ResourceQuota tenant-acme/baseline is missing",
    ]


@pytest.mark.parametrize(
    ("index", "path", "value", "named"),
    [
        pytest.param(0, ("metadata", "labels"), {}, "metadata.labels.", id="labels-gone"),
        pytest.param(1, ("spec", "hard", "pods"), "9999", "spec.hard.pods is '9999', not '100'", id="quota-raised"),
        pytest.param(4, ("rules",), [], "rules is [], not ", id="rights-gone"),
        pytest.param(5, ("subjects",), None, "subjects is None", id="nobody-bound"),
    ],
)
def test_each_difference_is_named(index: int, path: tuple[str, ...], value: object, named: str) -> None:
    found = read_back()
    place = found[index]
    for word in path[:-1]:
        place = place[word]
    place[path[-1]] = value
    faults = baseline_faults(SITE, found)
    assert faults
    assert all(named in fault for fault in faults)
