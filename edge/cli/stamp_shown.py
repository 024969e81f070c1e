"""What the commands about stamps have in common: which stamp is meant, on which site it is looked at, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from edge.cli.context import open_ledger
from edge.errors import InvalidInput, NotFound
from edge.model.kube import KubeObject
from edge.model.site import Site
from edge.model.stamp import Stamp
from edge.policy.apply_order import phases
from edge.policy.parameters import BUILT_IN, sample_parameters

StampArgument = Annotated[str, typer.Argument(help="A folder, a stamp's name, an artifact, or name@version.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="A parameter, KEY=VALUE.")]
SiteOption = Annotated[
    str | None, typer.Option(help="As on this site of the ledger; without it, as on a site that does not exist.")
]


def find_stamp(stamp: str) -> Stamp:
    """The stamp that is meant; the ledger is opened only for `name@version`. Raises InvalidInput."""
    from tasks import planning  # noqa: PLC0415 - Git and OCI take long to import

    if not planning.is_on_record(stamp):
        return planning.read_stamp(stamp)
    with open_ledger() as ledger:
        return planning.find_stamp(ledger, stamp)


def find_site(name: str | None) -> Site | None:
    """The site of this name in the ledger. Raises InvalidInput when there is none."""
    if name is None:
        return None
    try:
        with open_ledger() as ledger:
            return ledger.sites.get(name)
    except NotFound as missing:
        raise InvalidInput(missing.what, remedy=missing.remedy, **missing.where) from missing


def shown_objects(stamp: Stamp, site: Site | None, given: Mapping[str, str]) -> tuple[KubeObject, ...]:
    """The objects with references in place of secrets; whichever engine makes them.

    Without a site, parameters that have no default get a sample value, and what is given may also be what a site says
    of itself, such as `site_name`.
    """
    from tasks.rendering import Renderer  # noqa: PLC0415 - the engines take long to import

    if site is not None:
        return Renderer(stamp).shown(site, given)
    values = sample_parameters(stamp, given)
    name, region, tenant, role = (values.pop(word) for word in BUILT_IN)
    # Not checked: what stands here for a site's name need not be one.
    sample = Site.model_construct(name=name, region=region, tenant=tenant, role=role)
    return Renderer(stamp).shown(sample, values)


def object_rows(objects: Sequence[KubeObject]) -> list[dict[str, Any]]:
    """A row per object, with the number of the phase in which it is applied."""
    return [
        {
            "phase": number,
            "kind": obj["kind"],
            "namespace": obj["metadata"].get("namespace", ""),
            "name": obj["metadata"]["name"],
        }
        for number, phase in enumerate(phases(objects), start=1)
        for obj in phase
    ]
