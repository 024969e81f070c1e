"""The baseline of a site, what reading it back finds, and what its probes make of a site's answers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge.errors import InvalidInput
from edge.model.baseline import Baseline, PodSecurity, Probe
from edge.model.site import Site
from edge.policy.baseline import (
    baseline_faults,
    baseline_namespace,
    baseline_objects,
    default_class,
    parse_baseline,
    storage_class,
    tenant_user,
)
from edge.policy.baseline_probes import probe_fault, probes

SITE = Site(name="site-0001", tenant="acme", time_zone="Europe/Berlin")
TEXT = (Path(__file__).parents[2] / "deployments" / "baseline.yaml").read_text()
SHIPPED = parse_baseline(TEXT, origin="baseline.yaml")
OBJECTS = baseline_objects(SITE, SHIPPED)


def changed(**tenant: Any) -> Baseline:
    data = yaml.safe_load(TEXT)
    data["tenantNamespace"] |= tenant
    return Baseline.model_validate(data)


def read_back() -> list[dict[str, Any]]:
    """The baseline as a server returns it: with fields of its own."""
    found = [copy.deepcopy(dict(obj)) for obj in OBJECTS]
    for obj in found:
        obj["metadata"] |= {"uid": "u", "resourceVersion": "1"}
        obj["status"] = {}
    return found


def of_kind(kind: str, objects: Any = OBJECTS) -> list[Any]:
    return [obj for obj in objects if obj["kind"] == kind]


def test_each_namespace_comes_before_what_is_in_it() -> None:
    seen: set[str] = set()
    for obj in OBJECTS:
        if obj["kind"] == "Namespace":
            seen.add(obj["metadata"]["name"])
        else:
            assert obj["metadata"]["namespace"] in seen
    assert seen == {"tenant-acme", "edge-system"}


def test_every_object_says_who_manages_it() -> None:
    for obj in OBJECTS:
        assert obj["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "edge-platform"


def test_each_namespace_has_its_levels() -> None:
    head = "pod-security.kubernetes.io/"
    levels = {
        obj["metadata"]["name"]: [obj["metadata"]["labels"][head + mode] for mode in ("enforce", "warn", "audit")]
        for obj in of_kind("Namespace")
    }
    assert levels == {
        "edge-system": ["privileged", "baseline", "baseline"],
        "tenant-acme": ["baseline", "restricted", "restricted"],
    }


def test_the_binding_gives_the_role_to_the_tenants_account() -> None:
    (binding,), (role,), (account,) = of_kind("RoleBinding"), of_kind("Role"), of_kind("ServiceAccount")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    name, namespace = account["metadata"]["name"], account["metadata"]["namespace"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]
    assert tenant_user(SITE) == f"system:serviceaccount:{namespace}:{name}"


def test_nothing_goes_in_or_out_but_dns_and_among_themselves() -> None:
    deny, allow = of_kind("NetworkPolicy")
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert allow["spec"]["ingress"] == [{"from": [{"podSelector": {}}]}]
    own, dns = allow["spec"]["egress"]
    assert own == {"to": [{"podSelector": {}}]}
    assert {port["port"] for port in dns["ports"]} == {53}
    assert dns["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}]


def test_the_agents_may_reach_the_cloud_dns_and_the_api_server() -> None:
    with_agents = baseline_objects(SITE.model_copy(update={"arc_id": "/subscriptions/x"}), SHIPPED)
    policy = with_agents[-1]
    assert policy["metadata"]["namespace"] == "azure-arc"
    assert policy["spec"]["policyTypes"] == ["Egress"]
    assert policy["spec"]["egress"][0] == {"ports": [{"protocol": "TCP", "port": port} for port in (443, 6443)]}
    assert with_agents[:-1] == OBJECTS


def test_node_agents_are_told_time_and_log_settings() -> None:
    (settings,) = of_kind("ConfigMap")
    assert settings["metadata"]["namespace"] == "edge-system"
    assert settings["data"] == {
        "time.servers": "0.pool.ntp.org\n1.pool.ntp.org\n2.pool.ntp.org",
        "time.zone": "Europe/Berlin",
        "log.level": "info",
        "log.retention-days": "14",
    }


def test_a_long_tenant_name_still_makes_a_namespace() -> None:
    name = baseline_namespace(Site(name="s", tenant="a" * 55 + "-" + "b" * 7))
    assert len(name) <= 63
    assert not name.endswith("-")


def test_two_long_tenants_do_not_share_a_namespace() -> None:
    names = {baseline_namespace(Site(name="s", tenant="a" * 62 + last)) for last in "bc"}
    assert len(names) == 2


def a_class(name: str, *, default: bool = True, made: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    notes = {"storageclass.kubernetes.io/is-default-class": str(default).lower()}
    return {"metadata": {"name": name, "creationTimestamp": made, "annotations": notes}}


def test_a_cluster_without_a_default_storage_class_gets_ours() -> None:
    made = storage_class(SITE, SHIPPED, [a_class("other", default=False), {"metadata": {"name": "bare"}}])
    assert made is not None
    assert (made["metadata"]["name"], made["provisioner"]) == ("edge-local", "kubernetes.io/no-provisioner")
    assert default_class([made]) == "edge-local"


def test_a_default_storage_class_that_is_there_is_kept() -> None:
    assert storage_class(SITE, SHIPPED, [a_class("local-path")]) is None
    assert storage_class(SITE, SHIPPED, [a_class("edge-local")]) is not None


def test_a_baseline_may_name_no_storage_class() -> None:
    assert storage_class(SITE, SHIPPED.model_copy(update={"storage_class": None}), []) is None


def test_of_two_default_storage_classes_the_newest_counts() -> None:
    assert default_class([a_class("new", made="2026-02-01T00:00:00Z"), a_class("old")]) == "new"


def test_what_was_applied_and_read_back_has_no_faults() -> None:
    assert baseline_faults(OBJECTS, read_back()) == []


def test_each_missing_object_is_named() -> None:
    kept = [obj for obj in read_back() if obj["kind"] not in {"ResourceQuota", "Role"}]
    assert baseline_faults(OBJECTS, kept) == [
        "ResourceQuota tenant-acme/baseline is missing",
        "Role tenant-acme/tenant is missing",
    ]


@pytest.mark.parametrize(
    ("kind", "path", "value", "named"),
    [
        pytest.param("Namespace", ("metadata", "labels"), {}, "metadata.labels.", id="labels-gone"),
        pytest.param("ResourceQuota", ("spec", "hard", "pods"), "9", "spec.hard.pods is '9', not '100'", id="quota"),
        pytest.param("Role", ("rules",), [], "rules is [], not ", id="rights-gone"),
        pytest.param("RoleBinding", ("subjects",), None, "subjects is None", id="nobody-bound"),
        pytest.param("NetworkPolicy", ("spec", "policyTypes"), ["Egress"], "policyTypes is", id="ingress-open"),
    ],
)
def test_each_difference_is_named(kind: str, path: tuple[str, ...], value: object, named: str) -> None:
    found = read_back()
    place = of_kind(kind, found)[0]
    for word in path[:-1]:
        place = place[word]
    place[path[-1]] = value
    faults = baseline_faults(OBJECTS, found)
    assert faults
    assert all(named in fault for fault in faults)


def test_an_amount_may_be_written_otherwise() -> None:
    found = read_back()
    of_kind("ResourceQuota", found)[0]["spec"]["hard"] |= {"requests.cpu": "4000m", "limits.memory": "16384Mi"}
    assert baseline_faults(OBJECTS, found) == []


@pytest.mark.parametrize(
    ("find", "put", "field"),
    [
        pytest.param('pods: "100"', "pods: many", "tenantNamespace.quota.pods", id="no-amount"),
        pytest.param("enforce: baseline", "enforce: strict", "tenantNamespace.podSecurity.enforce", id="level"),
        pytest.param("[configmaps, secrets,", "[roles, secrets,", "tenantNamespace.rights.0", id="rights-over-roles"),
        pytest.param("[configmaps, secrets,", "['*',", "tenantNamespace.rights.0", id="rights-over-all"),
        pytest.param("logRetentionDays: 14", "logRetentionDays: 0", "settings.logRetentionDays", id="no-logs"),
        pytest.param("[443, 6443]", "[0]", "agentsNamespace.egressPorts.0", id="port"),
        pytest.param("quota:", "quotas:", "tenantNamespace.quota", id="typing-mistake"),
        pytest.param("kind: Baseline", "kind: Stamp", "kind", id="other-kind"),
    ],
)
def test_a_baseline_that_cannot_be_used_is_refused(find: str, put: str, field: str) -> None:
    assert find in TEXT
    with pytest.raises(InvalidInput) as caught:
        parse_baseline(TEXT.replace(find, put, 1), origin="mine.yaml")
    assert (caught.value.where["file"], caught.value.where["field"]) == ("mine.yaml", field)


def test_a_tenant_may_read_its_fence() -> None:
    right = {"apiGroups": [""], "resources": ["resourcequotas"], "verbs": ["get", "list"]}
    assert changed(rights=[right]).tenant_namespace.rights[0].resources == ("resourcequotas",)


def named(name: str, baseline: Baseline = SHIPPED) -> Probe:
    return next(probe for probe in probes(SITE, baseline) if probe.name == name)


def test_a_pod_over_the_quota_keeps_the_limits_of_each_container() -> None:
    target: Any = named("a pod over the quota").target
    asked = [container["resources"]["requests"]["cpu"] for container in target["spec"]["containers"]]
    assert asked == ["4", "4"]
    small = changed(quota={"requests.memory": "1Gi"})
    target = named("a pod over the quota", small).target
    assert [one["resources"]["requests"]["memory"] for one in target["spec"]["containers"]] == ["1Gi", "1Gi"]


def test_without_a_quota_on_compute_no_pod_can_be_over_it() -> None:
    assert not [probe for probe in probes(SITE, changed(quota={"pods": "5"})) if "quota" in probe.name]


def test_a_level_that_forbids_nothing_is_not_probed() -> None:
    levels = {"enforce": PodSecurity.PRIVILEGED, "warn": PodSecurity.PRIVILEGED, "audit": PodSecurity.PRIVILEGED}
    assert not [probe for probe in probes(SITE, changed(podSecurity=levels)) if "PodSecurity" in probe.refused_by]


PRIVILEGED = (
    'pods "p" is forbidden: violates PodSecurity "baseline:latest": privileged (container "probe" must not ...)'
)


@pytest.mark.parametrize(
    ("probe", "refusal", "fault"),
    [
        pytest.param("a privileged pod", PRIVILEGED, "", id="as-expected"),
        pytest.param("a privileged pod", None, "a privileged pod is allowed", id="allowed"),
        pytest.param(
            "a privileged pod",
            'pods "p" is forbidden: exceeded quota: baseline, requested: pods=1',
            "is refused by something else",
            id="by-another-mechanism",
        ),
        pytest.param("a pod in the host's network", PRIVILEGED, "refused by something else", id="for-another-reason"),
        pytest.param("a modest pod", None, "", id="allowed-as-it-must-be"),
        pytest.param("a modest pod", PRIVILEGED, "a modest pod is refused: ", id="refused-though-modest"),
        pytest.param("a modest pod", "exceeded quota: baseline, requested: pods=1", "", id="quota-used-up"),
        pytest.param("a modest pod", "exceeded quota: other, requested: pods=1", "is refused", id="a-foreign-quota"),
        pytest.param(
            "a cluster role binding by the tenant",
            'users "x" is forbidden: User "edge" cannot impersonate resource "users" in API group ""',
            "refused by something else",
            id="nobody-was-asked-in-the-tenants-name",
        ),
    ],
)
def test_a_probe_passes_only_for_its_own_reason(probe: str, refusal: str | None, fault: str) -> None:
    found = probe_fault(named(probe), refusal)
    assert fault in found
    assert bool(fault) == bool(found)
