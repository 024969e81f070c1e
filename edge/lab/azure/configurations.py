"""Extensions and Flux configurations of a connected cluster: kept, provisioned, their secrets never shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge.lab.azure import flux
from edge.lab.azure.clusters import cluster_id
from edge.lab.azure.http import Answer, ArmFault, Request, page
from edge.lab.azure.long_running import pause, refuse_if_busy
from edge.lab.azure.options import AzureOptions
from edge.lab.azure.providers import Providers
from edge.lab.azure.routes import CONFIGURATION, Route
from edge.lab.azure.store import DELETE, Operation, Resource, Store

PROVIDER = "Microsoft.KubernetesConfiguration"


@dataclass(frozen=True)
class Kind:
    """One of the two types: `required` properties, `secret` ones whose values are hidden, what the service adds."""

    name: str
    versions: frozenset[str]
    required: tuple[str, ...]
    secret: str
    added: dict[str, Any]

    @property
    def type(self) -> str:
        """The ARM type."""
        return f"{PROVIDER}/{self.name}"


EXTENSIONS = Kind(
    name="extensions",
    versions=frozenset({"2025-03-01"}),
    required=("extensionType",),
    secret="configurationProtectedSettings",  # noqa: S106 - the name of a property, not a password
    added={"isSystemExtension": False, "statuses": []},
)
FLUX = Kind(
    name="fluxConfigurations",
    versions=frozenset({"2025-04-01"}),
    required=("sourceKind", "kustomizations"),
    secret="configurationProtectedSettings",  # noqa: S106 - as above
    added={"complianceState": "Pending", "statuses": [], "suspend": False},
)

_REPORTED = frozenset({"complianceState", "statuses", "sourceSyncedCommitId", "sourceUpdatedAt", "statusUpdatedAt"})
"""What the site said last stays until it says something else."""


class Configurations:
    """One type of configuration below connected clusters."""

    def __init__(self, kind: Kind, store: Store, options: AzureOptions, providers: Providers) -> None:
        self._kind = kind
        self._store = store
        self._options = options
        self._providers = providers

    def routes(self) -> list[Route]:
        """The type's addresses."""
        base = f"{CONFIGURATION}/{self._kind.name}"
        one = base + "/{item}"
        versions = self._kind.versions
        return [
            Route("GET", base, self._list, versions),
            Route("GET", one, self._get, versions),
            Route("PUT", one, self._put, versions),
            Route("PATCH", one, self._patch, versions),
            Route("DELETE", one, self._delete, versions),
            Route("GET", one + "/operations/{operation}", self._operation, versions),
        ]

    def _list(self, request: Request, names: dict[str, str]) -> Answer:
        cluster = self._store.get(cluster_id(names))
        resources = list(self._store.of_type(self._kind.type, cluster.id + "/"))
        for resource in resources:
            self._carry(cluster, resource)
        found = [resource.body for resource in resources]
        return page(request, found, self._options.page_size)

    def _get(self, _request: Request, names: dict[str, str]) -> Answer:
        cluster = self._store.get(cluster_id(names))
        resource = self._store.get(self._id(names))
        self._carry(cluster, resource)
        return Answer(200, resource.body)

    def _put(self, request: Request, names: dict[str, str]) -> Answer:
        self._providers.check_registered(PROVIDER)
        cluster = self._store.get(cluster_id(names))
        properties = self._properties(request.json())
        for name in self._kind.required:
            if not properties.get(name):
                raise ArmFault(400, "InvalidRequestContent", f"The property 'properties.{name}' is required.")
        refuse_if_busy(self._store, self._id(names))
        current = self._store.find(self._id(names))
        resource = self._resource(names, properties)
        if current is not None and self._kind is FLUX:
            said = _REPORTED & current.properties.keys()
            resource.properties.update({word: current.properties[word] for word in said})
        self._store.put(resource)
        answer = self._begun(request, resource, "put", 200 if current else 201)
        self._carry(cluster, resource)
        return answer

    def _patch(self, request: Request, names: dict[str, str]) -> Answer:
        current = self._store.get(self._id(names))
        refuse_if_busy(self._store, current.id)
        properties = self._properties(request.json())
        self._hide(current, properties)
        current.properties.update(properties, provisioningState="Updating")
        flux.changed(current)
        return self._begun(request, current, "patch", 202)

    def _delete(self, request: Request, names: dict[str, str]) -> Answer:
        current = self._store.find(self._id(names))
        if current is None:
            return Answer(204)
        running = self._store.pending(current.id)
        if running is None or running.kind != DELETE:
            refuse_if_busy(self._store, current.id)
            current.properties["provisioningState"] = "Deleting"
            if self._kind is FLUX:
                flux.removed(self._store, self._options, self._store.get(cluster_id(names)), names["item"])
        return self._begun(request, current, DELETE, 202)

    def _operation(self, request: Request, names: dict[str, str]) -> Answer:
        operation = self._store.operation(names["operation"])
        headers = pause(self._options.retry_after_s) if operation.status == "InProgress" else {}
        return Answer(200, operation.body(request.path), headers)

    def _carry(self, cluster: Resource, resource: Resource) -> None:
        if self._kind is FLUX:
            flux.carry(self._store, self._options, cluster, resource)

    def _begun(self, request: Request, resource: Resource, kind: str, status: int) -> Answer:
        seconds = self._options.deleting_s if kind == DELETE else self._options.provisioning_s
        running = self._store.pending(resource.id) or self._store.begin(kind, resource.id, seconds)
        return Answer(status, None if status == 202 else resource.body, self._headers(request, resource, running))

    def _headers(self, request: Request, resource: Resource, operation: Operation) -> dict[str, str]:
        link = request.link(f"{resource.id}/operations/{operation.id}")
        return {"Azure-AsyncOperation": link, **pause(self._options.retry_after_s)}

    def _properties(self, body: dict[str, Any]) -> dict[str, Any]:
        properties = body.get("properties")
        if not isinstance(properties, dict):
            raise ArmFault(400, "InvalidRequestContent", "The property 'properties' is required.")
        return dict(properties)

    def _resource(self, names: dict[str, str], properties: dict[str, Any]) -> Resource:
        state = {"provisioningState": "Creating", **self._kind.added}
        body = {"id": self._id(names), "name": names["item"], "type": self._kind.type, "properties": {}}
        resource = Resource(body)
        self._hide(resource, properties)
        body["properties"] = {**properties, **state}
        return resource

    def _hide(self, resource: Resource, properties: dict[str, Any]) -> None:
        secrets = properties.get(self._kind.secret)
        if isinstance(secrets, dict):
            resource.hidden[self._kind.secret] = secrets
            properties[self._kind.secret] = dict.fromkeys(secrets, "")

    def _id(self, names: dict[str, str]) -> str:
        return f"{cluster_id(names)}/providers/{self._kind.type}/{names['item']}"
