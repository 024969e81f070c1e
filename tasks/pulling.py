"""What a rollout by GitOps works with: where revisions are published, and the way through Azure."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

from blocks.arc import ArcSubscription
from blocks.gitops import GitopsSource, flux_client
from edge.clients.arc import ArcClient
from edge.clients.arc_flux import ArcFlux
from edge.errors import InvalidInput
from edge.model.site import Site
from edge.model.stamp import Stamp
from tasks.gitops import Publisher
from tasks.gitops_ways import ArcWay
from tasks.rendering import Renderer


class Pulling:
    """What a rollout by GitOps works with. Close it at its end."""

    def __init__(self, source: GitopsSource, arc: ArcSubscription, stamp: Stamp, renderer: Renderer) -> None:
        self._open = ExitStack()
        self._arc = arc
        self.publisher = Publisher(source, source.store(), stamp, renderer)
        self._clients = self._arc_clients() if arc.used else None

    def _arc_clients(self) -> tuple[ArcClient, ArcFlux]:
        return self._open.enter_context(self._arc.client()), self._open.enter_context(flux_client(self._arc))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def arc_way(self, site: Site) -> ArcWay:
        """The way through Azure. Raises InvalidInput without a subscription."""
        if self._clients is None:
            remedy = "Set EDGE_ARC_SUBSCRIPTION, or the block"
            raise InvalidInput(
                "The site is connected by Arc, and no subscription is set", remedy=remedy, site=site.name
            )
        return ArcWay(*self._clients, self._arc.target(site))
