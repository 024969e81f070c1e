"""Flux configurations of connected clusters, through Microsoft's SDK: what a site is to pull, and what it reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from azure.mgmt.kubernetesconfiguration.fluxconfigurations import (
    KubernetesConfigurationFluxConfigurationsMgmtClient as FluxSdk,
)

from edge.clients.arc_connection import ArcConnection
from edge.clients.arc_errors import translated
from edge.clients.arc_polling import BoundedPolling, outcome
from edge.errors import NotFound
from edge.model.arc import ArcTarget

_PROVIDER, _CLUSTERS = "Microsoft.Kubernetes", "connectedClusters"
Properties = Mapping[str, Any]
"""The properties of a fluxConfiguration in Azure's own form."""


class ArcFlux(ArcConnection[FluxSdk]):
    """The Flux configurations of one subscription's clusters."""

    _make = FluxSdk

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
