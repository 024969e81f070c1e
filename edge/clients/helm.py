"""The Arc agents on a cluster: a Helm release that is installed, looked at, and taken away without leftovers.

The private key goes from the caller into the chart's values and so into the cluster: into the agents' Secret, and into
the Secret in which Helm keeps the release. It is written nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from edge.clients.helm_release import HelmRelease
from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.errors import InvalidInput, NotFound, NotYet, Transient
from edge.model.arc import AgentsFound, AgentsOnCluster
from edge.model.kube import ObjectRef
from edge.policy.arc_agents import (
    AGENT_NAMESPACE,
    CONFIG_MAP,
    CRD_GROUPS,
    KEY_FIELD,
    KEY_SECRET,
    MARK,
    RELEASE,
    RELEASE_NAMESPACE,
    marked_namespace,
)
from edge.policy.arc_keys import public_key_of

_LOOK_EVERY_S = 0.5
_HELM_S = 600.0
"""Helm makes a dozen requests and runs the chart's hooks."""
_RESOURCE = "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Kubernetes/connectedClusters/{}"
_PLACE = ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZURE_RESOURCE_NAME")
Progress = Callable[[float, str], None]
_RELEASE_LABELS = f"owner=helm,name={RELEASE}"


def install_arc_agents(kubeconfig_text: str, archive: bytes, values: Mapping[str, Any]) -> str:
    """Install or upgrade the agents; the chart's version. Whether they get ready is for `wait_agents_ready` to see.

    `archive` is the chart that the Arc data plane names (`edge.clients.oci.pull_chart`), `values` come from
    `edge.policy.arc_agents.agent_values`. After a failure take away what is there with `uninstall_arc_agents`.
    """
    release = HelmRelease(kubeconfig_text, RELEASE, RELEASE_NAMESPACE)
    return release.put(archive, values, within_s=_HELM_S, wait=False)


def wait_agents_ready(
    site: SiteClient, *, within_s: float, away_s: float = 120.0, progress: Progress | None = None
) -> None:
    """Wait until every Deployment of the agents has a pod that is available.

    Raises NotYet after `within_s` seconds, naming those that have none, and what the client raises when the site has
    not answered for `away_s` seconds. `progress` gets the seconds waited and a word about what is missing.
    """
    began = heard = time.monotonic()
    while True:
        try:
            missing, heard = _not_ready(site), time.monotonic()
        except Transient as error:
            if time.monotonic() - heard > away_s:
                raise
            missing = f"the site does not answer: {error.code}"
        waited = time.monotonic() - began
        if not missing:
            return
        if progress is not None:
            progress(waited, missing)
        if waited > within_s:
            raise NotYet(f"The agents are not ready after {within_s:g} s", site=site.site or None, agents=missing)
        time.sleep(_LOOK_EVERY_S)


def _not_ready(site: SiteClient) -> str:
    agents = list(site.list("apps/v1", "Deployment", namespace=AGENT_NAMESPACE))
    if not agents:
        return "no agent is there"
    waiting = [one["metadata"]["name"] for one in agents if not (one.get("status") or {}).get("availableReplicas")]
    return f"not ready: {', '.join(waiting)}" if waiting else ""


def uninstall_arc_agents(kubeconfig_text: str, *, within_s: float = 180.0) -> None:
    """Take the agents away with all that Helm leaves behind, and wait until it is gone; none there is fine.

    Left behind are the agents' CustomResourceDefinitions, the release's namespace, and, after a try that was cut off,
    the agents' namespace.
    """
    until = time.monotonic() + within_s
    with SiteClient(read_kubeconfig(kubeconfig_text)) as site:
        site.version()  # Helm takes ten seconds to find out that a site is away
        HelmRelease(kubeconfig_text, RELEASE, RELEASE_NAMESPACE).uninstall(within_s=within_s)
        leftovers = [*_crds(site), _namespace(AGENT_NAMESPACE), _namespace(RELEASE_NAMESPACE)]
        for ref in leftovers:
            site.delete(ref)
        while any(_exists(site, ref) for ref in leftovers):
            if time.monotonic() > until:
                raise NotYet(f"The agents' leftovers are not gone after {within_s:g} s", namespace=AGENT_NAMESPACE)
            time.sleep(_LOOK_EVERY_S)


def agents_found(site: SiteClient) -> AgentsFound:
    """The agents on a cluster: whether they are there, whose they are, and the public half of the key they hold."""
    config, mark = _get(site, "ConfigMap", CONFIG_MAP), _mark(site)
    if config is None:
        state = AgentsOnCluster.PRESENT_WITHOUT_CONFIG if _traces(site) else AgentsOnCluster.ABSENT
        return AgentsFound(state=state, onboarding=mark)
    data = config.get("data") or {}
    return AgentsFound(
        state=AgentsOnCluster.PRESENT,
        public_key=_public_key(_get(site, "Secret", KEY_SECRET)),
        resource_id=_RESOURCE.format(*(data.get(word, "") for word in _PLACE)),
        version=data.get("AZURE_ARC_AGENT_VERSION", ""),
        onboarding=mark,
    )


def mark_agents(site: SiteClient, work: str) -> None:
    """Write on the cluster which onboarding the agents that come now belong to."""
    site.apply(marked_namespace(work))


def agents_left(site: SiteClient) -> tuple[str, ...]:
    """What of the agents is on the cluster, in words, by reading: namespaces and CustomResourceDefinitions."""
    refs = [*_crds(site), _namespace(AGENT_NAMESPACE), _namespace(RELEASE_NAMESPACE)]
    return tuple(str(ref) for ref in refs if _exists(site, ref))


def _mark(site: SiteClient) -> str:
    try:
        found = site.get(_namespace(RELEASE_NAMESPACE))
    except NotFound:
        return ""
    return str((found["metadata"].get("annotations") or {}).get(MARK, ""))


def _traces(site: SiteClient) -> bool:
    """Whether anything of the agents is there: one of their Deployments, or Helm's record of a release."""
    deployments = site.list("apps/v1", "Deployment", namespace=AGENT_NAMESPACE)
    releases = site.list("v1", "Secret", namespace=RELEASE_NAMESPACE, labels=_RELEASE_LABELS)
    return next(deployments, None) is not None or next(releases, None) is not None


def _public_key(secret: Mapping[str, Any] | None) -> str | None:
    value = ((secret or {}).get("data") or {}).get(KEY_FIELD)
    if not value:
        return None
    try:
        return public_key_of(base64.b64decode(value).decode())
    except (binascii.Error, ValueError, InvalidInput):
        return None


def _crds(site: SiteClient) -> Iterator[ObjectRef]:
    for crd in site.list("apiextensions.k8s.io/v1", "CustomResourceDefinition"):
        if crd["spec"]["group"] in CRD_GROUPS:
            yield ObjectRef.of(crd)


def _namespace(name: str) -> ObjectRef:
    return ObjectRef(api_version="v1", kind="Namespace", name=name)


def _get(site: SiteClient, kind: str, name: str) -> dict[str, Any] | None:
    try:
        return site.get(ObjectRef(api_version="v1", kind=kind, name=name, namespace=AGENT_NAMESPACE))
    except NotFound:
        return None


def _exists(site: SiteClient, ref: ObjectRef) -> bool:
    try:
        site.get(ref)
    except NotFound:
        return False
    return True
