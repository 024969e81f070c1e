"""Microsoft's SDKs, unchanged, against the lab's Azure."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import azure.mgmt.kubernetesconfiguration.extensions.models as extension_models
import azure.mgmt.kubernetesconfiguration.fluxconfigurations.models as flux_models
import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.mgmt.hybridkubernetes import ConnectedKubernetesClient
from azure.mgmt.hybridkubernetes import models as arc_models
from azure.mgmt.kubernetesconfiguration.extensions import KubernetesConfigurationExtensionsMgmtClient
from azure.mgmt.kubernetesconfiguration.fluxconfigurations import KubernetesConfigurationFluxConfigurationsMgmtClient
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

GROUP = "edge"
PLACE = (GROUP, "Microsoft.Kubernetes", "connectedClusters", "site-0004")


@pytest.fixture
def access(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What every SDK client takes."""
    for name, value in vars(lab.azure.env).items():
        monkeypatch.setenv(name, value)
    with DefaultAzureCredential(connection_verify=lab.ca_file) as credential:
        yield {
            "credential": credential,
            "subscription_id": lab.azure.subscription_id,
            "base_url": lab.azure.endpoint,
            "credential_scopes": [f"{lab.azure.endpoint}/.default"],
            "connection_verify": lab.ca_file,
        }


@pytest.fixture
def clusters(access: dict[str, Any]) -> Iterator[Any]:
    with ConnectedKubernetesClient(**access) as client:
        yield client.connected_cluster


def wanted(key: str) -> arc_models.ConnectedCluster:
    return arc_models.ConnectedCluster(
        location="westeurope",
        tags={"site": "four"},
        identity=arc_models.ConnectedClusterIdentity(type="SystemAssigned"),
        properties=arc_models.ConnectedClusterProperties(agent_public_key_certificate=key, distribution="k3s"),
    )


@pytest.fixture(scope="module")
def key() -> str:
    public = rsa.generate_private_key(65537, 2048).public_key()
    return base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.PKCS1)).decode()


@pytest.fixture
def cluster(clusters: Any, key: str) -> Iterator[arc_models.ConnectedCluster]:
    """One connected cluster, gone afterwards."""
    yield clusters.begin_create_or_replace(GROUP, "site-0004", wanted(key)).result()
    clusters.begin_delete(GROUP, "site-0004").result()


def test_a_connected_cluster_from_create_to_delete(lab: Any, clusters: Any, key: str) -> None:
    poller = clusters.begin_create_or_replace(GROUP, "site-0004", wanted(key))
    assert not poller.done()
    created = poller.result()
    assert poller.status() == "Succeeded"
    assert created.properties.provisioning_state == "Succeeded"
    assert created.properties.connectivity_status == "Connecting"
    assert created.identity.principal_id
    assert clusters.get(GROUP, "site-0004").id == created.id
    assert created.id in [one.id for one in clusters.list_by_resource_group(GROUP)]
    assert created.id in [one.id for one in clusters.list_by_subscription()]

    wish = arc_models.ListClusterUserCredentialProperties(authentication_method="Token", client_proxy=False)
    given = clusters.list_cluster_user_credential(GROUP, "site-0004", wish)
    assert bytes(given.kubeconfigs[0].value).decode() == Path(lab.site("site-0004").kubeconfig).read_text()

    change = arc_models.ConnectedClusterPatch(
        tags={"now": "changed"}, properties=arc_models.ConnectedClusterPatchProperties(distribution="rke2")
    )
    updated = clusters.begin_update_async(GROUP, "site-0004", change).result()
    assert (updated.tags, updated.properties.distribution) == ({"now": "changed"}, "rke2")

    clusters.begin_delete(GROUP, "site-0004").result()
    with pytest.raises(ResourceNotFoundError):
        clusters.get(GROUP, "site-0004")
    clusters.begin_delete(GROUP, "site-0004").result()


def test_a_failing_operation_ends_in_an_error_with_its_code(lab: Any, clusters: Any, key: str) -> None:
    fault = {"kind": "fail", "path": "*/connectedClusters/site-0003", "code": "OutOfCapacity", "message": "Full."}
    lab.ask("POST", "/lab/azure/faults", fault)
    with pytest.raises(HttpResponseError) as caught:
        clusters.begin_create_or_replace(GROUP, "site-0003", wanted(key)).result()
    assert caught.value.error is not None
    assert caught.value.error.code == "OutOfCapacity"
    clusters.begin_delete(GROUP, "site-0003").result()


def test_an_extension_from_create_to_delete(access: dict[str, Any], cluster: arc_models.ConnectedCluster) -> None:
    wish = extension_models.Extension(
        properties=extension_models.ExtensionProperties(
            extension_type="microsoft.flux", configuration_protected_settings={"password": "hidden"}
        )
    )
    with KubernetesConfigurationExtensionsMgmtClient(**access) as client:
        created: Any = client.extensions.begin_create(*PLACE, "flux", wish).result()
        assert created.properties.provisioning_state == "Succeeded"
        assert created.properties.configuration_protected_settings == {"password": ""}
        assert [one.name for one in client.extensions.list(*PLACE)] == ["flux"]
        change = extension_models.PatchExtension(
            properties=extension_models.PatchExtensionProperties(release_train="Preview")
        )
        client.extensions.begin_update(*PLACE, "flux", change).result()
        changed: Any = client.extensions.get(*PLACE, "flux")
        assert changed.properties.release_train == "Preview"
        client.extensions.begin_delete(*PLACE, "flux").result()
        assert list(client.extensions.list(*PLACE)) == []


def test_a_flux_configuration_from_create_to_delete(
    access: dict[str, Any], cluster: arc_models.ConnectedCluster
) -> None:
    wish = flux_models.FluxConfiguration(
        properties=flux_models.FluxConfigurationProperties(
            scope="cluster",
            namespace="factory-line",
            source_kind="GitRepository",
            git_repository=flux_models.GitRepositoryDefinition(
                url="https://git.example/stamps", repository_ref=flux_models.RepositoryRefDefinition(commit="0123abcd")
            ),
            kustomizations={"line": flux_models.KustomizationDefinition(path="./factory-line")},
        )
    )
    with KubernetesConfigurationFluxConfigurationsMgmtClient(**access) as client:
        created: Any = client.flux_configurations.begin_create_or_update(*PLACE, "line", wish).result()
        assert created.properties.provisioning_state == "Succeeded"
        found: Any = client.flux_configurations.get(*PLACE, "line")
        assert found.properties.git_repository.repository_ref.commit == "0123abcd"
        assert [one.name for one in client.flux_configurations.list(*PLACE)] == ["line"]
        client.flux_configurations.begin_delete(*PLACE, "line").result()
        assert list(client.flux_configurations.list(*PLACE)) == []


def test_configurations_go_with_their_cluster(access: dict[str, Any], clusters: Any, key: str) -> None:
    clusters.begin_create_or_replace(GROUP, "site-0004", wanted(key)).result()
    wish = extension_models.Extension(properties=extension_models.ExtensionProperties(extension_type="microsoft.flux"))
    with KubernetesConfigurationExtensionsMgmtClient(**access) as client:
        client.extensions.begin_create(*PLACE, "flux", wish).result()
        clusters.begin_delete(GROUP, "site-0004").result()
        with pytest.raises(ResourceNotFoundError):
            client.extensions.get(*PLACE, "flux")
