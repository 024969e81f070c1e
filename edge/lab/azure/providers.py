"""What a subscription has: registered resource providers, resource groups, and its cloud's metadata."""

from __future__ import annotations

from typing import Any

from edge.lab.azure.cluster_body import check_tags, plain
from edge.lab.azure.http import Answer, ArmFault, Request, page
from edge.lab.azure.options import AzureOptions
from edge.lab.azure.registry import DATA_PLANE
from edge.lab.azure.routes import GROUP, SUBSCRIPTION, Route
from edge.lab.azure.store import Resource, Store

PROVIDERS = ("Microsoft.Kubernetes", "Microsoft.KubernetesConfiguration", "Microsoft.ExtendedLocation")
GROUP_TYPE = "Microsoft.Resources/resourceGroups"
PROVIDER_TYPE = "Microsoft.Resources/providers"
RESOURCES_VERSIONS = frozenset({"2016-02-01", "2021-04-01", "2022-09-01", "2024-11-01", "2025-04-01"})


class Providers:
    """Providers, resource groups and cloud metadata of the one subscription."""

    def __init__(self, store: Store, options: AzureOptions) -> None:
        self._store = store
        self._options = options
        self._base = f"/subscriptions/{options.subscription_id}"
        if store.find(self._group_id(options.resource_group)) is None:
            self._put_group(options.resource_group, options.location, {})
        for name in PROVIDERS:
            if store.find(self._provider_id(name)) is None:
                self.set_registered(name, registered=True)

    def routes(self) -> list[Route]:
        """The addresses of Microsoft.Resources that connecting a cluster uses."""
        one = SUBSCRIPTION + "/providers/{provider}"
        return [
            Route("GET", "/metadata/endpoints", self._metadata, open=True),
            Route("GET", one, self._provider, RESOURCES_VERSIONS),
            Route("POST", one + "/register", self._register, RESOURCES_VERSIONS),
            Route("POST", one + "/unregister", self._unregister, RESOURCES_VERSIONS),
            Route("GET", SUBSCRIPTION + "/resourceGroups", self._groups, RESOURCES_VERSIONS),
            Route("GET", GROUP, self._get_group, RESOURCES_VERSIONS),
            Route("PUT", GROUP, self._create_group, RESOURCES_VERSIONS),
        ]

    def check_subscription(self, names: dict[str, str]) -> None:
        """Refuse addresses of another subscription.

        Raises:
            ArmFault: 404.
        """
        given = names.get("subscription", self._options.subscription_id)
        if given.lower() != self._options.subscription_id:
            raise ArmFault(404, "SubscriptionNotFound", f"The subscription '{given}' could not be found.")

    def check_group(self, names: dict[str, str]) -> None:
        """Refuse addresses below a resource group that does not exist.

        Raises:
            ArmFault: 404.
        """
        if self._store.find(self._group_id(names["group"])) is None:
            raise ArmFault(404, "ResourceGroupNotFound", f"Resource group '{names['group']}' could not be found.")

    def check_registered(self, provider: str) -> None:
        """Refuse to create a resource whose provider is not registered.

        Raises:
            ArmFault: 409.
        """
        if self._store.get(self._provider_id(provider)).body["registrationState"] != "Registered":
            raise ArmFault(
                409,
                "MissingSubscriptionRegistration",
                f"The subscription is not registered to use namespace '{provider}'. See https://aka.ms/rps-not-found "
                "for how to register subscriptions.",
            )

    def set_registered(self, provider: str, *, registered: bool) -> Resource:
        """Register or unregister a provider."""
        resource = Resource(
            {
                "id": self._provider_id(provider),
                "namespace": provider,
                "type": PROVIDER_TYPE,
                "registrationState": "Registered" if registered else "NotRegistered",
                "registrationPolicy": "RegistrationRequired",
            }
        )
        self._store.put(resource)
        return resource

    def _provider_id(self, name: str) -> str:
        return f"{self._base}/providers/{name}"

    def _group_id(self, name: str) -> str:
        return f"{self._base}/resourceGroups/{name}"

    def _provider(self, _request: Request, names: dict[str, str]) -> Answer:
        found = self._store.find(self._provider_id(names["provider"]))
        if found is None:
            raise ArmFault(404, "InvalidResourceNamespace", f"The resource namespace '{names['provider']}' is invalid.")
        return Answer(200, found.body)

    def _register(self, request: Request, names: dict[str, str]) -> Answer:
        return self._turn(request, names, registered=True)

    def _unregister(self, request: Request, names: dict[str, str]) -> Answer:
        return self._turn(request, names, registered=False)

    def _turn(self, request: Request, names: dict[str, str], *, registered: bool) -> Answer:
        known = self._provider(request, names).body
        return Answer(200, self.set_registered(known["namespace"], registered=registered).body)

    def _groups(self, request: Request, _names: dict[str, str]) -> Answer:
        found = [resource.body for resource in self._store.of_type(GROUP_TYPE)]
        return page(request, found, self._options.page_size)

    def _get_group(self, _request: Request, names: dict[str, str]) -> Answer:
        self.check_group(names)
        return Answer(200, self._store.get(self._group_id(names["group"])).body)

    def _create_group(self, request: Request, names: dict[str, str]) -> Answer:
        body = request.json()
        location = body.get("location")
        if not isinstance(location, str) or not location:
            raise ArmFault(400, "LocationRequired", "The location property is required for this definition.")
        check_tags(body.get("tags"))
        current = self._store.find(self._group_id(names["group"]))
        if current is not None and current.body["location"] != plain(location):
            raise ArmFault(
                409,
                "InvalidResourceGroupLocation",
                f"Invalid resource group location '{location}'. The Resource group already exists in location "
                f"'{current.body['location']}'.",
            )
        group = self._put_group(names["group"], plain(location), dict(body.get("tags") or {}))
        return Answer(200 if current else 201, group.body)

    def _put_group(self, name: str, location: str, tags: dict[str, str]) -> Resource:
        body: dict[str, Any] = {
            "id": self._group_id(name),
            "name": name,
            "type": GROUP_TYPE,
            "location": location,
            "tags": tags,
            "properties": {"provisioningState": "Succeeded"},
        }
        group = Resource(body)
        self._store.put(group)
        return group

    def _metadata(self, request: Request, _names: dict[str, str]) -> Answer:
        return Answer(
            200,
            {
                "name": "EdgeLab",
                "resourceManager": request.base_url,
                "authentication": {
                    "loginEndpoint": request.base_url,
                    "audiences": [request.base_url],
                    "tenant": self._options.tenant_id,
                },
                "dataplaneEndpoints": {"arcConfigEndpoint": request.base_url + DATA_PLANE},
                "suffixes": {},
            },
        )
