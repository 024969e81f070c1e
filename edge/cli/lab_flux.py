"""`edge lab flux`: install Flux at sites of the lab, as their owners would with `flux install`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.output import JsonFlag, emit, speaks
from edge.errors import InvalidInput, NotFound


@speaks
def flux(
    sites: Annotated[list[str] | None, typer.Argument(metavar="SITE...", help="Names of sites.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every site of the lab.")] = False,
    state: Annotated[Path | None, typer.Option("--state", help="The lab's folder; without it, EDGE_HOME's.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Install Flux at sites, so that they pull what a rollout with `delivery: gitops` publishes.

    A site that is connected to Azure Arc needs none: the agents bring it with the first Flux configuration.
    """
    from edge.lab.layout import Layout  # noqa: PLC0415 - help stays quick without the lab
    from edge.lab.process import ask, describe  # noqa: PLC0415 - as above
    from edge.settings import Settings  # noqa: PLC0415 - as above

    layout = Layout((state or Settings().home / "lab").absolute())
    known = [site["name"] for site in describe(layout)["sites"]]
    wanted = known if every else list(dict.fromkeys(sites or ()))
    if not wanted:
        raise InvalidInput("Name the sites, or give --all", field="SITE")
    try:
        for name in wanted:
            ask(layout, "PUT", f"/lab/sites/{name}/flux")
    except NotFound as error:
        raise InvalidInput(error.what, **error.where) from error
    shown = ", ".join(wanted) if len(wanted) < 4 else str(len(wanted))
    emit({"sites": wanted}, f"Sites with Flux: {shown}", as_json=as_json)
