"""Flux configurations of connected clusters, through Microsoft's SDK: what a site is to pull, and what it reports."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, cast

from azure.core.credentials import TokenCredential
from azure.mgmt.kubernetesconfiguration.fluxconfigurations import (
    KubernetesConfigurationFluxConfigurationsMgmtClient as FluxSdk,
)

from edge.clients.arc import ArcPatience
from edge.clients.arc_errors import translated
from edge.clients.arc_polling import BoundedPolling, outcome
from edge.clients.arc_retry import RequestRetries
from edge.errors import NotFound
from edge.model.arc import ArcTarget

_PROVIDER, _CLUSTERS = "Microsoft.Kubernetes", "connectedClusters"
_PATIENT = ArcPatience()
Properties = Mapping[str, Any]
"""The properties of a fluxConfiguration in Azure's own form."""


class ArcFlux:
    """The Flux configurations of one subscription's clusters. Safe to share between threads; close it at the end.

    `endpoint` is Resource Manager's address, `ca_file` a CA for it when it is not a public one. The credential is
    closed with the client.
    """

    def __init__(
        self,
        endpoint: str,
        subscription_id: str,
        credential: TokenCredential,
        ca_file: str | None = None,
        patience: ArcPatience = _PATIENT,
    ) -> None:
        base = endpoint.rstrip("/")
        self._credential = credential
        self._patience = patience
        self._sdk = FluxSdk(
            credential,
            subscription_id,
            base_url=base,
            credential_scopes=[f"{base}/.default"],
            retry_policy=RequestRetries(patience.retry),
            connection_verify=ca_file or True,
            connection_timeout=patience.connect_s,
            read_timeout=patience.read_s,
            user_agent="edge-cluster-platform",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections, the credential's too."""
        self._sdk.close()
        close = getattr(self._credential, "close", None)
        if close is not None:
            close()

    def get(self, target: ArcTarget, name: str) -> Properties | None:
        """The configuration's properties; None when there is none of this name."""
        try:
            with translated(resource=target.resource_id, configuration=name):
                found = self._sdk.flux_configurations.get(*_place(target), name)
        except NotFound:
            return None
        return cast(dict[str, Any], found.as_dict().get("properties") or {})

    def put(self, target: ArcTarget, name: str, properties: Properties) -> None:
        """Create or replace the configuration, and wait until Azure has taken it; the site may be away.

        Raises OperationFailed with Azure's words, WriteConflict while another change of it is under way, NotYet after
        `operation_s` seconds.
        """
        with translated(resource=target.resource_id, configuration=name):
            poller = self._sdk.flux_configurations.begin_create_or_update(
                *_place(target), name, {"properties": dict(properties)}, polling=self._polling()
            )
            outcome(poller)

    def delete(self, target: ArcTarget, name: str) -> None:
        """Remove the configuration and wait until Azure has done so; it is fine when there is none."""
        with translated(resource=target.resource_id, configuration=name):
            outcome(self._sdk.flux_configurations.begin_delete(*_place(target), name, polling=self._polling()))

    def _polling(self) -> BoundedPolling:
        return BoundedPolling(self._patience.operation_s, {"final-state-via": "azure-async-operation"})


def _place(target: ArcTarget) -> tuple[str, str, str, str]:
    return target.resource_group, _PROVIDER, _CLUSTERS, target.name
