"""Flux configurations on their way to sites: carried over while the agents can call, reported on while they can."""

from __future__ import annotations

from edge.lab.azure.connectivity import reachable
from edge.lab.azure.options import AzureOptions
from edge.lab.azure.store import Resource, Store

_BROUGHT = "brought"
_GONE = "flux_configurations_to_take"


def changed(resource: Resource) -> None:
    """The configuration is another one by now: the site has to get it."""
    resource.hidden[_BROUGHT] = False


def removed(store: Store, options: AzureOptions, cluster: Resource, config: str) -> None:
    """The configuration goes: from the site as soon as its agents can call."""
    cluster.hidden[_GONE] = [*cluster.hidden.get(_GONE, ()), config]
    _take(store, options, cluster)


def carry(store: Store, options: AzureOptions, cluster: Resource, resource: Resource) -> None:
    """Bring what is new to the site, and take down what it reports. Nothing happens while its agents cannot call."""
    if options.flux is None or not reachable(options, cluster):
        return
    if not resource.hidden.get(_BROUGHT):
        cluster.hidden[_GONE] = [one for one in cluster.hidden.get(_GONE, ()) if one != resource.body["name"]]
    _take(store, options, cluster)
    name, config, properties = str(cluster.body["name"]), str(resource.body["name"]), resource.properties
    if properties["provisioningState"] == "Deleting":
        return
    if not resource.hidden.get(_BROUGHT):
        properties["errorMessage"] = options.flux.bring(name, config, properties)
        resource.hidden[_BROUGHT] = True
    report = options.flux.look(name, config)
    if properties["errorMessage"]:
        report["complianceState"] = "Non-Compliant"
    properties.update(report)
    store.dirty = True


def _take(store: Store, options: AzureOptions, cluster: Resource) -> None:
    waiting = cluster.hidden.get(_GONE)
    if waiting and options.flux is not None and reachable(options, cluster):
        for config in waiting:
            options.flux.take(str(cluster.body["name"]), config)
        cluster.hidden[_GONE] = []
        store.dirty = True
