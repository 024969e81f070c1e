"""The two ways in which a site is told what to pull: through Azure Arc, or by Flux objects at the site itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

from edge.clients.arc import ArcClient
from edge.clients.arc_flux import ArcFlux
from edge.clients.kubernetes import SiteClient
from edge.errors import NotFound, ServerFault, SiteSilent, SiteUnfit, SiteUnreachable
from edge.model.arc import ArcTarget
from edge.model.gitops import FluxReport, FluxWish
from edge.model.kube import KubeObject, ObjectRef
from edge.policy.gitops import KUSTOMIZE_API, SOURCE_API, WISH_LABEL, arc_properties, flux_objects
from edge.policy.gitops_report import arc_report, report_of, wish_in_arc, wish_in_objects

_PULLS_LATER = "The revision is set in Azure: the site pulls it by itself once it is back"


class Way(Protocol):
    """How one site is told, and what it says."""

    def current(self, wish: FluxWish) -> FluxWish | None:
        """What the site is asked for under this name now."""
        ...

    def set(self, wish: FluxWish) -> None:
        """Ask for this."""
        ...

    def report(self, wish: FluxWish) -> FluxReport:
        """What the site says of it."""
        ...

    def check_near(self, since: datetime | None, *, at_end: bool) -> None:
        """Raises SiteUnreachable or SiteSilent when the site is away; `since`: when it was told, by `clock`."""
        ...

    def clock(self) -> datetime | None:
        """The time by which `check_near` judges."""
        ...

    def tidy(self, wish: FluxWish) -> None:
        """Remove what an earlier wish had and this one has not."""
        ...

    def remove(self, wish: FluxWish) -> bool:
        """Ask for nothing under this name any more, and have what came with it pruned; whether all of it is gone."""
        ...


class ArcWay:
    """Through a fluxConfiguration of the connected cluster. The site may be away while it is told."""

    def __init__(self, arc: ArcClient, flux: ArcFlux, target: ArcTarget) -> None:
        self._arc, self._flux, self._target = arc, flux, target

    def current(self, wish: FluxWish) -> FluxWish | None:
        """See `Way`."""
        with _azure():
            properties = self._flux.get(self._target, wish.name)
        return wish_in_arc(wish.name, properties) if properties else None

    def set(self, wish: FluxWish) -> None:
        """See `Way`."""
        with _azure():
            self._flux.put(self._target, wish.name, arc_properties(wish))

    def report(self, wish: FluxWish) -> FluxReport:
        """See `Way`. Raises NotFound when somebody has removed the configuration."""
        with _azure():
            properties = self._flux.get(self._target, wish.name)
        if properties is None:
            raise NotFound("The Flux configuration is gone from Azure", site=self._target.name, configuration=wish.name)
        return arc_report(properties)

    def check_near(self, since: datetime | None, *, at_end: bool) -> None:
        """See `Way`. A site that Azure calls connected is away when it has not called since it was told."""
        with _azure():
            cluster = self._arc.get(self._target)
        if cluster is None:
            raise NotFound("The site has no connected cluster in Azure", site=self._target.name)
        if cluster.connectivity in {"Offline", "Expired"}:
            raise SiteUnreachable(
                f"Azure calls the site {cluster.connectivity}", remedy=_PULLS_LATER, site=self._target.name
            )
        silent = since is not None and (cluster.last_connected is None or cluster.last_connected < since)
        if at_end and silent:
            raise SiteSilent("The site has not called Azure since", remedy=_PULLS_LATER, site=self._target.name)

    def clock(self) -> datetime | None:
        """See `Way`."""
        with _azure():
            return self._arc.clock()

    def tidy(self, wish: FluxWish) -> None:
        """See `Way`. The agents at the site do that."""

    def remove(self, wish: FluxWish) -> bool:
        """See `Way`."""
        with _azure():
            self._flux.delete(self._target, wish.name)
        return True


@contextmanager
def _azure() -> Iterator[None]:
    """Azure that is away is a fault of a server, so that nobody takes it for an absent site."""
    try:
        yield
    except (SiteUnreachable, SiteSilent) as away:
        raise ServerFault(away.what, remedy=away.remedy, **away.where) from away


class SiteWay:
    """By Flux objects that the platform applies at the site."""

    def __init__(self, client: SiteClient) -> None:
        self._client = client

    def current(self, wish: FluxWish) -> FluxWish | None:
        """See `Way`."""
        return wish_in_objects(self._objects(wish))

    def set(self, wish: FluxWish) -> None:
        """See `Way`. Raises SiteUnfit when the site has no Flux."""
        try:
            for obj in flux_objects(wish):
                self._client.apply(obj)
        except NotFound as error:
            raise SiteUnfit(
                "The site has no Flux",
                remedy="Install Flux there, connect the site to Azure Arc, or deliver direct",
                site=self._client.site or None,
                reason="no-flux",
            ) from error

    def report(self, wish: FluxWish) -> FluxReport:
        """See `Way`."""
        return report_of(self._objects(wish))

    def check_near(self, since: datetime | None, *, at_end: bool) -> None:
        """See `Way`. Whoever reads the site's objects knows already."""

    def clock(self) -> datetime | None:
        """See `Way`."""
        return None

    def tidy(self, wish: FluxWish) -> None:
        """See `Way`."""
        for obj in self._objects(wish):
            if obj["kind"] == "Kustomization" and obj["metadata"]["name"] not in wish.parts:
                self._client.delete(ObjectRef.of(obj))

    def remove(self, wish: FluxWish) -> bool:
        """See `Way`. The source stays until the last stage is gone, since Flux needs it no more than the platform."""
        left = [obj for obj in self._objects(wish) if obj["kind"] == "Kustomization"]
        for obj in reversed(left):
            if not obj["metadata"].get("deletionTimestamp"):
                self._client.delete(ObjectRef.of(obj))
        if left:
            return False
        for obj in flux_objects(wish):
            if obj["kind"] in {"OCIRepository", "Secret"}:
                self._client.delete(ObjectRef.of(obj))
        return True

    def _objects(self, wish: FluxWish) -> list[KubeObject]:
        """The stamp's source and Kustomizations at the site; none when Flux is not there."""
        found: list[KubeObject] = []
        for version, kind in ((SOURCE_API, "OCIRepository"), (KUSTOMIZE_API, "Kustomization")):
            try:
                found += self._client.list(version, kind, namespace=wish.namespace, labels=f"{WISH_LABEL}={wish.name}")
            except NotFound:
                continue
        return found
