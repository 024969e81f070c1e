"""The baseline at a site of the lab: applied, read back and tried; and what is found when a site does not hold it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from blocks.admission import DeviceAdmission
from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.errors import BaselineUnproven, CredentialRejected, NotYet, Rejected
from edge.model.baseline import Baseline, PodSecurity
from edge.model.kube import ObjectRef
from edge.model.site import Site
from edge.policy.baseline import baseline_namespace, baseline_objects, tenant_user
from edge.policy.baseline_probes import probes
from tasks.baseline import apply_baseline, verify_baseline

SHIPPED = DeviceAdmission().site_baseline()


@pytest.fixture(scope="module")
def client(lab: Any) -> Iterator[SiteClient]:
    with SiteClient(read_kubeconfig(lab.sites[1].kubeconfig), site="site-0002") as found:
        yield found


@pytest.fixture
def site(client: SiteClient) -> Iterator[Site]:
    """A site whose tenant nobody else has; what it gets is taken away in the end."""
    made = Site(name="site-0002", tenant=f"t{uuid.uuid4().hex[:8]}")
    yield made
    client.delete(ObjectRef(api_version="v1", kind="Namespace", name=baseline_namespace(made)))


def apart(client: SiteClient, site: Site, kind: str) -> Any:
    """The object of this kind in the tenant's namespace, taken out of the baseline."""
    wanted = next(obj for obj in baseline_objects(site, SHIPPED) if obj["kind"] == kind)
    return client.get(ObjectRef.of(wanted))


def test_the_baseline_is_applied_and_holds_when_it_is_tried(client: SiteClient, site: Site) -> None:
    applied = apply_baseline(client, site, SHIPPED)
    assert (applied["objects"], applied["default_storage_class"]) == (11, "edge-local")
    verified = verify_baseline(client, site, SHIPPED)
    assert verified == {"objects": 11, "probes": [probe.name for probe in probes(site, SHIPPED)]}
    assert len(probes(site, SHIPPED)) == 9


def test_applied_again_it_changes_nothing(client: SiteClient, site: Site) -> None:
    apply_baseline(client, site, SHIPPED)
    refs = [ObjectRef.of(obj) for obj in baseline_objects(site, SHIPPED)]
    before = [client.get(ref)["metadata"]["resourceVersion"] for ref in refs]
    apply_baseline(client, site, SHIPPED)
    assert [client.get(ref)["metadata"]["resourceVersion"] for ref in refs] == before


def test_an_object_that_was_taken_away_is_missed(client: SiteClient, site: Site) -> None:
    apply_baseline(client, site, SHIPPED)
    client.delete(ObjectRef.of(apart(client, site, "ResourceQuota")))
    with pytest.raises(NotYet) as caught:
        verify_baseline(client, site, SHIPPED)
    assert "ResourceQuota" in caught.value.where["faults"]


def weaker(**tenant: Any) -> Baseline:
    """The baseline with a hole in its fence."""
    return SHIPPED.model_copy(update={"tenant_namespace": SHIPPED.tenant_namespace.model_copy(update=tenant)})


def test_without_a_level_a_namespace_takes_what_the_probes_try(client: SiteClient, site: Site) -> None:
    apply_baseline(client, site, SHIPPED)
    open_levels = SHIPPED.tenant_namespace.pod_security.model_copy(update={"enforce": PodSecurity.PRIVILEGED})
    client.apply(baseline_objects(site, weaker(pod_security=open_levels))[2])
    tenant = client.acting_as(tenant_user(site))
    allowed = [probe.name for probe in probes(site, SHIPPED)[:3] if tenant.try_create(probe.target)]
    assert allowed == ["a privileged pod", "a pod in the host's network", "a pod with a host path"]


def test_rights_that_came_from_elsewhere_are_found_out(client: SiteClient, site: Site) -> None:
    apply_baseline(client, site, SHIPPED)
    group = "rbac.authorization.k8s.io"
    namespace, account = baseline_namespace(site), tenant_user(site).rpartition(":")[2]
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"too-much-{site.tenant}"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
    client.apply(binding)
    try:
        with pytest.raises(BaselineUnproven) as caught:
            verify_baseline(client, site, SHIPPED, within_s=0)
    finally:
        client.delete(ObjectRef.of(binding))
    assert caught.value.where["probes"].split("; ") == [
        "a cluster role binding by the tenant is allowed",
        "secrets of kube-system read by the tenant is allowed",
        "an object of the tenant in another namespace is allowed",
    ]


def test_a_second_limit_range_that_refuses_first_is_no_proof(client: SiteClient, site: Site) -> None:
    apply_baseline(client, site, SHIPPED)
    limit = {"type": "Container", "min": {"cpu": "2", "memory": "1Gi"}}
    meta = {"name": "another", "namespace": baseline_namespace(site)}
    client.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": meta, "spec": {"limits": [limit]}})
    with pytest.raises(BaselineUnproven) as caught:
        verify_baseline(client, site, SHIPPED, within_s=0)
    assert "a privileged pod is refused by something else: " in caught.value.where["probes"]
    assert "a modest pod is refused: " in caught.value.where["probes"]


def test_a_credential_that_may_not_act_for_others_proves_nothing(client: SiteClient, site: Site) -> None:
    apply_baseline(client, site, SHIPPED)
    nobody = client.acting_as("system:serviceaccount:default:default")
    with pytest.raises(CredentialRejected):
        nobody.try_create(probes(site, SHIPPED)[-1].target)


def test_a_default_storage_class_that_is_there_is_kept_and_that_is_said(client: SiteClient, site: Site) -> None:
    apply_baseline(client, site, SHIPPED)
    ours = SHIPPED.storage_class
    assert ours is not None
    other = SHIPPED.model_copy(update={"storage_class": ours.model_copy(update={"name": "mine"})})
    said = apply_baseline(client, site, other)
    assert (said["default_storage_class"], said["storage_class_kept"]) == ("edge-local", True)
    verify_baseline(client, site, other)


def test_a_try_keeps_nothing(client: SiteClient, site: Site) -> None:
    apply_baseline(client, site, SHIPPED)
    tenant, pod = client.acting_as(tenant_user(site)), probes(site, SHIPPED)[-1].target
    assert tenant.try_create(pod)["metadata"]["uid"]
    assert list(client.list("v1", "Pod", namespace=baseline_namespace(site))) == []
    with pytest.raises(Rejected):
        tenant.try_create(probes(site, SHIPPED)[0].target)
