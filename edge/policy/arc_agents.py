"""What the Arc agents' chart is told, and where it goes."""

from __future__ import annotations

from typing import Any

from edge.model.arc import ArcTarget, ClusterPlatform, ConnectedCluster

RELEASE = "azure-arc"
RELEASE_NAMESPACE = "azure-arc-release"
AGENT_NAMESPACE = "azure-arc"
CONFIG_MAP = "azure-clusterconfig"
KEY_SECRET = "azure-arc-connect-privatekey"  # noqa: S105 - the name of a Secret
KEY_FIELD = "privateKey"
MARK = "edge-platform.io/onboarding"
"""Annotation on the release's namespace: the onboarding that installs the agents. Written before anything of them is,
so that what a try that was cut off leaves behind is known to be ours, also when its resource in Azure is gone."""
CRD_GROUPS = frozenset({"arc.azure.com", "clusterconfig.azure.com"})
"""API groups of the agents' CustomResourceDefinitions. Helm leaves those behind when it uninstalls."""

_CLOUDS = {
    "management.azure.com": ("AZUREPUBLICCLOUD", "azure.com"),
    "management.usgovcloudapi.net": ("AZUREUSGOVERNMENTCLOUD", "azure.us"),
    "management.chinacloudapi.cn": ("AZURECHINACLOUD", "azure.cn"),
}
_PUBLIC = "management.azure.com"


def agent_values(
    target: ArcTarget, cluster: ConnectedCluster, private_key: str, platform: ClusterPlatform, cloud: str
) -> dict[str, Any]:
    """The chart's values. They hold the private key: they go to the cluster and nowhere else."""
    return {
        "global": {
            "subscriptionId": target.subscription_id,
            "resourceGroupName": target.resource_group,
            "resourceName": target.name,
            "location": target.location,
            "tenantId": cluster.tenant_id,
            "kubernetesDistro": platform.distribution,
            "kubernetesInfra": platform.infrastructure,
            "azureEnvironment": cloud,
            "onboardingPrivateKey": private_key,
        },
        "systemDefaultValues": {"spnOnboarding": False, "clusterconnect-agent": {"enabled": True}},
    }


def marked_namespace(work: str) -> dict[str, Any]:
    """The release's namespace with the mark of an onboarding."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": RELEASE_NAMESPACE, "annotations": {MARK: work}},
    }


def cloud_of(endpoint: str) -> str:
    """The agents' word for the cloud whose Resource Manager is at `endpoint`; a private one counts as public."""
    return _cloud(endpoint)[0]


def data_plane_of(endpoint: str, location: str) -> str:
    """Where the Arc data plane of a location is, in the clouds whose metadata do not say it."""
    return f"https://{location}.dp.kubernetesconfiguration.{_cloud(endpoint)[1]}"


def _cloud(endpoint: str) -> tuple[str, str]:
    host = endpoint.rstrip("/").rpartition("//")[2].lower()
    return _CLOUDS.get(host, _CLOUDS[_PUBLIC])
