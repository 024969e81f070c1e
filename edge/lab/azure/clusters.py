"""Connected clusters: created, updated and deleted over time, and connected when their agents really run."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from typing import Any

from edge.lab.azure import cluster_body
from edge.lab.azure.connectivity import refresh
from edge.lab.azure.http import Answer, ArmFault, Request, page
from edge.lab.azure.long_running import accepted, created, refuse_if_busy
from edge.lab.azure.options import AzureOptions
from edge.lab.azure.providers import Providers
from edge.lab.azure.routes import CLUSTER, CLUSTERS, GROUP, SUBSCRIPTION, Route
from edge.lab.azure.store import DELETE, Operation, Resource, Store

VERSIONS = frozenset({"2026-05-01"})
TYPE = "Microsoft.Kubernetes/connectedClusters"


class Clusters:
    """The connectedClusters resource type."""

    def __init__(
        self, store: Store, options: AzureOptions, providers: Providers, kubeconfig_for: Callable[[str], str]
    ) -> None:
        self._store = store
        self._options = options
        self._providers = providers
        self._kubeconfig_for = kubeconfig_for

    def routes(self) -> list[Route]:
        """The type's addresses."""
        return [
            Route("GET", SUBSCRIPTION + CLUSTERS, self._list, VERSIONS),
            Route("GET", GROUP + CLUSTERS, self._list_group, VERSIONS),
            Route("GET", CLUSTER, self._get, VERSIONS),
            Route("PUT", CLUSTER, self._put, VERSIONS),
            Route("PATCH", CLUSTER, self._patch, VERSIONS),
            Route("DELETE", CLUSTER, self._delete, VERSIONS),
            Route("POST", CLUSTER + "/listClusterUserCredential", self._credential, VERSIONS),
        ]

    def _list(self, request: Request, names: dict[str, str]) -> Answer:
        return self._page(request, f"/subscriptions/{names['subscription']}/")

    def _list_group(self, request: Request, names: dict[str, str]) -> Answer:
        self._providers.check_group(names)
        return self._page(request, f"/subscriptions/{names['subscription']}/resourceGroups/{names['group']}/")

    def _page(self, request: Request, prefix: str) -> Answer:
        found = [self._shown(resource) for resource in self._store.of_type(TYPE, prefix)]
        return page(request, found, self._options.page_size)

    def _get(self, _request: Request, names: dict[str, str]) -> Answer:
        self._providers.check_group(names)
        return Answer(200, self._shown(self._store.get(cluster_id(names))))

    def _shown(self, resource: Resource) -> dict[str, Any]:
        refresh(self._store, self._options, resource)
        return resource.body

    def _put(self, request: Request, names: dict[str, str]) -> Answer:
        self._providers.check_registered("Microsoft.Kubernetes")
        self._providers.check_group(names)
        body = request.json()
        current = self._store.find(cluster_id(names))
        cluster_body.check_put(body, current.body if current else None)
        refuse_if_busy(self._store, cluster_id(names))
        if current is None:
            return self._create(request, names, body)
        return self._replace(request, current, body)

    def _create(self, request: Request, names: dict[str, str], body: dict[str, Any]) -> Answer:
        resource = Resource(self._new_body(names, body))
        self._store.put(resource)
        operation = self._store.begin("put", resource.id, self._options.provisioning_s)
        return created(request, resource, operation, self._options)

    def _new_body(self, names: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        stamp = self._store.now().isoformat()
        who = {"createdBy": "edge", "createdByType": "ManagedIdentity", "createdAt": stamp}
        return {
            "id": cluster_id(names),
            "name": names["cluster"],
            "type": TYPE,
            "location": cluster_body.plain(body["location"]),
            "tags": dict(body.get("tags") or {}),
            **({"kind": body["kind"]} if body.get("kind") else {}),
            "identity": self._identity(body["identity"]["type"]),
            "systemData": who,
            "properties": {
                **_writable(body["properties"]),
                "provisioningState": "Accepted",
                "connectivityStatus": "Connecting",
                "totalNodeCount": 0,
                "totalCoreCount": 0,
            },
        }

    def _identity(self, kind: str) -> dict[str, str]:
        if kind == "None":
            return {"type": "None"}
        return {"type": kind, "principalId": str(uuid.uuid4()), "tenantId": self._options.tenant_id}

    def _replace(self, request: Request, current: Resource, body: dict[str, Any]) -> Answer:
        wanted = _writable(body["properties"])
        key = "agentPublicKeyCertificate"
        if wanted.get(key) != current.properties.get(key):
            raise ArmFault(
                409,
                "AgentPublicKeyConflict",
                f"The connected cluster '{current.body['name']}' is registered with another agent public key. Delete "
                "it before connecting another cluster under this name.",
            )
        tags = dict(body.get("tags") or {})
        if tags == current.body["tags"] and wanted == _writable(current.properties) and _succeeded(current):
            return Answer(200, self._shown(current))
        current.body["tags"] = tags
        return self._change(request, current, wanted)

    def _change(self, request: Request, current: Resource, wanted: dict[str, Any]) -> Answer:
        for name in cluster_body.WRITABLE - wanted.keys():
            current.properties.pop(name, None)
        current.properties.update(wanted, provisioningState="Updating")
        operation = self._store.begin("put", current.id, self._options.provisioning_s)
        return created(request, current, operation, self._options, status=200)

    def _patch(self, request: Request, names: dict[str, str]) -> Answer:
        current = self._store.get(cluster_id(names))
        body = request.json()
        cluster_body.check_patch(body)
        refuse_if_busy(self._store, current.id)
        if body.get("tags") is not None:
            current.body["tags"] = dict(body["tags"])
        self._store.put(current)
        if not body.get("properties"):
            return Answer(200, self._shown(current))
        current.properties.update(body["properties"], provisioningState="Updating")
        operation = self._store.begin("patch", current.id, self._options.provisioning_s)
        return accepted(request, current, operation, self._options)

    def _delete(self, request: Request, names: dict[str, str]) -> Answer:
        current = self._store.find(cluster_id(names))
        if current is None:
            return Answer(204)
        running = self._store.pending(current.id)
        if running is None or running.kind != DELETE:
            refuse_if_busy(self._store, current.id)
            current.properties["provisioningState"] = "Deleting"
            running = self._store.begin(DELETE, current.id, self._options.deleting_s)
        return accepted(request, current, running, self._options)

    def _credential(self, request: Request, names: dict[str, str]) -> Answer:
        current = self._store.get(cluster_id(names))
        method = request.json().get("authenticationMethod")
        if method not in {"Token", "AAD"}:
            raise ArmFault(400, "InvalidRequestContent", "The request content was invalid: 'authenticationMethod'.")
        try:
            text = self._kubeconfig_for(str(current.body["name"]))
        except KeyError as error:
            raise ArmFault(
                400,
                "ClusterNotReachable",
                f"No cluster calls in as '{current.body['name']}', so there is no way to it.",
            ) from error
        value = base64.b64encode(text.encode()).decode()
        return Answer(200, {"kubeconfigs": [{"name": "credentialName1", "value": value}]})


def cluster_id(names: dict[str, str]) -> str:
    """The resource id that a path names."""
    return f"/subscriptions/{names['subscription']}/resourceGroups/{names['group']}/providers/{TYPE}/{names['cluster']}"


def finish(operation: Operation, resource: Resource) -> None:
    """What the end of an operation does to a resource of any type."""
    resource.properties["provisioningState"] = operation.status


def _writable(properties: dict[str, Any]) -> dict[str, Any]:
    """What callers decide; of the agents' profile, not the state that the service adds."""
    wanted = {name: properties[name] for name in properties if name in cluster_body.WRITABLE}
    profile = {
        word: value for word, value in (wanted.pop("arcAgentProfile", None) or {}).items() if word != "agentState"
    }
    return {**wanted, "arcAgentProfile": profile} if profile else wanted


def _succeeded(resource: Resource) -> bool:
    return bool(resource.properties["provisioningState"] == "Succeeded")
