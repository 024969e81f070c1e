"""The options with which commands say which sites are meant."""

from __future__ import annotations

from typing import Annotated

import typer

from edge.cli.site import pairs
from edge.model.site import SiteSelector

OnlySites = Annotated[list[str] | None, typer.Option("--site", help="Only this site; may be given several times.")]
OnlyTenant = Annotated[str | None, typer.Option("--tenant", help="Only this tenant's sites.")]
OnlyRegion = Annotated[str | None, typer.Option("--region", help="Only sites in this region.")]
OnlyLabels = Annotated[list[str] | None, typer.Option("--label", help="Only sites with KEY=VALUE.")]


def chosen(names: list[str] | None, tenant: str | None, region: str | None, labels: list[str] | None) -> SiteSelector:
    """What the options come to; without any, every site. Raises InvalidInput for a label that is not KEY=VALUE."""
    return SiteSelector(names=tuple(names or ()), tenant=tenant, region=region, labels=pairs(labels or [], "--label"))
