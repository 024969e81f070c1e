"""How the pretend Azure hears of the Arc agents on a site: from what runs in its cluster, and only if it can call."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from edge.lab.azure.agents import AgentsSeen
from edge.lab.kube.resources import builtin
from edge.lab.kube.store import SiteStore
from edge.lab.nodes import KUBERNETES_VERSION
from edge.lab.weather import FaultKind, way_out
from edge.lab.world import World
from edge.policy import quantity

NAMESPACE = "azure-arc"
CONFIG = "azure-clusterconfig"
KEY_SECRET = "azure-arc-connect-privatekey"  # noqa: S105 - the name of a Secret
_PLACES = ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZURE_RESOURCE_NAME")


class AgentsLook:
    """Looks at a site's cluster. None: no agents there, or they cannot call Azure, which is at `host`."""

    def __init__(self, world: World, host: str) -> None:
        self._world = world
        self._host = host

    def __call__(self, name: str) -> AgentsSeen | None:
        """What the agents of this site tell Azure now."""
        site = self._world.find(name)
        if site is None or site.suffers(FaultKind.OFFLINE) or way_out(site.faults, self._host):
            return None
        store = self._world.awake(site)
        config = store.get(builtin("configmaps"), NAMESPACE, CONFIG)
        return _seen(store, config.get("data") or {}) if config else None


def _seen(store: SiteStore, data: Mapping[str, str]) -> AgentsSeen:
    nodes = store.list(builtin("nodes"))
    return AgentsSeen(
        resource_id=_resource_id(data),
        public_key=_public_key(store),
        ready=_all_available(store),
        agent_version=data.get("AZURE_ARC_AGENT_VERSION", ""),
        kubernetes_version=KUBERNETES_VERSION.removeprefix("v"),
        nodes=len(nodes),
        cores=sum(int(quantity.parse(node["status"]["capacity"]["cpu"])) for node in nodes),
    )


def _resource_id(data: Mapping[str, str]) -> str:
    subscription, group, name = (data.get(word, "") for word in _PLACES)
    return (
        f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Kubernetes/connectedClusters/{name}"
    )


def _all_available(store: SiteStore) -> bool:
    deployments = store.list(builtin("deployments", "apps"), NAMESPACE)
    return bool(deployments) and all(map(_available, deployments))


def _available(deployment: Mapping[str, Any]) -> bool:
    conditions = (deployment.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Available" and one["status"] == "True" for one in conditions)


def _public_key(store: SiteStore) -> str:
    """Base64 of DER SEQUENCE(n, e) of the private key in the cluster; "" when there is none that can be read."""
    secret = store.get(builtin("secrets"), NAMESPACE, KEY_SECRET) or {}
    for value in (secret.get("data") or {}).values():
        try:
            # Without the proof that it is a good key, which costs as much as making one.
            key = serialization.load_pem_private_key(base64.b64decode(value), None, unsafe_skip_rsa_key_validation=True)
        except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm):
            continue
        if isinstance(key, rsa.RSAPrivateKey):
            der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
            return base64.b64encode(der).decode()
    return ""
