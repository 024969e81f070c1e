"""Decisions about connecting a cluster to Azure Arc."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_public_key

from edge.errors import ConnectRefused, InvalidInput
from edge.model.arc import AgentsFound, AgentsOnCluster, ArcTarget, ClusterPlatform, ConnectAction, ConnectedCluster
from edge.policy.arc import (
    Traces,
    decide_connect,
    home_elsewhere,
    is_unfinished,
    onboarding_tags,
    public_key_of,
    refuse_if_told,
)
from edge.policy.arc_agents import agent_values, cloud_of, data_plane_of
from edge.policy.arc_precheck import platform_of, precheck

TARGET = ArcTarget(subscription_id="sub", resource_group="edge", name="site-0001", location="westeurope")
ABSENT, PRESENT, BROKEN = AgentsOnCluster.ABSENT, AgentsOnCluster.PRESENT, AgentsOnCluster.PRESENT_WITHOUT_CONFIG


def cluster(key: str = "key", **more: Any) -> ConnectedCluster:
    return ConnectedCluster(resource_id=TARGET.resource_id, location="westeurope", public_key=key, **more)


@pytest.mark.parametrize(
    ("agents", "key", "resource", "action"),
    [
        pytest.param(PRESENT, "key", cluster(), ConnectAction.REUSE_KEY, id="present, exists, same identity"),
        pytest.param(PRESENT, "own", cluster(), ConnectAction.REFUSE_ELSEWHERE, id="present, exists, another identity"),
        pytest.param(PRESENT, "key", None, ConnectAction.CLEAN_THEN_NEW, id="present, gone"),
        pytest.param(ABSENT, None, cluster(), ConnectAction.REFUSE_NAME_TAKEN, id="absent, exists"),
        pytest.param(ABSENT, None, None, ConnectAction.NEW, id="absent, none"),
        pytest.param(BROKEN, "key", cluster(), ConnectAction.REFUSE_BROKEN, id="without config, exists"),
        pytest.param(BROKEN, None, None, ConnectAction.REFUSE_BROKEN, id="without config, none"),
        pytest.param(PRESENT, None, cluster(), ConnectAction.REFUSE_BROKEN, id="present without a key, exists"),
    ],
)
def test_the_decision_table(
    agents: AgentsOnCluster, key: str | None, resource: ConnectedCluster | None, action: ConnectAction
) -> None:
    assert decide_connect(agents, key, resource) is action


@pytest.mark.parametrize(
    ("agents", "key", "resource", "action"),
    [
        pytest.param(ABSENT, None, cluster(), ConnectAction.CLEAN_THEN_NEW, id="absent"),
        pytest.param(PRESENT, "own", cluster(), ConnectAction.CLEAN_THEN_NEW, id="agents with another key"),
        pytest.param(PRESENT, "key", cluster(), ConnectAction.REUSE_KEY, id="agents with its key"),
        pytest.param(BROKEN, None, cluster(), ConnectAction.CLEAN_THEN_NEW, id="agents cut off half-way"),
    ],
)
def test_what_this_onboarding_left_unfinished_does_not_block_its_next_try(
    agents: AgentsOnCluster, key: str | None, resource: ConnectedCluster, action: ConnectAction
) -> None:
    assert decide_connect(agents, key, resource, Traces(unfinished=True)) is action


@pytest.mark.parametrize("resource", [pytest.param(None, id="name free"), pytest.param(cluster(), id="name taken")])
def test_agents_of_another_connected_cluster_are_never_taken(resource: ConnectedCluster | None) -> None:
    assert decide_connect(PRESENT, "key", resource, Traces(elsewhere=True)) is ConnectAction.REFUSE_ELSEWHERE


def test_an_unfinished_resource_is_ours_by_its_tag_and_was_never_connected() -> None:
    ours = cluster(tags=onboarding_tags("onboarding:dev-1"))
    connected = ours.model_copy(update={"certificate_expires": "2027-01-01T00:00:00Z"})
    assert is_unfinished(ours, "onboarding:dev-1")
    assert not is_unfinished(ours, "onboarding:dev-2")
    assert not is_unfinished(cluster(), "onboarding:dev-1")
    assert not is_unfinished(connected, "onboarding:dev-1")
    assert not is_unfinished(None, "onboarding:dev-1")


def test_agents_name_the_connected_cluster_to_look_at() -> None:
    other = TARGET.model_copy(update={"name": "site-0002"})
    found = AgentsFound(state=PRESENT, resource_id=other.resource_id)
    assert home_elsewhere(found, TARGET) == other
    same = AgentsFound(state=PRESENT, resource_id=TARGET.resource_id.upper())
    assert home_elsewhere(same, TARGET) is None
    assert home_elsewhere(AgentsFound(state=ABSENT), TARGET) is None
    assert home_elsewhere(AgentsFound(state=PRESENT, resource_id="/nonsense"), TARGET) is None


@pytest.mark.parametrize(
    "action", [ConnectAction.REFUSE_ELSEWHERE, ConnectAction.REFUSE_NAME_TAKEN, ConnectAction.REFUSE_BROKEN]
)
def test_a_refusal_says_what_to_do(action: ConnectAction) -> None:
    with pytest.raises(ConnectRefused) as caught:
        refuse_if_told(action, TARGET)
    assert caught.value.remedy
    assert caught.value.where["decision"] == action


@pytest.mark.parametrize("action", [ConnectAction.NEW, ConnectAction.REUSE_KEY, ConnectAction.CLEAN_THEN_NEW])
def test_the_other_actions_are_no_refusal(action: ConnectAction) -> None:
    refuse_if_told(action, TARGET)


def test_the_public_key_is_base64_of_the_der_sequence() -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    der = base64.b64decode(public_key_of(pem), validate=True)
    assert der[0] == 0x30
    assert load_der_public_key(der) == key.public_key()


def test_what_is_no_rsa_key_is_refused_without_showing_it() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for text in (pem, "-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0\n-----END RSA PRIVATE KEY-----", "secret"):
        with pytest.raises(InvalidInput) as caught:
            public_key_of(text)
        assert "c2VjcmV0" not in str(caught.value)
        assert caught.value.__cause__ is None


def node(*, ready: bool = True, **labels: str) -> dict[str, Any]:
    words = {"os": "linux", "arch": "amd64", **labels}
    return {
        "metadata": {"name": "n", "labels": {f"kubernetes.io/{word}": value for word, value in words.items()}},
        "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


@pytest.mark.parametrize(
    ("nodes", "version", "codes"),
    [
        pytest.param([node()], "v1.36.0", [], id="good"),
        pytest.param([node(os="windows"), node(arch="arm64")], "v1.25.3+k3s1", [], id="one of two fits"),
        pytest.param([], "v1.36.0", ["arc-no-node"], id="no node"),
        pytest.param([node(os="windows")], "v1.36.0", ["arc-no-linux-node"], id="windows only"),
        pytest.param([node(arch="riscv64")], "v1.36.0", ["arc-unsupported-architecture"], id="architecture"),
        pytest.param([node(ready=False)], "v1.36.0", ["arc-no-ready-node"], id="not ready"),
        pytest.param([{**node(), "spec": {"unschedulable": True}}], "v1.36.0", ["arc-no-ready-node"], id="cordoned"),
        pytest.param([node()], "v1.9.11", ["arc-kubernetes-too-old"], id="too old"),
        pytest.param([node()], "unknown", ["arc-kubernetes-too-old"], id="version unknown"),
        pytest.param([], "v1.10.0", ["arc-kubernetes-too-old", "arc-no-node"], id="two at once"),
    ],
)
def test_prechecks_name_what_is_in_the_way(nodes: list[dict[str, Any]], version: str, codes: list[str]) -> None:
    found = precheck(nodes, version)
    assert [cause.code for cause in found] == codes
    assert all(cause.message and cause.remedy for cause in found)


def test_the_right_to_bind_roles_is_needed() -> None:
    assert [cause.code for cause in precheck([node()], "v1.36.0", may_bind_roles=False)] == [
        "arc-no-right-to-bind-roles"
    ]


@pytest.mark.parametrize(
    ("labels", "provider", "kubelet", "distribution", "infrastructure"),
    [
        pytest.param({}, "", "v1.36.0", "generic", "generic", id="bare metal"),
        pytest.param({}, "k3s://edge", "v1.33.1+k3s1", "k3s", "generic", id="k3s"),
        pytest.param({}, "", "v1.33.1+rke2r1", "rke2", "generic", id="rke2"),
        pytest.param({"microk8s.io/cluster": "true"}, "", "v1.33.1", "microk8s", "generic", id="microk8s"),
        pytest.param({"node.openshift.io/os_id": "rhcos"}, "vsphere://42", "", "openshift", "vsphere", id="openshift"),
        pytest.param({"eks.amazonaws.com/nodegroup": "a"}, "aws:///z/i", "", "eks", "aws", id="eks"),
        pytest.param({"cloud.google.com/gke-nodepool": "a"}, "gce://p/z/i", "", "gke", "gcp", id="gke"),
        pytest.param(
            {"kubernetes.azure.com/node-image-version": "a"}, "azure:///subscriptions/s", "", "aks", "azure", id="aks"
        ),
        pytest.param({}, "kind://docker/kind/n", "v1.36.0", "kind", "generic", id="kind"),
    ],
)
def test_the_platform_is_guessed_from_the_nodes(
    labels: dict[str, str], provider: str, kubelet: str, distribution: str, infrastructure: str
) -> None:
    one = {
        "metadata": {"name": "n", "labels": labels},
        "spec": {"providerID": provider},
        "status": {"nodeInfo": {"kubeletVersion": kubelet}},
    }
    assert platform_of([node(), one]) == ClusterPlatform(distribution=distribution, infrastructure=infrastructure)


@pytest.mark.parametrize(
    ("endpoint", "cloud", "data_plane"),
    [
        pytest.param("https://management.azure.com/", "AZUREPUBLICCLOUD", "azure.com", id="public"),
        pytest.param("https://management.usgovcloudapi.net", "AZUREUSGOVERNMENTCLOUD", "azure.us", id="government"),
        pytest.param("https://management.chinacloudapi.cn", "AZURECHINACLOUD", "azure.cn", id="china"),
        pytest.param("https://127.0.0.1:4443", "AZUREPUBLICCLOUD", "azure.com", id="private"),
    ],
)
def test_the_cloud_is_told_from_resource_managers_address(endpoint: str, cloud: str, data_plane: str) -> None:
    assert cloud_of(endpoint) == cloud
    assert data_plane_of(endpoint, "westeurope") == f"https://westeurope.dp.kubernetesconfiguration.{data_plane}"


def test_the_agents_are_told_whose_they_are() -> None:
    platform = ClusterPlatform(distribution="k3s", infrastructure="vsphere")
    values = agent_values(TARGET, cluster(tenant_id="tenant"), "private", platform, "AZUREPUBLICCLOUD")
    assert values["global"] == {
        "subscriptionId": "sub",
        "resourceGroupName": "edge",
        "resourceName": "site-0001",
        "location": "westeurope",
        "tenantId": "tenant",
        "kubernetesDistro": "k3s",
        "kubernetesInfra": "vsphere",
        "azureEnvironment": "AZUREPUBLICCLOUD",
        "onboardingPrivateKey": "private",
    }
