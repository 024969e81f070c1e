"""Azure Arc: connected clusters as resources of Azure Resource Manager, through Microsoft's own SDK.

Time-outs are always set, requests are retried in one place (`edge.clients.arc_retry`), long-running operations end
after `operation_s`, and every error is one of `edge.errors` with Azure's own code and message in it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.hybridkubernetes import ConnectedKubernetesClient
from azure.mgmt.hybridkubernetes import models as sdk

from edge.clients.arc_connection import ArcConnection
from edge.clients.arc_convert import found, wanted
from edge.clients.arc_errors import translated
from edge.clients.arc_polling import BoundedPolling, Progress, outcome
from edge.clients.http_date import moment
from edge.errors import NotFound, NotYet, OperationFailed, WriteConflict
from edge.model.arc import ArcTarget, ClusterPlatform, ConnectedCluster, Endpoint
from edge.policy.arc_agents import data_plane_of
from edge.policy.arc_endpoints import endpoints_of

_BUSY_EVERY_S = 2.0
_RESOURCES = "2021-04-01"
_METADATA = "2022-09-01"
_GENERIC = ClusterPlatform()
_UNKNOWN_RESOURCE = frozenset({"ResourceNotFound", "ResourceGroupNotFound"})


class ArcClient(ArcConnection[ConnectedKubernetesClient]):
    """The connected clusters of one subscription."""

    _make = ConnectedKubernetesClient
    _cloud: dict[str, Any] | None = None

    def get(self, target: ArcTarget) -> ConnectedCluster | None:
        """The connected cluster, or None when there is none (or not even its resource group)."""
        try:
            with translated(resource=target.resource_id):
                return found(self._sdk.connected_cluster.get(target.resource_group, target.name))
        except NotFound as error:
            if error.where.get("azure_code") in _UNKNOWN_RESOURCE:
                return None
            raise

    def list(self, resource_group: str = "") -> Iterator[ConnectedCluster]:
        """The connected clusters of a resource group (of the subscription, when none is named), page by page."""
        operations = self._sdk.connected_cluster
        with translated(resource_group=resource_group or "(all)"):
            pages = (
                operations.list_by_resource_group(resource_group)
                if resource_group
                else operations.list_by_subscription()
            )
            for resource in pages:
                yield found(resource)

    def put(
        self,
        target: ArcTarget,
        public_key: str,
        tags: Mapping[str, str],
        *,
        platform: ClusterPlatform = _GENERIC,
        progress: Progress | None = None,
    ) -> ConnectedCluster:
        """Create the connected cluster, or update it when the key is the one registered; waits until Azure is done.

        Raises OperationFailed with Azure's code and message, WriteConflict when another operation or another key is in
        the way, NotYet after `operation_s` seconds.
        """
        with translated(resource=target.resource_id):
            poller = self._sdk.connected_cluster.begin_create_or_replace(
                target.resource_group,
                target.name,
                wanted(target, public_key, tags, platform),
                polling=self._polling("azure-async-operation"),
            )
            return found(outcome(poller, progress))

    def delete(self, target: ArcTarget, *, progress: Progress | None = None) -> None:
        """Delete the connected cluster and wait until it is gone; it is fine when it is gone already.

        While Azure still works on it, as after a PUT that was given up, it is tried again for `busy_s` seconds.
        """
        until = time.monotonic() + self._patience.busy_s
        while True:
            try:
                return self._delete(target, progress)
            except WriteConflict:
                if time.monotonic() + _BUSY_EVERY_S > until:
                    raise
            time.sleep(_BUSY_EVERY_S)

    def _delete(self, target: ArcTarget, progress: Progress | None) -> None:
        with translated(resource=target.resource_id):
            poller = self._sdk.connected_cluster.begin_delete(
                target.resource_group, target.name, polling=self._polling("location")
            )
            outcome(poller, progress)

    def user_credential(self, target: ArcTarget) -> str:
        """The kubeconfig with which the cluster is reached through Azure, as text. It holds a secret."""
        wish = sdk.ListClusterUserCredentialProperties(
            authentication_method=sdk.AuthenticationMethod.TOKEN, client_proxy=False
        )
        with translated(resource=target.resource_id):
            results = self._sdk.connected_cluster.list_cluster_user_credential(target.resource_group, target.name, wish)
        for one in results.kubeconfigs or ():
            if one.value:
                return bytes(one.value).decode()
        raise NotFound("Azure has no credential for this cluster", resource=target.resource_id)

    def wait_connected(
        self, target: ArcTarget, *, within_s: float, every_s: float = 5.0, progress: Progress | None = None
    ) -> ConnectedCluster:
        """The connected cluster once its agents have called in.

        Raises NotYet after `within_s` seconds, with the last state; NotFound when the resource is gone; OperationFailed
        when its identity has expired, which no waiting heals.
        """
        began = time.monotonic()
        while True:
            cluster = self.get(target)
            if cluster is None:
                raise NotFound("The connected cluster is gone from Azure", resource=target.resource_id)
            waited = time.monotonic() - began
            if progress is not None:
                progress(waited, cluster.connectivity)
            if cluster.connectivity == "Connected":
                return cluster
            _check_still_possible(cluster)
            if waited + every_s > within_s:
                raise _not_connected(cluster, within_s)
            time.sleep(every_s)

    def ensure_provider(self, namespace: str = "Microsoft.Kubernetes", *, within_s: float = 300.0) -> None:
        """Have the subscription register a resource provider, and wait until it is registered."""
        path = f"/subscriptions/{self.subscription_id}/providers/{namespace}"
        if self._registered(self._ask("GET", path)):
            return
        state = self._ask("POST", f"{path}/register")
        until = time.monotonic() + within_s
        while not self._registered(state):
            if time.monotonic() > until:
                raise NotYet(f"{namespace} is still being registered after {within_s:g} s", provider=namespace)
            time.sleep(1.0)
            state = self._ask("GET", path)

    def ensure_group(self, name: str, location: str) -> None:
        """Create the resource group unless it is there, wherever it is."""
        path = f"/subscriptions/{self.subscription_id}/resourcegroups/{name}"
        try:
            self._ask("GET", path)
        except NotFound:
            self._ask("PUT", path, {"location": location})

    def agents_chart(self, location: str, *, release_train: str = "stable") -> str:
        """Where the agents' Helm chart is: `host/path/of/repository:tag`, as the Arc data plane of a location says."""
        answer = self._ask(
            "POST",
            f"{self._data_plane(location)}/azure-arc-k8sagents/GetLatestHelmPackagePath",
            api_version="2019-11-01-preview",
            releaseTrain=release_train,
        )
        path = answer.get("repositoryPath")
        if not isinstance(path, str) or not path:
            raise NotFound("The Arc data plane names no chart for the agents", location=location)
        return path

    def clock(self) -> datetime | None:
        """What Azure takes for the time, to the second; None when it does not say."""
        return moment(self._send("GET", "/metadata/endpoints", api_version=_METADATA).headers.get("Date", ""))

    def endpoints(self, location: str) -> tuple[Endpoint, ...]:
        """The addresses that the agents of a location must reach."""
        known = endpoints_of(self.endpoint, location)
        if len(known) > 1:
            return known
        metadata = self._metadata()
        named = [
            str(metadata.get("authentication", {}).get("loginEndpoint") or ""),
            self._data_plane(location),
            self.agents_chart(location),
        ]
        return endpoints_of(self.endpoint, location, named)

    def _metadata(self) -> dict[str, Any]:
        """What the cloud says of itself; asked once, since it is the same for every site."""
        if self._cloud is None:
            try:
                self._cloud = self._ask("GET", "/metadata/endpoints", api_version=_METADATA)
            except NotFound:
                self._cloud = {}
        return self._cloud

    def _data_plane(self, location: str) -> str:
        """What the cloud's metadata say; public clouds follow a pattern instead."""
        named = self._metadata().get("dataplaneEndpoints", {}).get("arcConfigEndpoint")
        if named:
            return str(named).rstrip("/")
        return data_plane_of(self.endpoint, location)

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, api_version: str = _RESOURCES, **query: str
    ) -> dict[str, Any]:
        """What one request through the SDK's pipeline gave, for what has no SDK of its own here."""
        answer = self._send(method, path, body, api_version, **query)
        with translated(url=path):
            data = answer.json() if answer.content else {}
        return data if isinstance(data, dict) else {}

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, api_version: str = _RESOURCES, **query: str
    ) -> HttpResponse:
        url = path if path.startswith("https://") else f"{self.endpoint}{path}"
        request = HttpRequest(method, url, params={"api-version": api_version, **query}, json=body)
        with translated(url=url):
            answer: HttpResponse = self._sdk.send_request(request)
            answer.raise_for_status()
        return answer

    @staticmethod
    def _registered(provider: Mapping[str, Any]) -> bool:
        return provider.get("registrationState") == "Registered"

    def _polling(self, final_state: str) -> BoundedPolling:
        return BoundedPolling(self._patience.operation_s, {"final-state-via": final_state})


def _check_still_possible(cluster: ConnectedCluster) -> None:
    if cluster.connectivity == "Expired":
        raise OperationFailed(
            "The cluster's identity in Azure has expired",
            remedy="Delete the connected cluster and connect it anew",
            resource=cluster.resource_id,
        )


def _not_connected(cluster: ConnectedCluster, within_s: float) -> NotYet:
    return NotYet(
        f"The agents have not called in within {within_s:g} s",
        remedy="Look at the pods in the namespace azure-arc, and at the site's way out to Azure",
        resource=cluster.resource_id,
        state=cluster.connectivity,
    )
